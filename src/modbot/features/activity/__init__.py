"""Activity: one row per message of a person, for leaderboards, cohorts and statistics.

Counts, never texts: characters, words, code by language, hosts of links, attachments, replies and reactions. A row follows its message:
edits are measured again, deletions remove it, reactions are a set (so a repeated event changes nothing).
"""

from modbot.features.activity.handlers import feature

__all__ = ["feature"]
