"""A chat page over the simulated world: read, write and press as any member, in a browser."""
