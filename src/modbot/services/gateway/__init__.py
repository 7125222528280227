"""The gateway pod: sessions, shard files, internal API."""
