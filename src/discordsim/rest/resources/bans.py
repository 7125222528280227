"""Bans: look up, ban, lift, ban many."""

from typing import Annotated

import msgspec
from msgspec import Meta

from discordsim.rest import forms
from discordsim.rest.calls import Call
from discordsim.rest.forms import Id
from discordsim.rest.resources.guilds import seen
from discordsim.rest.routing import Answer, Route
from discordsim.world import access, errors, members
from discordsim.world.model.guilds import Guild
from discordsim.world.payloads import text_ids
from discordsim.world.permissions import Permission

MAX_LISTED = 1000
Purge = Annotated[int, Meta(ge=0, le=604_800)]


class BanBody(msgspec.Struct):
    """The body of Create Guild Ban; days are the deprecated way to say seconds."""

    delete_message_seconds: Purge | None = None
    delete_message_days: Annotated[int, Meta(ge=0, le=7)] | None = None


class BulkBan(msgspec.Struct):
    """The body of Bulk Guild Ban."""

    user_ids: Annotated[list[Id], Meta(min_length=1, max_length=200)]
    delete_message_seconds: Purge | None = None


def _guild(call: Call) -> Guild:
    guild = seen(call)
    access.require_in_guild(call.world, call.actor_id, guild, Permission.BAN_MEMBERS)
    return guild


def listed(call: Call) -> Answer:
    """List bans by user id."""
    guild = _guild(call)
    before, after = call.query_id("before"), call.query_id("after")
    limit = call.query_number("limit", MAX_LISTED, low=1, high=MAX_LISTED)
    ids = sorted(one for one in guild.bans if (before is None or one < before) and (after is None or one > after))
    return [guild.bans[one].payload() for one in (ids[-limit:] if before is not None else ids[:limit])]


def get(call: Call) -> Answer:
    """Return one ban or raise 10026."""
    found = _guild(call).bans.get(call.id("user_id"))
    if found is None:
        raise errors.unknown_ban()
    return found.payload()


def create(call: Call) -> Answer:
    """Ban a user, member or not."""
    body = call.form(BanBody)
    seconds = body.delete_message_seconds
    members.ban(
        call.world,
        call.id("guild_id"),
        call.id("user_id"),
        actor_id=call.actor_id,
        reason=call.reason,
        delete_message_seconds=(body.delete_message_days or 0) * 86_400 if seconds is None else seconds,
    )
    return None


def lift(call: Call) -> Answer:
    """Lift a ban."""
    members.unban(call.world, call.id("guild_id"), call.id("user_id"), actor_id=call.actor_id, reason=call.reason)
    return None


def bulk(call: Call) -> Answer:
    """Ban up to 200 users; 500000 when not one could be banned."""
    guild, body = _guild(call), call.form(BulkBan)
    access.require_in_guild(call.world, call.actor_id, guild, Permission.MANAGE_GUILD)
    banned: list[int] = []
    failed: list[int] = []
    for user_id in dict.fromkeys(forms.numbers(body.user_ids)):
        (banned if _ban_one(call, guild, user_id, body.delete_message_seconds or 0) else failed).append(user_id)
    if not banned:
        raise errors.DiscordError(400, 500000, "Failed to ban users")
    return {"banned_users": text_ids(banned), "failed_users": text_ids(failed)}


def _ban_one(call: Call, guild: Guild, user_id: int, seconds: int) -> bool:
    if user_id in guild.bans:
        return False
    try:
        members.ban(
            call.world,
            guild.id,
            user_id,
            actor_id=call.actor_id,
            reason=call.reason,
            delete_message_seconds=seconds,
        )
    except errors.DiscordError:
        return False
    return True


_ALL = "/guilds/{guild_id}/bans"
ROUTES = (
    Route("GET", _ALL, listed),
    Route("GET", f"{_ALL}/{{user_id}}", get),
    Route("PUT", f"{_ALL}/{{user_id}}", create),
    Route("DELETE", f"{_ALL}/{{user_id}}", lift),
    Route("POST", "/guilds/{guild_id}/bulk-ban", bulk),
)
