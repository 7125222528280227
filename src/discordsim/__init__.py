"""A simulated Discord that real client libraries accept. It knows nothing of modbot."""
