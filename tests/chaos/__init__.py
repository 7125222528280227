"""Chaos: real processes, a simulated Discord, faults by a seeded schedule, and an oracle that folds every delivered event.

`python -m chaos` (or `make chaos`) starts the whole system, lets people write and use commands, breaks things, and compares after each
fault what Discord delivered with what the shard files hold, what the config service granted with who acted, and what people asked with
what they were answered. `schedules` decides what breaks when, `faults` breaks it, `checking` compares, `reporting` tells.
"""
