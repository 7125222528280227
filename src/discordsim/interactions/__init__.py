"""Interactions: a user presses something, an application answers in three seconds, and everything about it is recorded."""
