"""modbot: a Discord moderation bot for large communities. `docs/architecture.md` is the plan of the house."""
