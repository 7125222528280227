"""Rules without I/O, clock or Discord client."""
