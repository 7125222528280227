"""Ownership as seen by members: lease keeper, routing table, client of the config service."""
