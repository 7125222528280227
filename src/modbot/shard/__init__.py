"""The engine under a shard: transaction, offset, effects, timers, migrations."""
