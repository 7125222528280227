"""How one bot sees the world's things over REST: own reactions marked, content hidden where it lacks the intent, DMs with the other one."""

from discordsim.rest.calls import Call
from discordsim.world import access, channels, events
from discordsim.world.model.channels import Channel, ChannelType
from discordsim.world.model.guilds import Guild
from discordsim.world.model.messages import Message
from discordsim.world.model.users import FLAG_MESSAGE_CONTENT
from discordsim.world.payloads import Json


def message(call: Call, found: Message) -> Json:
    """Return a message; without the MESSAGE_CONTENT intent those of others in guilds come empty."""
    data = found.payload(call.actor_id)
    if found.guild_id is None or call.application.flags & FLAG_MESSAGE_CONTENT:
        return data
    bare = events.without_content(data | {"guild_id": str(found.guild_id)}, call.actor_id)
    return {key: value for key, value in bare.items() if key != "guild_id"}


def channel(call: Call, found: Channel) -> Json:
    """Return a channel, thread (with the bot's own thread member) or direct message channel."""
    if found.type is ChannelType.DM:
        return channels.direct_payload(found, call.actor_id)
    data = found.payload()
    if found.thread is not None and call.actor_id in found.thread.members:
        data["member"] = found.thread_member(call.actor_id)
    return data


def guild(found: Guild, *, counts: bool = False) -> Json:
    """Return a guild; with `counts` also roughly how many are in it and online."""
    data = found.payload()
    if counts:
        data |= approximate(found)
    return data


def approximate(found: Guild) -> Json:
    """Return the approximate counts of a guild."""
    return {
        "approximate_member_count": found.member_count,
        "approximate_presence_count": max(found.member_count // 4, 1),
    }


def partial_guild(call: Call, found: Guild, *, counts: bool) -> Json:
    """Return one item of Get Current User Guilds."""
    data: Json = {
        "id": str(found.id),
        "name": found.name,
        "icon": None,
        "banner": None,
        "owner": found.owner_id == call.actor_id,
        "permissions": str(int(access.guild_permissions_of(call.world, call.actor_id, found))),
        "features": list(found.features),
    }
    return data | approximate(found) if counts else data
