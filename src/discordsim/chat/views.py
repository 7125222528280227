"""What the chat page is told: guilds, the channels one member sees, messages, commands.

Everything is drawn for one member: what the member cannot see is not in the answer. Refuses to change anything.
"""

from discordsim.interactions import commands
from discordsim.world import access, permissions, posting
from discordsim.world.model.channels import Channel
from discordsim.world.model.guilds import Guild, Member, Role
from discordsim.world.payloads import Json, text_id, text_ids
from discordsim.world.permissions import Permission
from discordsim.world.world import World

MAX_MEMBERS = 300


def guilds(world: World) -> list[Json]:
    """Return all guilds with the people one can act as; a large guild names its first members only."""
    return [
        {
            "id": str(guild.id),
            "name": guild.name,
            "people": [_person(guild, one) for one in list(guild.members.values())[:MAX_MEMBERS] if not one.user.bot],
        }
        for guild in world.guilds.values()
    ]


def _person(guild: Guild, member: Member) -> Json:
    top = permissions.top_role(guild, member)
    owner = guild.owner_id == member.user.id
    return {
        "id": str(member.user.id),
        "name": member.nick or member.user.global_name or member.user.username,
        "username": member.user.username,
        "bot": member.user.bot,
        "color": next((one.color for one in _roles(guild, member) if one.color), 0),
        "role": "Owner" if owner else top.name if top.id != guild.id else "",
    }


def _roles(guild: Guild, member: Member) -> list[Role]:
    return sorted((guild.roles[one] for one in member.roles), key=lambda role: role.position, reverse=True)


def guild(world: World, guild_id: int, user_id: int) -> Json:
    """Return a guild as one member sees it. Errors: 10004, 50001."""
    found = world.guild(guild_id)
    access.require_in_guild(world, user_id, found, permissions.NONE)
    places = [*found.channels.values(), *found.threads.values()]
    seen = [_place(world, one, user_id) for one in places if access.can_see(world, user_id, one.id)]
    return {
        "id": str(found.id),
        "name": found.name,
        "permissions": str(int(access.guild_permissions_of(world, user_id, found))),
        "channels": seen,
        "members": [_person(found, one) for one in list(found.members.values())[:MAX_MEMBERS]],
        "roles": [{"id": str(one.id), "name": one.name, "color": one.color} for one in found.roles.values()],
    }


def _place(world: World, channel: Channel, user_id: int) -> Json:
    bits = access.permissions_of(world, user_id, channel)
    writing = Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES
    return {
        "id": str(channel.id),
        "type": int(channel.type),
        "name": channel.name,
        "parent_id": text_id(channel.parent_id),
        "position": channel.position,
        "topic": channel.topic,
        "archived": channel.thread is not None and channel.thread.archived,
        "locked": channel.thread is not None and channel.thread.locked,
        "can_write": bool(bits & writing),
        "can_manage": bool(bits & Permission.MANAGE_MESSAGES),
        "can_thread": bool(bits & Permission.CREATE_PUBLIC_THREADS),
    }


def messages(world: World, channel_id: int, user_id: int, *, before: int | None = None) -> list[Json]:
    """Return up to 50 messages, oldest first. Errors: 10003, 50001."""
    found = posting.history(world, channel_id, viewer_id=user_id, before=before)
    return [one.payload(user_id) for one in reversed(found)]


def offers(world: World, channel_id: int, user_id: int) -> list[Json]:
    """Return the commands the member is offered in a channel. Errors: 10003."""
    found = commands.offered(world, user_id, world.channel(channel_id))
    return [one.command | {"application_name": one.application.name} for one in found]


def profile(world: World, guild_id: int, user_id: int) -> Json:
    """Return what the user menu shows. Errors: 10004, 10013."""
    found, user = world.guild(guild_id), world.user(user_id)
    member = found.members.get(user_id)
    return {
        "id": str(user.id),
        "username": user.username,
        "member": None if member is None else _person(found, member) | {"roles": text_ids(member.roles)},
    }
