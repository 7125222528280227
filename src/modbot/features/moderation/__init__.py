"""Moderation: what a moderator decides about a member, recorded first, then done, then announced.

The buttons stand in every user thread; each asks for confirmation and a reason, checks the permission again when it is confirmed, and
refuses to act on anybody at or above the moderator's own highest role, or modbot's.
"""

from modbot.features.moderation import acting, handlers

feature = acting.feature

__all__ = ["feature", "handlers"]
