"""OAuth2 of the simulated Discord: the consent page, tokens, and what a Bearer token may read."""
