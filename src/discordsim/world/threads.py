"""Threads: open from a message, alone or in a forum; archive, lock, members, delete.

A thread opened from a message has the message's id. An archived thread can only be opened again, a locked one only by MANAGE_THREADS.
"""

from collections.abc import Mapping
from typing import Any

from discordsim.world import access, auditing, automod, delivering, drafts, errors, posting, threading_rules
from discordsim.world.model.channels import Channel, ChannelType, ThreadState
from discordsim.world.model.guilds import Guild
from discordsim.world.model.logs import AuditAction
from discordsim.world.model.messages import Draft, Message, MessageFlag, MessageType
from discordsim.world.permissions import Permission
from discordsim.world.world import World

MAX_NAME = 100
_PARENTS = frozenset({ChannelType.GUILD_TEXT, ChannelType.GUILD_ANNOUNCEMENT})
_FOR_ALL = frozenset(
    {"archived", "auto_archive_duration", "name", "locked", "invitable", "rate_limit_per_user", "applied_tags", "flags"}
)


def create_from_message(
    world: World,
    channel_id: int,
    message_id: int,
    name: str,
    *,
    owner_id: int,
    enforce: bool = True,
    auto_archive_duration: int | None = None,
    reason: str | None = None,
) -> Channel:
    """Open a public thread under a message. Errors: 10003, 10008, 50001, 50013, 50024, 50035, 160004, 160006."""
    parent, message = world.channel(channel_id), world.message(channel_id, message_id)
    if parent.type not in _PARENTS:
        raise errors.named(50024)
    access.require(world, owner_id if enforce else None, parent, Permission.CREATE_PUBLIC_THREADS)
    if message_id in world.channels or message.flags & MessageFlag.HAS_THREAD:
        raise errors.named(160004)
    kind = (
        ChannelType.ANNOUNCEMENT_THREAD if parent.type is ChannelType.GUILD_ANNOUNCEMENT else ChannelType.PUBLIC_THREAD
    )
    thread = _open(
        world,
        parent,
        message_id,
        kind=kind,
        name=name,
        owner_id=owner_id,
        auto_archive_duration=auto_archive_duration,
        reason=reason,
    )
    message.flags |= MessageFlag.HAS_THREAD
    message.thread = thread
    delivering.announce(world, parent, message, "MESSAGE_UPDATE")
    _post_starter(world, thread, message)
    return thread


def create(
    world: World,
    channel_id: int,
    name: str,
    *,
    owner_id: int,
    private: bool = True,
    enforce: bool = True,
    auto_archive_duration: int | None = None,
    invitable: bool = True,
    reason: str | None = None,
) -> Channel:
    """Open a thread without a message; a public one is noted in its parent. Errors: 10003, 50001, 50013, 50024, 50035, 160006."""
    parent = world.channel(channel_id)
    if parent.type not in _PARENTS:
        raise errors.named(50024)
    needed = Permission.CREATE_PRIVATE_THREADS if private else Permission.CREATE_PUBLIC_THREADS
    access.require(world, owner_id if enforce else None, parent, needed)
    public = (
        ChannelType.ANNOUNCEMENT_THREAD if parent.type is ChannelType.GUILD_ANNOUNCEMENT else ChannelType.PUBLIC_THREAD
    )
    kind = ChannelType.PRIVATE_THREAD if private else public
    thread = _open(
        world,
        parent,
        world.new_id(),
        kind=kind,
        name=name,
        owner_id=owner_id,
        auto_archive_duration=auto_archive_duration,
        invitable=invitable,
        reason=reason,
    )
    if not private:
        _note_in_parent(world, parent, thread, owner_id)
    return thread


def create_post(
    world: World,
    channel_id: int,
    name: str,
    draft: Draft,
    *,
    owner_id: int,
    enforce: bool = True,
    applied_tags: list[int] | None = None,
    auto_archive_duration: int | None = None,
    reason: str | None = None,
) -> tuple[Channel, Message]:
    """Open a forum post: a thread with its first message. Errors: 10003, 50001, 50013 (SEND_MESSAGES), 50024, 50035, 160006."""
    parent = world.channel(channel_id)
    if parent.type is not ChannelType.GUILD_FORUM:
        raise errors.named(50024)
    access.require(world, owner_id if enforce else None, parent, Permission.SEND_MESSAGES)
    drafts.check(draft)
    author = world.user(owner_id)
    automod.stop_blocked(world, parent, author, draft, automod.matches(world, parent, author, draft))
    kind = ChannelType.PUBLIC_THREAD
    thread = _open(
        world,
        parent,
        world.new_id(),
        kind=kind,
        name=name,
        owner_id=owner_id,
        auto_archive_duration=auto_archive_duration,
        tags=applied_tags,
        reason=reason,
    )
    message = posting.create(world, thread.id, owner_id, draft, enforce=False, message_id=thread.id)
    return thread, message


def edit(
    world: World, thread_id: int, fields: Mapping[str, Any], *, actor_id: int | None = None, reason: str | None = None
) -> Channel:
    """Archive, lock, rename and so on with Discord's JSON fields. Errors: 10003, 50001, 50013, 50035, 50083.

    The owner may archive, open (when not locked) and rename; all else needs MANAGE_THREADS.
    """
    thread = world.thread(thread_id)
    state, wanted = (
        thread.state(),
        {key: value for key, value in fields.items() if key in _FOR_ALL and value is not None},
    )
    _require_may_edit(world, thread, wanted, actor_id)
    if state.archived and wanted.get("archived") is not False:
        raise errors.named(50083)
    if "name" in wanted:
        _check_name(wanted["name"])
    before = _audited(thread)
    _assign(world, thread, wanted)
    threading_rules.announce(world, thread, "THREAD_UPDATE")
    changes = auditing.differences(before, _audited(thread))
    guild, action = world.guild_of(thread), AuditAction.THREAD_UPDATE
    auditing.record(world, guild, action, actor_id=actor_id, target_id=thread_id, changes=changes, reason=reason)
    return thread


def delete(world: World, thread_id: int, *, actor_id: int | None = None, reason: str | None = None) -> Channel:
    """Delete a thread. Errors: 10003, 50001, 50013 (MANAGE_THREADS)."""
    thread = world.thread(thread_id)
    access.require(world, actor_id, thread, Permission.MANAGE_THREADS)
    guild = world.guild_of(thread)
    whole = thread.payload()
    data = {key: whole[key] for key in ("id", "guild_id", "parent_id", "type")}
    threading_rules.announce_partial(world, thread, "THREAD_DELETE", data)
    del guild.threads[thread_id], world.channels[thread_id]
    changes = auditing.differences(_audited(thread), {})
    action = AuditAction.THREAD_DELETE
    auditing.record(world, guild, action, actor_id=actor_id, target_id=thread_id, changes=changes, reason=reason)
    return thread


def add_member(world: World, thread_id: int, user_id: int, *, actor_id: int | None = None) -> None:
    """Put a guild member into a thread; into others' places one needs to be able to write there. Errors: 10003, 10007, 50001, 50013, 50083."""
    thread = world.thread(thread_id)
    guild = world.guild_of(thread)
    if actor_id != user_id:
        access.require(world, actor_id, thread, Permission.SEND_MESSAGES_IN_THREADS)
    else:
        access.require(world, actor_id, thread, Permission.VIEW_CHANNEL)
    if thread.state().archived:
        raise errors.named(50083)
    world.member(guild.id, user_id)
    known = user_id in thread.state().members
    threading_rules.join_silently(world, thread, user_id)
    if not known and thread.type is ChannelType.PRIVATE_THREAD and world.user(user_id).bot:
        threading_rules.announce_added(world, thread, user_id)


def remove_member(world: World, thread_id: int, user_id: int, *, actor_id: int | None = None) -> None:
    """Take a member out of a thread; of others it needs MANAGE_THREADS (the owner may in a private one). Errors as `add_member`."""
    thread = world.thread(thread_id)
    owner = thread.type is ChannelType.PRIVATE_THREAD and actor_id == thread.owner_id
    needed = Permission.VIEW_CHANNEL if owner or actor_id == user_id else Permission.MANAGE_THREADS
    access.require(world, actor_id, thread, needed)
    if thread.state().archived:
        raise errors.named(50083)
    if user_id in thread.state().members:
        del thread.state().members[user_id]
        threading_rules.announce_members(world, thread, removed=[user_id])


def active(world: World, guild_id: int, *, viewer_id: int | None = None) -> list[Channel]:
    """Return the guild's open threads that the viewer sees, newest first. Errors: 10004."""
    threads = [one for one in world.guild(guild_id).threads.values() if not one.state().archived]
    seen = [one for one in threads if viewer_id is None or access.can_see(world, viewer_id, one.id)]
    return sorted(seen, key=lambda one: one.id, reverse=True)


def archive_idle(world: World) -> list[Channel]:
    """Archive every thread that was quiet for its `auto_archive_duration`, as Discord's own timer does, and return them."""
    closed = []
    for guild in world.guilds.values():
        for thread in guild.threads.values():
            state = thread.state()
            last = max([state.archive_timestamp, *(one.timestamp for one in thread.messages.values())])
            if not state.archived and world.now() - last >= state.auto_archive_duration * 60:
                _assign(world, thread, {"archived": True})
                threading_rules.announce(world, thread, "THREAD_UPDATE")
                closed.append(thread)
    return closed


def _open(
    world: World,
    parent: Channel,
    thread_id: int,
    *,
    kind: ChannelType,
    name: str,
    owner_id: int,
    auto_archive_duration: int | None,
    invitable: bool | None = None,
    tags: list[int] | None = None,
    reason: str | None,
) -> Channel:
    _check_name(name)
    guild = world.guild_of(parent)
    _require_room(world, guild)
    now, minutes = world.now(), auto_archive_duration or parent.default_auto_archive_duration or 1440
    shown = invitable if kind is ChannelType.PRIVATE_THREAD else None
    state = ThreadState(now, now, invitable=shown, auto_archive_duration=minutes, applied_tags=tags or [])
    state.members[owner_id] = now
    thread = Channel(thread_id, kind, guild.id, name=name, parent_id=parent.id, owner_id=owner_id, thread=state)
    guild.threads[thread_id] = world.channels[thread_id] = thread
    parent.last_message_id = thread_id if parent.type is ChannelType.GUILD_FORUM else parent.last_message_id
    threading_rules.announce(world, thread, "THREAD_CREATE", newly_created=True)
    threading_rules.announce_members(world, thread, added=[owner_id])
    changes = auditing.differences({}, _audited(thread))
    auditing.record(
        world, guild, AuditAction.THREAD_CREATE, actor_id=owner_id, target_id=thread_id, changes=changes, reason=reason
    )
    return thread


def _require_room(world: World, guild: Guild) -> None:
    if sum(not one.state().archived for one in guild.threads.values()) >= world.max_active_threads:
        raise errors.named(160006)


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME:
        raise errors.invalid("name", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_NAME} in length.")


def _require_may_edit(world: World, thread: Channel, wanted: Mapping[str, Any], actor_id: int | None) -> None:
    if actor_id is None:
        return
    free = wanted.keys() <= {"archived", "name", "auto_archive_duration", "applied_tags"} and not thread.state().locked
    owner = actor_id == thread.owner_id
    opening = wanted.keys() == {"archived"} and wanted["archived"] is False and not thread.state().locked
    if opening:
        access.require(world, actor_id, thread, Permission.SEND_MESSAGES_IN_THREADS)
    else:
        access.require(
            world, actor_id, thread, Permission.VIEW_CHANNEL if owner and free else Permission.MANAGE_THREADS
        )


def _assign(world: World, thread: Channel, wanted: Mapping[str, Any]) -> None:
    state = thread.state()
    if "archived" in wanted and wanted["archived"] != state.archived:
        state.archive_timestamp = world.now()
    for key in ("archived", "locked", "invitable", "auto_archive_duration"):
        if key in wanted:
            setattr(state, key, wanted[key])
    for key in ("name", "rate_limit_per_user", "flags"):
        if key in wanted:
            setattr(thread, key, wanted[key])
    if "applied_tags" in wanted:
        state.applied_tags = [int(one) for one in wanted["applied_tags"]]


def _audited(thread: Channel) -> dict[str, Any]:
    state = thread.state()
    return {
        "name": thread.name,
        "type": int(thread.type),
        "archived": state.archived,
        "locked": state.locked,
        "auto_archive_duration": state.auto_archive_duration,
        "rate_limit_per_user": thread.rate_limit_per_user,
        "flags": thread.flags,
    }


def _post_starter(world: World, thread: Channel, source: Message) -> None:
    starter = _system(world, thread, source.author.id, MessageType.THREAD_STARTER_MESSAGE, "")
    starter.message_reference = {
        "type": 0,
        "guild_id": str(thread.guild_id),
        "channel_id": str(source.channel_id),
        "message_id": str(source.id),
    }
    starter.referenced = source
    thread.messages[starter.id] = starter


def _note_in_parent(world: World, parent: Channel, thread: Channel, owner_id: int) -> None:
    note = _system(world, parent, owner_id, MessageType.THREAD_CREATED, thread.name)
    note.message_reference = {"type": 0, "guild_id": str(thread.guild_id), "channel_id": str(thread.id)}
    delivering.store(world, parent, note)


def _system(world: World, channel: Channel, author_id: int, kind: MessageType, content: str) -> Message:
    author = world.user(author_id)
    return Message(
        id=world.new_id(),
        channel_id=channel.id,
        guild_id=channel.guild_id,
        author=author,
        timestamp=world.now(),
        type=kind,
        content=content,
    )
