"""Users: the bot itself, others, its guilds, direct messages."""

import msgspec

from discordsim.rest import views
from discordsim.rest.calls import Call
from discordsim.rest.forms import Id
from discordsim.rest.routing import Answer, Route
from discordsim.world import channels, errors, guilds
from discordsim.world.model.guilds import Guild

MAX_GUILDS = 200


class Recipient(msgspec.Struct):
    """The body of Create DM."""

    recipient_id: Id


def me(call: Call) -> Answer:
    """Return the bot's own account."""
    return call.application.bot.payload() | {
        "mfa_enabled": True,
        "locale": "en-US",
        "premium_type": 0,
        "email": None,
        "verified": True,
        "bio": call.application.description,
    }


def get(call: Call) -> Answer:
    """Return any account."""
    return call.world.user(call.id("user_id")).payload()


def own_guilds(call: Call) -> Answer:
    """List the bot's guilds by id, 200 per page."""
    limit = call.query_number("limit", MAX_GUILDS, low=1, high=MAX_GUILDS)
    before, after = call.query_id("before"), call.query_id("after")
    found = sorted(call.world.guilds_of(call.actor_id), key=lambda one: one.id)
    found = [one for one in found if (after is None or one.id > after) and (before is None or one.id < before)]
    page = found[-limit:] if before is not None and after is None else found[:limit]
    return [views.partial_guild(call, one, counts=call.query_flag("with_counts")) for one in page]


def own_member(call: Call) -> Answer:
    """Return the bot as a member of a guild."""
    return call.world.member(call.id("guild_id"), call.actor_id).payload()


def leave_guild(call: Call) -> Answer:
    """Leave a guild."""
    guild: Guild = call.world.guild(call.id("guild_id"))
    if call.actor_id not in guild.members:
        raise errors.unknown_guild()
    guilds.remove_bot(call.world, guild.id, call.actor_id)
    return None


def open_direct(call: Call) -> Answer:
    """Open the direct messages with a user."""
    other = int(call.form(Recipient).recipient_id)
    return views.channel(call, channels.open_direct(call.world, call.actor_id, other))


ROUTES = (
    Route("GET", "/users/@me", me),
    Route("GET", "/users/@me/guilds", own_guilds),
    Route("GET", "/users/@me/guilds/{guild_id}/member", own_member),
    Route("DELETE", "/users/@me/guilds/{guild_id}", leave_guild),
    Route("POST", "/users/@me/channels", open_direct),
    Route("GET", "/users/{user_id}", get),
)
