"""Writing the audit log, with Discord's habit of counting repeated deletions in one entry.

Deletions by one actor of one author's messages in one channel raise `options.count` of that actor's last entry while it is younger
than five minutes. Discord does not announce the raised count; `World.audit_aggregation_pushes` makes this world do so.
"""

from collections.abc import Mapping
from typing import Any

from discordsim.world import snowflakes
from discordsim.world.events import Dispatch, Intent
from discordsim.world.model.guilds import Guild
from discordsim.world.model.logs import AuditAction, AuditLogEntry
from discordsim.world.model.messages import Message
from discordsim.world.payloads import Json
from discordsim.world.permissions import Permission
from discordsim.world.world import World

_AGGREGATION_SECONDS = 300.0


def record(
    world: World,
    guild: Guild,
    action: AuditAction,
    *,
    actor_id: int | None,
    target_id: int | None,
    changes: list[Json] | None = None,
    options: Json | None = None,
    reason: str | None = None,
) -> AuditLogEntry | None:
    """Write an entry and announce it; acts of the world itself (`actor_id=None`) leave no trace."""
    if actor_id is None:
        return None
    entry = AuditLogEntry(world.new_id(), action, actor_id, target_id, changes or [], options or {}, reason)
    guild.audit_log.append(entry)
    _announce(world, guild, entry)
    return entry


def record_deletion(world: World, guild: Guild, message: Message, *, actor_id: int | None, reason: str | None) -> None:
    """Write or raise the entry for one deleted message; nothing when authors delete their own."""
    if actor_id is None or actor_id == message.author.id:
        return
    last = next((entry for entry in reversed(guild.audit_log) if entry.user_id == actor_id), None)
    if last is not None and _continues(world, last, message):
        last.options["count"] = str(int(last.options["count"]) + 1)
        if world.audit_aggregation_pushes:
            _announce(world, guild, last)
        return
    options = {"channel_id": str(message.channel_id), "count": "1"}
    target_id = message.author.id
    record(
        world, guild, AuditAction.MESSAGE_DELETE, actor_id=actor_id, target_id=target_id, options=options, reason=reason
    )


def _continues(world: World, entry: AuditLogEntry, message: Message) -> bool:
    return (
        entry.action is AuditAction.MESSAGE_DELETE
        and entry.target_id == message.author.id
        and entry.options["channel_id"] == str(message.channel_id)
        and world.now() - snowflakes.created_at(entry.id) < _AGGREGATION_SECONDS
    )


def _announce(world: World, guild: Guild, entry: AuditLogEntry) -> None:
    data = entry.payload() | {"guild_id": str(guild.id)}
    world.emit(
        Dispatch(
            guild.id,
            "GUILD_AUDIT_LOG_ENTRY_CREATE",
            data,
            intents=Intent.GUILD_MODERATION,
            permission=Permission.VIEW_AUDIT_LOG,
        )
    )


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Json]:
    """Return the audit log changes between two payloads of one thing; a new thing has an empty `before`, a gone one an empty `after`."""
    found = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if old == new or key in {"id", "guild_id"}:
            continue
        sides = {"old_value": old, "new_value": new}
        found.append({"key": key, **{name: value for name, value in sides.items() if value is not None}})
    return found
