"""The gateway of the simulated Discord: sockets, sessions, replay, limits and faults, over the events of the world."""
