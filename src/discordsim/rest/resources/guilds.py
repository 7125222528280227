"""Guilds as a whole, and the small lists around them: emojis, stickers, voice regions."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from discordsim.rest import forms, views
from discordsim.rest.calls import Call
from discordsim.rest.forms import Id
from discordsim.rest.routing import Answer, Route
from discordsim.world import access, errors, guilds
from discordsim.world.model.guilds import Guild
from discordsim.world.permissions import Permission

Level = Annotated[int, Meta(ge=0, le=4)]


class GuildFields(msgspec.Struct):
    """The body of Modify Guild."""

    name: Annotated[str, Meta(min_length=2, max_length=100)] | UnsetType = UNSET
    description: Annotated[str, Meta(max_length=300)] | UnsetType | None = UNSET
    verification_level: Level | UnsetType = UNSET
    default_message_notifications: Literal[0, 1] | UnsetType = UNSET
    explicit_content_filter: Literal[0, 1, 2] | UnsetType = UNSET
    preferred_locale: str | UnsetType = UNSET
    afk_timeout: Literal[60, 300, 900, 1800, 3600] | UnsetType = UNSET
    features: list[str] | UnsetType = UNSET
    system_channel_id: Id | UnsetType | None = UNSET
    rules_channel_id: Id | UnsetType | None = UNSET
    public_updates_channel_id: Id | UnsetType | None = UNSET
    afk_channel_id: Id | UnsetType | None = UNSET


def seen(call: Call) -> Guild:
    """Return the guild of the path or raise 10004, or 50001 when the bot is not in it."""
    guild = call.world.guild(call.id("guild_id"))
    access.require_in_guild(call.world, call.actor_id, guild, Permission(0))
    return guild


def get(call: Call) -> Answer:
    """Return a guild."""
    return views.guild(seen(call), counts=call.query_flag("with_counts"))


def edit(call: Call) -> Answer:
    """Change a guild."""
    fields = forms.sent(call.form(GuildFields))
    changed = guilds.edit(call.world, call.id("guild_id"), fields, actor_id=call.actor_id, reason=call.reason)
    return views.guild(changed)


def emojis(call: Call) -> Answer:
    """List a guild's emojis."""
    return [one.payload() for one in seen(call).emojis.values()]


def emoji(call: Call) -> Answer:
    """Return one emoji or raise 10014."""
    found = seen(call).emojis.get(call.id("emoji_id"))
    if found is None:
        raise errors.unknown_emoji()
    return found.payload()


def stickers(call: Call) -> Answer:
    """List a guild's stickers: this world has none."""
    seen(call)
    return []


def regions(call: Call) -> Answer:
    """List voice regions."""
    del call
    flags = {"custom": False, "deprecated": False}
    names = {"rotterdam": "Rotterdam", "us-east": "US East", "singapore": "Singapore"}
    return [{"id": key, "name": name, "optimal": key == "rotterdam", **flags} for key, name in names.items()]


_ONE = "/guilds/{guild_id}"
ROUTES = (
    Route("GET", _ONE, get),
    Route("PATCH", _ONE, edit),
    Route("GET", f"{_ONE}/emojis", emojis),
    Route("GET", f"{_ONE}/emojis/{{emoji_id}}", emoji),
    Route("GET", f"{_ONE}/stickers", stickers),
    Route("GET", f"{_ONE}/regions", regions),
    Route("GET", "/voice/regions", regions),
)
