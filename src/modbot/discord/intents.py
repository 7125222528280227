"""Gateway intents: which groups of events Discord sends, derived from the events that features want.

Only what is wanted is asked for. `GUILD_MEMBERS` is privileged and asked for only when a feature wants joins or leaves: updates about
ourselves come without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag
from typing import Final


class Intent(IntFlag):
    """The intents modbot can ask for (Discord's documentation, gateway intents)."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_MODERATION = 1 << 2
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    MESSAGE_CONTENT = 1 << 15
    AUTO_MODERATION_CONFIGURATION = 1 << 20
    AUTO_MODERATION_EXECUTION = 1 << 21


_BY_PREFIX: Final = (
    ("GUILD_MEMBER_ADD", Intent.GUILD_MEMBERS),
    ("GUILD_MEMBER_REMOVE", Intent.GUILD_MEMBERS),
    ("THREAD_MEMBERS_UPDATE", Intent.GUILD_MEMBERS),
    ("GUILD_BAN", Intent.GUILD_MODERATION),
    ("GUILD_AUDIT_LOG", Intent.GUILD_MODERATION),
    ("MESSAGE_REACTION", Intent.GUILD_MESSAGE_REACTIONS),
    ("MESSAGE_", Intent.GUILD_MESSAGES),
    ("AUTO_MODERATION_RULE", Intent.AUTO_MODERATION_CONFIGURATION),
    ("AUTO_MODERATION_ACTION", Intent.AUTO_MODERATION_EXECUTION),
)


def intents_for(events: Iterable[str], *, message_content: bool) -> int:
    """Return the intents that bring these events; guilds, roles, channels and threads come always."""
    wanted = Intent.GUILDS
    for event in events:
        wanted |= next((intent for prefix, intent in _BY_PREFIX if event.startswith(prefix)), Intent.GUILDS)
    if message_content and wanted & Intent.GUILD_MESSAGES:
        wanted |= Intent.MESSAGE_CONTENT
    return int(wanted)
