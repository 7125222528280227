"""The audit log of a guild, with what its entries refer to."""

from discordsim.rest.calls import Call
from discordsim.rest.routing import Answer, Route
from discordsim.world import guilds
from discordsim.world.model.logs import AuditLogEntry
from discordsim.world.payloads import Json
from discordsim.world.world import World

MAX_LISTED = 100


def listed(call: Call) -> Answer:
    """List entries newest first (oldest first with `after`), by user, target and kind of act."""
    guild_id = call.id("guild_id")
    found = guilds.audit_log(
        call.world,
        guild_id,
        viewer_id=call.actor_id,
        action_type=call.query_number("action_type", 0, low=0, high=10_000) or None,
        user_id=call.query_id("user_id"),
        target_id=call.query_id("target_id"),
        before=call.query_id("before"),
        after=call.query_id("after"),
        limit=call.query_number("limit", 50, low=1, high=MAX_LISTED),
    )
    return {
        "audit_log_entries": [entry.payload() for entry in found],
        "users": _users(call.world, found),
        **_referenced(call.world, guild_id, found),
        "application_commands": [],
        "guild_scheduled_events": [],
        "integrations": [],
        "webhooks": [],
    }


def _users(world: World, entries: list[AuditLogEntry]) -> list[Json]:
    ids = dict.fromkeys(one for entry in entries for one in (entry.user_id, entry.target_id))
    return [world.users[one].payload() for one in ids if one in world.users]


def _referenced(world: World, guild_id: int, entries: list[AuditLogEntry]) -> dict[str, list[Json]]:
    guild = world.guild(guild_id)
    targets = dict.fromkeys(entry.target_id for entry in entries)
    return {
        "threads": [guild.threads[one].payload() for one in targets if one in guild.threads],
        "auto_moderation_rules": [guild.rules[one].payload() for one in targets if one in guild.rules],
    }


ROUTES = (Route("GET", "/guilds/{guild_id}/audit-logs", listed),)
