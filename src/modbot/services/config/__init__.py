"""The config service: who owns which shard. The only room that touches PostgreSQL."""
