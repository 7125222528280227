"""Deleting messages, one or many.

Discord tells bots the ids, never the content; own deletions and those of the world leave no audit trace.
"""

from collections.abc import Iterable

from discordsim.world import access, auditing, errors, snowflakes
from discordsim.world.events import Dispatch, Intent
from discordsim.world.model.channels import Channel
from discordsim.world.model.guilds import Guild
from discordsim.world.model.logs import AuditAction
from discordsim.world.model.messages import Message
from discordsim.world.payloads import Json, text_ids
from discordsim.world.permissions import Permission
from discordsim.world.world import World

BULK_MIN, BULK_MAX = 2, 100
BULK_SECONDS = 14 * 86_400.0


def delete(
    world: World, channel_id: int, message_id: int, *, actor_id: int | None = None, reason: str | None = None
) -> None:
    """Delete one message. Errors: 10003, 10008, 50001, 50013 (MANAGE_MESSAGES for those of others)."""
    channel, message = world.channel(channel_id), world.message(channel_id, message_id)
    own = actor_id == message.author.id
    access.require(world, actor_id, channel, Permission.VIEW_CHANNEL if own else Permission.MANAGE_MESSAGES)
    _remove(channel, message)
    data: Json = {"id": str(message_id), "channel_id": str(channel_id)}
    if channel.guild_id is None:
        for user in channel.recipients:
            world.emit(Dispatch(None, "MESSAGE_DELETE", data, intents=Intent.DIRECT_MESSAGES, user_id=user.id))
        return
    data["guild_id"] = str(channel.guild_id)
    only = message.visible_to
    world.emit(
        Dispatch(
            channel.guild_id, "MESSAGE_DELETE", data, intents=Intent.GUILD_MESSAGES, user_id=only, channel_id=channel_id
        )
    )
    auditing.record_deletion(world, world.guild_of(channel), message, actor_id=actor_id, reason=reason)


def bulk_delete(
    world: World, channel_id: int, message_ids: Iterable[int], *, actor_id: int | None = None, reason: str | None = None
) -> None:
    """Delete 2 to 100 messages not older than two weeks; unknown ids are ignored. Errors: 10003, 50001, 50013, 50016, 50034."""
    channel = world.channel(channel_id)
    guild = world.guild_of(channel)
    access.require(world, actor_id, channel, Permission.MANAGE_MESSAGES)
    wanted = list(dict.fromkeys(message_ids))
    if not BULK_MIN <= len(wanted) <= BULK_MAX:
        raise errors.named(50016)
    if min(wanted) < snowflakes.at(world.now() - BULK_SECONDS):
        raise errors.named(50034)
    found = [channel.messages[one] for one in wanted if one in channel.messages]
    if not found:
        return
    remove_many(world, guild, channel, found)
    options = {"count": str(len(found))}
    auditing.record(
        world,
        guild,
        AuditAction.MESSAGE_BULK_DELETE,
        actor_id=actor_id,
        target_id=channel_id,
        options=options,
        reason=reason,
    )


def remove_many(world: World, guild: Guild, channel: Channel, messages: list[Message]) -> None:
    """Remove messages of one channel with one MESSAGE_DELETE_BULK and without audit entry (bans delete like this)."""
    for message in messages:
        _remove(channel, message)
    ids = text_ids(message.id for message in messages)
    data: Json = {"ids": ids, "channel_id": str(channel.id), "guild_id": str(guild.id)}
    world.emit(Dispatch(guild.id, "MESSAGE_DELETE_BULK", data, intents=Intent.GUILD_MESSAGES, channel_id=channel.id))


def delete_recent_of(world: World, guild: Guild, user_id: int, seconds: float) -> None:
    """Remove a user's messages of the last `seconds` in all channels and threads of a guild."""
    since = world.now() - seconds
    for channel in [*guild.channels.values(), *guild.threads.values()]:
        found = [one for one in channel.messages.values() if one.author.id == user_id and one.timestamp >= since]
        if found:
            remove_many(world, guild, channel, found)


def _remove(channel: Channel, message: Message) -> None:
    del channel.messages[message.id]
    if channel.thread is not None:
        channel.thread.message_count = max(channel.thread.message_count - 1, 0)
