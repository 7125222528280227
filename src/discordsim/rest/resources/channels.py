"""Channels: get, change, delete, permission overwrites, and the channels of a guild."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from discordsim.rest import forms, views
from discordsim.rest.calls import Call
from discordsim.rest.forms import Bits, Count, Id, Name
from discordsim.rest.routing import Answer, Reply, Route
from discordsim.world import access, channels, errors, threads
from discordsim.world.model.channels import ChannelType, PermissionOverwrite
from discordsim.world.permissions import Permission

ArchiveMinutes = Literal[60, 1440, 4320, 10080]
Slowmode = Annotated[int, Meta(ge=0, le=21_600)]
Topic = Annotated[str, Meta(max_length=4096)]


class Overwrite(msgspec.Struct):
    """One permission overwrite in a list."""

    id: Id
    type: Literal[0, 1] | None = None
    allow: Bits | None = None
    deny: Bits | None = None


class OverwriteBody(msgspec.Struct):
    """The body of Edit Channel Permissions."""

    type: Literal[0, 1]
    allow: Bits | None = None
    deny: Bits | None = None


class Tag(msgspec.Struct):
    """A tag of a forum."""

    name: Annotated[str, Meta(min_length=1, max_length=50)]
    id: Id | None = None
    moderated: bool = False
    emoji_id: Id | None = None
    emoji_name: str | None = None


class ChannelFields(msgspec.Struct):
    """What can be set when a guild channel is made or changed."""

    name: Name | UnsetType = UNSET
    type: Literal[0, 2, 4, 5, 13, 15] | UnsetType | None = UNSET
    topic: Topic | UnsetType | None = UNSET
    nsfw: bool | UnsetType | None = UNSET
    rate_limit_per_user: Slowmode | UnsetType | None = UNSET
    position: Count | UnsetType | None = UNSET
    parent_id: Id | UnsetType | None = UNSET
    permission_overwrites: Annotated[list[Overwrite], Meta(max_length=100)] | UnsetType | None = UNSET
    default_auto_archive_duration: ArchiveMinutes | UnsetType | None = UNSET
    available_tags: Annotated[list[Tag], Meta(max_length=20)] | UnsetType | None = UNSET
    flags: Count | UnsetType | None = UNSET


class NewChannel(ChannelFields):
    """The body of Create Guild Channel."""

    name: Name


class ThreadFields(msgspec.Struct):
    """The body of Modify Channel for a thread."""

    name: Name | UnsetType | None = UNSET
    archived: bool | UnsetType | None = UNSET
    locked: bool | UnsetType | None = UNSET
    invitable: bool | UnsetType | None = UNSET
    auto_archive_duration: ArchiveMinutes | UnsetType | None = UNSET
    rate_limit_per_user: Slowmode | UnsetType | None = UNSET
    applied_tags: Annotated[list[Id], Meta(max_length=5)] | UnsetType | None = UNSET
    flags: Count | UnsetType | None = UNSET


class Position(msgspec.Struct):
    """Where a channel goes."""

    id: Id
    position: Count | UnsetType | None = UNSET
    parent_id: Id | UnsetType | None = UNSET


class Positions(msgspec.Struct):
    """The list of Modify Guild Channel Positions."""

    items: list[Position]


def get(call: Call) -> Answer:
    """Return a channel the bot can see."""
    channel = call.world.channel(call.id("channel_id"))
    access.require(call.world, call.actor_id, channel, Permission.VIEW_CHANNEL)
    return views.channel(call, channel)


def edit(call: Call) -> Answer:
    """Change a guild channel or a thread."""
    channel = call.world.channel(call.id("channel_id"))
    if channel.is_thread:
        fields = forms.sent(call.form(ThreadFields))
        changed = threads.edit(call.world, channel.id, fields, actor_id=call.actor_id, reason=call.reason)
    else:
        fields = _fields(call, call.form(ChannelFields))
        changed = channels.edit(call.world, channel.id, fields, actor_id=call.actor_id, reason=call.reason)
    return views.channel(call, changed)


def _fields(call: Call, wanted: ChannelFields) -> dict[str, object]:
    fields = forms.sent(wanted)
    for tag in fields.get("available_tags") or []:
        tag["id"] = str(tag["id"] or call.world.new_id())
        tag["emoji_id"] = None if tag["emoji_id"] is None else str(tag["emoji_id"])
    return fields


def delete(call: Call) -> Answer:
    """Delete a guild channel or a thread; a direct message channel is only closed."""
    channel = call.world.channel(call.id("channel_id"))
    if channel.type is ChannelType.DM:
        access.require(call.world, call.actor_id, channel, Permission.VIEW_CHANNEL)
    elif channel.is_thread:
        threads.delete(call.world, channel.id, actor_id=call.actor_id, reason=call.reason)
    else:
        channels.delete(call.world, channel.id, actor_id=call.actor_id, reason=call.reason)
    return views.channel(call, channel)


def set_overwrite(call: Call) -> Answer:
    """Add or replace a permission overwrite."""
    body = call.form(OverwriteBody)
    overwrite = PermissionOverwrite(call.id("overwrite_id"), body.type, int(body.allow or 0), int(body.deny or 0))
    channels.set_overwrite(call.world, call.id("channel_id"), overwrite, actor_id=call.actor_id, reason=call.reason)
    return None


def delete_overwrite(call: Call) -> Answer:
    """Remove a permission overwrite."""
    where = call.id("channel_id"), call.id("overwrite_id")
    channels.delete_overwrite(call.world, *where, actor_id=call.actor_id, reason=call.reason)
    return None


def of_guild(call: Call) -> Answer:
    """List the channels of a guild, without threads."""
    guild = call.world.guild(call.id("guild_id"))
    access.require_in_guild(call.world, call.actor_id, guild, Permission(0))
    return [one.payload() for one in guild.channels.values()]


def create(call: Call) -> Answer:
    """Make a guild channel."""
    fields = _fields(call, call.form(NewChannel))
    made = channels.create(call.world, call.id("guild_id"), fields, actor_id=call.actor_id, reason=call.reason)
    return Reply(views.channel(call, made))


def move(call: Call) -> Answer:
    """Change positions and categories of several channels."""
    guild = call.world.guild(call.id("guild_id"))
    wanted = forms.parse({"items": call.body}, Positions).items
    for one in wanted:
        if int(one.id) not in guild.channels:
            raise errors.unknown_channel()
        access.require(call.world, call.actor_id, guild.channels[int(one.id)], Permission.MANAGE_CHANNELS)
    for one in wanted:
        fields = {key: value for key, value in forms.sent(one).items() if key != "id"}
        channels.edit(call.world, int(one.id), fields, actor_id=call.actor_id, reason=call.reason)
    return None


_ONE = "/channels/{channel_id}"
ROUTES = (
    Route("GET", _ONE, get),
    Route("PATCH", _ONE, edit),
    Route("DELETE", _ONE, delete),
    Route("PUT", f"{_ONE}/permissions/{{overwrite_id}}", set_overwrite),
    Route("DELETE", f"{_ONE}/permissions/{{overwrite_id}}", delete_overwrite),
    Route("GET", "/guilds/{guild_id}/channels", of_guild),
    Route("POST", "/guilds/{guild_id}/channels", create),
    Route("PATCH", "/guilds/{guild_id}/channels", move),
)
