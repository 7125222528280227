"""Reactions: add, take back, clear.

An emoji is named as in Discord's URLs: the character itself, or `name:id` for a custom one.
"""

from discordsim.world import access, errors
from discordsim.world.events import Dispatch, Intent
from discordsim.world.model.channels import Channel
from discordsim.world.model.messages import Message, Reaction
from discordsim.world.payloads import Json
from discordsim.world.permissions import Permission
from discordsim.world.world import World

MAX_REACTIONS = 20


def emoji_of(world: World, text: str) -> Json:
    """Return the partial emoji object of a name; 10014 when there is no such emoji."""
    name, _, number = text.rpartition(":")
    if number.isdecimal() and name:
        for guild in world.guilds.values():
            found = guild.emojis.get(int(number))
            if found is not None:
                return {"id": str(found.id), "name": found.name, "animated": found.animated}
        raise errors.unknown_emoji()
    if not text or text.isascii():
        raise errors.unknown_emoji()
    return {"id": None, "name": text}


def key_of(emoji: Json) -> str:
    """Return the name under which a message keeps the reaction."""
    return f"{emoji['name']}:{emoji['id']}" if emoji["id"] else emoji["name"]


def add(world: World, channel_id: int, message_id: int, emoji: str, user_id: int) -> None:
    """Add a user's reaction; repeating changes nothing. Errors: 10008, 10014, 50001, 50013, 50083, 30010."""
    channel, message = world.channel(channel_id), world.message(channel_id, message_id)
    drawn = emoji_of(world, emoji)
    key = key_of(drawn)
    needed = Permission.READ_MESSAGE_HISTORY
    access.require(world, user_id, channel, needed if key in message.reactions else needed | Permission.ADD_REACTIONS)
    if channel.thread is not None and channel.thread.archived:
        raise errors.named(50083)
    if key not in message.reactions and len(message.reactions) >= MAX_REACTIONS:
        raise errors.named(30010)
    reaction = message.reactions.setdefault(key, Reaction(drawn))
    if user_id in reaction.users:
        return
    reaction.users[user_id] = None
    data = _data(message, emoji=drawn, user_id=user_id) | {"message_author_id": str(message.author.id)}
    if channel.guild_id is not None:
        data["member"] = world.member(channel.guild_id, user_id).payload()
    _emit(world, channel, "MESSAGE_REACTION_ADD", data | {"burst": False, "type": 0})


def remove(
    world: World, channel_id: int, message_id: int, emoji: str, user_id: int, *, actor_id: int | None = None
) -> None:
    """Take back one user's reaction; of others it needs MANAGE_MESSAGES. Errors: 10008, 10014, 50001, 50013."""
    channel, message = world.channel(channel_id), world.message(channel_id, message_id)
    needed = Permission.VIEW_CHANNEL if actor_id == user_id else Permission.MANAGE_MESSAGES
    access.require(world, actor_id, channel, needed)
    drawn = emoji_of(world, emoji)
    reaction = message.reactions.get(key_of(drawn))
    if reaction is None or user_id not in reaction.users:
        return
    del reaction.users[user_id]
    if not reaction.users:
        del message.reactions[key_of(drawn)]
    _emit(
        world,
        channel,
        "MESSAGE_REACTION_REMOVE",
        _data(message, emoji=drawn, user_id=user_id) | {"burst": False, "type": 0},
    )


def remove_all(world: World, channel_id: int, message_id: int, *, actor_id: int | None = None) -> None:
    """Clear all reactions of a message. Errors: 10008, 50001, 50013."""
    channel, message = world.channel(channel_id), world.message(channel_id, message_id)
    access.require(world, actor_id, channel, Permission.MANAGE_MESSAGES)
    message.reactions.clear()
    _emit(world, channel, "MESSAGE_REACTION_REMOVE_ALL", _data(message))


def remove_emoji(world: World, channel_id: int, message_id: int, emoji: str, *, actor_id: int | None = None) -> None:
    """Clear one emoji of a message. Errors: 10008, 10014, 50001, 50013."""
    channel, message = world.channel(channel_id), world.message(channel_id, message_id)
    access.require(world, actor_id, channel, Permission.MANAGE_MESSAGES)
    drawn = emoji_of(world, emoji)
    if message.reactions.pop(key_of(drawn), None) is not None:
        _emit(world, channel, "MESSAGE_REACTION_REMOVE_EMOJI", _data(message, emoji=drawn))


def _data(message: Message, *, emoji: Json | None = None, user_id: int | None = None) -> Json:
    data: Json = {"channel_id": str(message.channel_id), "message_id": str(message.id)}
    if message.guild_id is not None:
        data["guild_id"] = str(message.guild_id)
    if emoji is not None:
        data["emoji"] = emoji
    if user_id is not None:
        data["user_id"] = str(user_id)
    return data


def _emit(world: World, channel: Channel, name: str, data: Json) -> None:
    if channel.guild_id is not None:
        world.emit(
            Dispatch(channel.guild_id, name, data, intents=Intent.GUILD_MESSAGE_REACTIONS, channel_id=channel.id)
        )
        return
    for user in channel.recipients:
        world.emit(Dispatch(None, name, data, intents=Intent.DIRECT_MESSAGE_REACTIONS, user_id=user.id))
