"""Replacing the identity of an anonymous person before anything is stored, logged or forwarded (product rule 5).

Who reports is replaced by a number that is the same for the same person, guild and day, so that a second report of the same message
is recognised, and that says nothing about the person without the day's key. The key is random, is shared by all http pods through
the config service and is deleted on the day after, so that old numbers can never be turned back.

What is kept is named here field by field; whatever else Discord sends now or later is dropped. The *target* of a report stays as it
is: `data` speaks about the reported person, and when somebody reports themselves their id stands there as that of the target.
This module does not know where keys come from and keeps nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

from modbot.domain.errors import InvalidInputError

_BITS: Final = 53
_PLAIN: Final = ("id", "application_id", "type", "token", "version", "guild_id", "channel_id", "data", "context")
_CHANNEL: Final = ("id", "type", "guild_id", "name", "parent_id")
_MESSAGE: Final = ("id", "type", "channel_id", "guild_id", "flags")
_MEMBER: Final = ("permissions", "roles")


def pseudonym(key: bytes, *, guild_id: int, user_id: int) -> int:
    """Return the number (1 to 2^53-1) that stands for a user in a guild while the key lives."""
    message = guild_id.to_bytes(8, "big") + user_id.to_bytes(8, "big")
    digest = hmac.digest(key, message, hashlib.sha256)
    return int.from_bytes(digest[:8], "big") >> (64 - _BITS) or 1


def anonymous(interaction: dict[str, Any], key: bytes) -> dict[str, Any]:
    """Return an interaction (Discord's JSON, decoded) without its invoker; `InvalidInputError` when it has none or no guild."""
    number = pseudonym(key, guild_id=_id(interaction.get("guild_id")), user_id=_invoker(interaction))
    kept = _only(interaction, _PLAIN)
    if isinstance(interaction.get("channel"), dict):
        kept["channel"] = _only(interaction["channel"], _CHANNEL)
    if isinstance(interaction.get("message"), dict):
        kept["message"] = _only(interaction["message"], _MESSAGE)
    kept["member"] = {**_only(interaction["member"], _MEMBER), "user": {"id": str(number)}}
    return kept


def _invoker(interaction: dict[str, Any]) -> int:
    member = interaction.get("member")
    user = member.get("user") if isinstance(member, dict) else None
    return _id(user.get("id") if isinstance(user, dict) else None)


def _id(value: Any) -> int:
    try:
        found = int(value)
    except (TypeError, ValueError):
        found = -1
    if not 0 <= found < 1 << 64:
        raise InvalidInputError("An anonymous interaction needs a guild and a member.")
    return found


def _only(source: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: source[name] for name in names if name in source}
