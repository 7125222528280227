"""One folder per feature, always the same inner shape; a feature never imports another feature's inside."""
