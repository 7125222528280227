"""The in-memory state of a simulated Discord and the operations on it. Start with `world.World` and `seeding.seed_world`."""
