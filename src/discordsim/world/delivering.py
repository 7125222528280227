"""The last step of every message: into its channel, out to the listeners.

Refuses to judge: permissions, AutoMod and nonces were settled before.
"""

from discordsim.world import threading_rules
from discordsim.world.events import Dispatch, Intent
from discordsim.world.model.channels import Channel
from discordsim.world.model.messages import Message
from discordsim.world.world import World


def store(world: World, channel: Channel, message: Message) -> None:
    """Put a finished message into its channel and announce it."""
    if channel.thread is not None:
        message.position = channel.thread.message_count
        channel.thread.message_count += 1
        channel.thread.total_message_sent += 1
        threading_rules.join_silently(world, channel, message.author.id)
    channel.messages[message.id] = message
    channel.last_message_id = message.id
    announce(world, channel, message, "MESSAGE_CREATE")


def announce(world: World, channel: Channel, message: Message, name: str) -> None:
    """Emit a message event with `guild_id`, the author as `member` and the members behind mentions."""
    data = message.payload()
    if channel.guild_id is None:
        for user in channel.recipients:
            dm = Dispatch(None, name, data | {"channel_type": 1}, intents=Intent.DIRECT_MESSAGES, user_id=user.id)
            world.emit(dm)
        return
    members = world.guild(channel.guild_id).members
    data["guild_id"] = str(channel.guild_id)
    data["channel_type"] = int(channel.type)
    author = members.get(message.author.id)
    if author is not None and message.webhook_id is None:
        data["member"] = author.payload(with_user=False)
    for mention in data["mentions"]:
        found = members.get(int(mention["id"]))
        if found is not None:
            mention["member"] = found.payload(with_user=False)
    only = message.visible_to
    world.emit(
        Dispatch(channel.guild_id, name, data, intents=Intent.GUILD_MESSAGES, user_id=only, channel_id=channel.id)
    )
