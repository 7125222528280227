"""What threads do by themselves when somebody writes: closed ones refuse, archived ones open, writers become members.

Lives apart from `threads` because posting needs these rules and threads need posting.
"""

from discordsim.world import access, errors
from discordsim.world.events import Dispatch, Intent
from discordsim.world.model.channels import Channel
from discordsim.world.payloads import Json
from discordsim.world.permissions import Permission
from discordsim.world.world import World


def require_open(world: World, channel: Channel, actor_id: int) -> None:
    """Raise 50083 or 160005 for a locked thread, unless the actor may MANAGE_THREADS."""
    state = channel.thread
    if state is None or not state.locked or access.permissions_of(world, actor_id, channel) & Permission.MANAGE_THREADS:
        return
    raise errors.named(50083 if state.archived else 160005)


def wake(world: World, channel: Channel, actor_id: int | None) -> None:
    """Un-archive a thread in which somebody writes."""
    if channel.thread is None or not channel.thread.archived:
        return
    if actor_id is not None:
        require_open(world, channel, actor_id)
    elif channel.thread.locked:
        raise errors.named(50083)
    channel.thread.archived = False
    channel.thread.archive_timestamp = world.now()
    announce(world, channel, "THREAD_UPDATE")


def join_silently(world: World, channel: Channel, user_id: int) -> None:
    """Make a writer a member of the thread, once, and announce it."""
    members = channel.state().members
    if user_id not in members:
        members[user_id] = world.now()
        announce_members(world, channel, added=[user_id])


def announce(world: World, thread: Channel, name: str, **extra: object) -> None:
    """Emit a thread event with the whole thread."""
    announce_partial(world, thread, name, thread.payload() | extra)


def announce_partial(world: World, thread: Channel, name: str, data: Json) -> None:
    """Emit a thread event that carries less than the whole thread."""
    world.emit(Dispatch(thread.guild_id, name, data, intents=Intent.GUILDS, channel_id=thread.id))


def announce_added(world: World, thread: Channel, user_id: int) -> None:
    """Tell one bot of a private thread into which it was put: THREAD_CREATE with its own thread member."""
    data = thread.payload() | {"member": thread.thread_member(user_id)}
    world.emit(Dispatch(thread.guild_id, "THREAD_CREATE", data, intents=Intent.GUILDS, user_id=user_id))


def announce_members(
    world: World, thread: Channel, *, added: list[int] | None = None, removed: list[int] | None = None
) -> None:
    """Emit THREAD_MEMBERS_UPDATE; without GUILD_MEMBERS a bot only hears of itself."""
    guild = world.guild_of(thread)
    affected = [*(added or []), *(removed or [])]
    data: Json = {"id": str(thread.id), "guild_id": str(guild.id), "member_count": min(len(thread.state().members), 50)}
    if added:
        data["added_members"] = [
            thread.thread_member(one) | {"member": guild.members[one].payload(), "presence": None}
            for one in added
            if one in guild.members
        ]
    if removed:
        data["removed_member_ids"] = [str(one) for one in removed]
    intents = Intent.GUILD_MEMBERS
    if any(world.users[one].bot for one in affected):
        intents |= Intent.GUILDS
    world.emit(Dispatch(guild.id, "THREAD_MEMBERS_UPDATE", data, intents=intents, channel_id=thread.id))
