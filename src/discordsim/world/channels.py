"""Channels of a guild and direct messages: create, change, delete, overwrites.

When a change lets a bot see a channel it could not see before, the bot gets that channel's active threads as THREAD_LIST_SYNC.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from discordsim.world import access, auditing, errors
from discordsim.world.events import Dispatch, Intent
from discordsim.world.model.channels import Channel, ChannelType, PermissionOverwrite
from discordsim.world.model.guilds import Guild
from discordsim.world.model.logs import AuditAction
from discordsim.world.payloads import Json
from discordsim.world.permissions import Permission
from discordsim.world.world import World

MAX_CHANNELS = 500
MAX_NAME = 100
_PLAIN = frozenset(
    {
        "name",
        "topic",
        "nsfw",
        "rate_limit_per_user",
        "position",
        "default_auto_archive_duration",
        "available_tags",
        "flags",
    }
)


def create(
    world: World, guild_id: int, fields: Mapping[str, Any], *, actor_id: int | None = None, reason: str | None = None
) -> Channel:
    """Create a channel from Discord's JSON fields; without overwrites it takes those of its category.

    Errors: 10004, 10003 (parent), 50001, 50013 (MANAGE_CHANNELS), 50035, 30013.
    """
    guild = world.guild(guild_id)
    access.require_in_guild(world, actor_id, guild, Permission.MANAGE_CHANNELS)
    if len(guild.channels) >= MAX_CHANNELS:
        raise errors.named(30013)
    _check_name(fields.get("name") or "")
    kind = ChannelType(int(fields.get("type") or 0))
    channel = Channel(world.new_id(), kind, guild_id, position=len(guild.channels))
    _assign(world, channel, fields)
    if not channel.overwrites and channel.parent_id is not None:
        parent = guild.channels[channel.parent_id].overwrites
        channel.overwrites = {
            one.id: PermissionOverwrite(one.id, one.type, one.allow, one.deny) for one in parent.values()
        }
    guild.channels[channel.id] = world.channels[channel.id] = channel
    _announce(world, channel, "CHANNEL_CREATE")
    changes = auditing.differences({}, channel.payload())
    _audit(world, guild, channel, action=AuditAction.CHANNEL_CREATE, changes=changes, actor_id=actor_id, reason=reason)
    return channel


def edit(
    world: World, channel_id: int, fields: Mapping[str, Any], *, actor_id: int | None = None, reason: str | None = None
) -> Channel:
    """Change a guild channel (threads: see `threads.edit`). Errors: 10003, 50001, 50013, 50024, 50035."""
    channel = world.channel(channel_id)
    guild = world.guild_of(channel)
    if channel.is_thread:
        raise errors.named(50024)
    access.require(world, actor_id, channel, Permission.MANAGE_CHANNELS)
    if "permission_overwrites" in fields:
        access.require(world, actor_id, channel, Permission.MANAGE_ROLES)
    if "name" in fields:
        _check_name(fields["name"])
    before, blind = channel.payload(), _blind_bots(world, guild, channel)
    _assign(world, channel, fields)
    _announce(world, channel, "CHANNEL_UPDATE")
    _sync_threads(world, guild, channel, blind)
    changes = auditing.differences(before, channel.payload())
    _audit(world, guild, channel, action=AuditAction.CHANNEL_UPDATE, changes=changes, actor_id=actor_id, reason=reason)
    return channel


def set_overwrite(
    world: World,
    channel_id: int,
    overwrite: PermissionOverwrite,
    *,
    actor_id: int | None = None,
    reason: str | None = None,
) -> None:
    """Add or replace one overwrite. Errors: 10003, 50001, 50013 (MANAGE_ROLES)."""
    channel = world.channel(channel_id)
    known = overwrite.id in channel.overwrites
    action = AuditAction.CHANNEL_OVERWRITE_UPDATE if known else AuditAction.CHANNEL_OVERWRITE_CREATE
    _change_overwrites(
        world,
        channel,
        {**channel.overwrites, overwrite.id: overwrite},
        changed=overwrite,
        action=action,
        actor_id=actor_id,
        reason=reason,
    )


def delete_overwrite(
    world: World, channel_id: int, target_id: int, *, actor_id: int | None = None, reason: str | None = None
) -> None:
    """Remove one overwrite. Errors: 10003, 10009, 50001, 50013 (MANAGE_ROLES)."""
    channel = world.channel(channel_id)
    found = channel.overwrites.get(target_id)
    if found is None:
        raise errors.named(10009)
    left = {key: one for key, one in channel.overwrites.items() if key != target_id}
    _change_overwrites(
        world,
        channel,
        left,
        changed=found,
        action=AuditAction.CHANNEL_OVERWRITE_DELETE,
        actor_id=actor_id,
        reason=reason,
    )


def delete(world: World, channel_id: int, *, actor_id: int | None = None, reason: str | None = None) -> Channel:
    """Delete a guild channel with its threads; channels of a deleted category stay. Errors: 10003, 50001, 50013, 50024."""
    channel = world.channel(channel_id)
    guild = world.guild_of(channel)
    if channel.is_thread:
        raise errors.named(50024)
    access.require(world, actor_id, channel, Permission.MANAGE_CHANNELS)
    for thread in [one for one in guild.threads.values() if one.parent_id == channel_id]:
        del guild.threads[thread.id], world.channels[thread.id]
    for child in [one for one in guild.channels.values() if one.parent_id == channel_id]:
        child.parent_id = None
        _announce(world, child, "CHANNEL_UPDATE")
    del guild.channels[channel_id], world.channels[channel_id]
    _announce(world, channel, "CHANNEL_DELETE")
    changes = auditing.differences(channel.payload(), {})
    _audit(world, guild, channel, action=AuditAction.CHANNEL_DELETE, changes=changes, actor_id=actor_id, reason=reason)
    return channel


def open_direct(world: World, first_id: int, second_id: int) -> Channel:
    """Return the direct message channel of two users, made on first use. Errors: 10013, 50007 (with oneself)."""
    if first_id == second_id:
        raise errors.named(50007)
    people = [world.user(first_id), world.user(second_id)]
    found = world.direct_channel(first_id, second_id)
    if found is None:
        found = Channel(world.new_id(), ChannelType.DM, None, recipients=people)
        world.keep_direct(found)
    return found


def direct_payload(channel: Channel, viewer_id: int) -> Json:
    """Return a direct message channel as one of the two sees it: the other one is the recipient."""
    others = [user.payload() for user in channel.recipients if user.id != viewer_id]
    return channel.payload() | {"recipients": others}


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME:
        raise errors.invalid("name", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_NAME} in length.")


def _assign(world: World, channel: Channel, fields: Mapping[str, Any]) -> None:
    for key in _PLAIN & fields.keys():
        if fields[key] is not None or key in {"topic", "default_auto_archive_duration"}:
            setattr(channel, key, fields[key])
    if fields.get("type") is not None:
        channel.type = ChannelType(int(fields["type"]))
    if "parent_id" in fields:
        channel.parent_id = None if fields["parent_id"] is None else world.channel(int(fields["parent_id"])).id
    if fields.get("permission_overwrites") is not None:
        channel.overwrites = parse_overwrites(fields["permission_overwrites"])


def parse_overwrites(items: Iterable[Mapping[str, Any]]) -> dict[int, PermissionOverwrite]:
    """Return Discord's overwrite objects as records by id."""
    parsed = [
        PermissionOverwrite(
            int(one["id"]), int(one.get("type") or 0), int(one.get("allow") or 0), int(one.get("deny") or 0)
        )
        for one in items
    ]
    return {one.id: one for one in parsed}


def _change_overwrites(
    world: World,
    channel: Channel,
    wanted: dict[int, PermissionOverwrite],
    *,
    changed: PermissionOverwrite,
    action: AuditAction,
    actor_id: int | None,
    reason: str | None,
) -> None:
    guild = world.guild_of(channel)
    access.require(world, actor_id, channel, Permission.MANAGE_ROLES)
    blind = _blind_bots(world, guild, channel)
    before = channel.overwrites.get(changed.id)
    channel.overwrites = wanted
    _announce(world, channel, "CHANNEL_UPDATE")
    _sync_threads(world, guild, channel, blind)
    after = wanted.get(changed.id)
    changes = auditing.differences(before.payload() if before else {}, after.payload() if after else {})
    options = {"id": str(changed.id), "type": str(changed.type)}
    if changed.type == 0 and changed.id in guild.roles:
        options["role_name"] = guild.roles[changed.id].name
    auditing.record(
        world, guild, action, actor_id=actor_id, target_id=channel.id, changes=changes, options=options, reason=reason
    )


def _blind_bots(world: World, guild: Guild, channel: Channel) -> list[int]:
    bots = [member.user.id for member in guild.members.values() if member.user.bot]
    return [one for one in bots if not access.can_see(world, one, channel.id)]


def _sync_threads(world: World, guild: Guild, channel: Channel, blind: list[int]) -> None:
    threads = [one for one in guild.threads.values() if one.parent_id == channel.id and not one.state().archived]
    for bot_id in blind:
        if not access.can_see(world, bot_id, channel.id):
            continue
        seen = [one for one in threads if access.can_see(world, bot_id, one.id)]
        data: Json = {
            "guild_id": str(guild.id),
            "channel_ids": [str(channel.id)],
            "threads": [one.payload() for one in seen],
            "members": [one.thread_member(bot_id) for one in seen if bot_id in one.state().members],
        }
        world.emit(Dispatch(guild.id, "THREAD_LIST_SYNC", data, intents=Intent.GUILDS, user_id=bot_id))


def _announce(world: World, channel: Channel, name: str) -> None:
    world.emit(Dispatch(channel.guild_id, name, channel.payload(), intents=Intent.GUILDS))


def _audit(
    world: World,
    guild: Guild,
    channel: Channel,
    *,
    action: AuditAction,
    changes: list[Json],
    actor_id: int | None,
    reason: str | None,
) -> None:
    auditing.record(world, guild, action, actor_id=actor_id, target_id=channel.id, changes=changes, reason=reason)
