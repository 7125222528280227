"""Threads: open from a message, alone or in a forum, list open and archived ones, members. Changing and deleting is in `channels`."""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from discordsim.rest import composing, forms, views
from discordsim.rest.calls import Call
from discordsim.rest.forms import Id, Name
from discordsim.rest.resources.channels import ArchiveMinutes, Slowmode
from discordsim.rest.routing import Answer, Reply, Route
from discordsim.world import access, errors, threads
from discordsim.world.model.channels import Channel, ChannelType
from discordsim.world.payloads import Json
from discordsim.world.permissions import Permission

PRIVATE = int(ChannelType.PRIVATE_THREAD)


class FromMessage(msgspec.Struct):
    """The body of Start Thread from Message."""

    name: Name
    auto_archive_duration: ArchiveMinutes | None = None
    rate_limit_per_user: Slowmode | None = None


class Alone(FromMessage):
    """The body of Start Thread without Message; Discord's default is a private one."""

    type: Literal[10, 11, 12] | None = None
    invitable: bool | None = None


class Post(FromMessage):
    """The body of Start Thread in Forum."""

    message: dict[str, object] = {}
    applied_tags: Annotated[list[Id], Meta(max_length=5)] | None = None


def from_message(call: Call) -> Answer:
    """Open a thread under a message."""
    body = call.form(FromMessage)
    thread = threads.create_from_message(
        call.world,
        call.id("channel_id"),
        call.id("message_id"),
        body.name,
        owner_id=call.actor_id,
        auto_archive_duration=body.auto_archive_duration,
        reason=call.reason,
    )
    thread.rate_limit_per_user = body.rate_limit_per_user or 0
    return Reply(views.channel(call, thread))


def create(call: Call) -> Answer:
    """Open a thread without a message, or a forum post."""
    parent = call.world.channel(call.id("channel_id"))
    return _post(call, parent) if parent.type is ChannelType.GUILD_FORUM else _alone(call, parent)


def _alone(call: Call, parent: Channel) -> Answer:
    body = call.form(Alone)
    kind = body.type or PRIVATE
    news = parent.type is ChannelType.GUILD_ANNOUNCEMENT
    if news != (kind == ChannelType.ANNOUNCEMENT_THREAD):
        raise errors.invalid("type", "BASE_TYPE_CHOICES", f"Type {kind} is not possible in a channel of this type.")
    thread = threads.create(
        call.world,
        parent.id,
        body.name,
        owner_id=call.actor_id,
        private=kind == PRIVATE,
        auto_archive_duration=body.auto_archive_duration,
        invitable=body.invitable is not False,
        reason=call.reason,
    )
    thread.rate_limit_per_user = body.rate_limit_per_user or 0
    return Reply(views.channel(call, thread))


def _post(call: Call, forum: Channel) -> Answer:
    body = call.form(Post)
    draft = composing.draft(call, forum.id, body.message)
    tags = forms.numbers(body.applied_tags)
    known = {int(tag["id"]) for tag in forum.available_tags}
    if not known.issuperset(tags):
        raise errors.invalid("applied_tags", "INVALID_FORUM_TAG", "Unknown tag")
    thread, message = threads.create_post(
        call.world,
        forum.id,
        body.name,
        draft,
        owner_id=call.actor_id,
        applied_tags=tags,
        auto_archive_duration=body.auto_archive_duration,
        reason=call.reason,
    )
    thread.rate_limit_per_user = body.rate_limit_per_user or 0
    return Reply(views.channel(call, thread) | {"message": views.message(call, message)})


def _page(call: Call, found: list[Channel], *, more: bool = False) -> Json:
    return {
        "threads": [views.channel(call, one) for one in found],
        "members": [one.thread_member(call.actor_id) for one in found if call.actor_id in one.state().members],
        "has_more": more,
    }


def active(call: Call) -> Answer:
    """List the open threads of a guild that the bot can see."""
    guild = call.world.guild(call.id("guild_id"))
    access.require_in_guild(call.world, call.actor_id, guild, Permission(0))
    return _page(call, threads.active(call.world, guild.id, viewer_id=call.actor_id))


def _archived(call: Call, needed: Permission, fits: Callable[[Channel], bool]) -> list[Channel]:
    parent = call.world.channel(call.id("channel_id"))
    access.require(call.world, call.actor_id, parent, needed | Permission.READ_MESSAGE_HISTORY)
    every = call.world.guild_of(parent).threads.values()
    return [one for one in every if one.parent_id == parent.id and one.state().archived and fits(one)]


def _by_archive_time(call: Call, found: list[Channel]) -> Answer:
    before = forms.moment(call.request.query.get("before"), "before")
    limit = call.query_number("limit", 50, low=2, high=100)
    left = [one for one in found if before is None or one.state().archive_timestamp < before]
    left.sort(key=lambda one: (one.state().archive_timestamp, one.id), reverse=True)
    return _page(call, left[:limit], more=len(left) > limit)


def archived_public(call: Call) -> Answer:
    """List archived public threads, last archived first; `before` is a time."""
    found = _archived(call, Permission.VIEW_CHANNEL, lambda one: one.type is not ChannelType.PRIVATE_THREAD)
    return _by_archive_time(call, found)


def archived_private(call: Call) -> Answer:
    """List archived private threads, last archived first; needs MANAGE_THREADS."""
    found = _archived(call, Permission.MANAGE_THREADS, lambda one: one.type is ChannelType.PRIVATE_THREAD)
    return _by_archive_time(call, found)


def archived_joined(call: Call) -> Answer:
    """List archived private threads the bot is in, newest first; `before` is an id."""
    found = _archived(
        call,
        Permission.VIEW_CHANNEL,
        lambda one: one.type is ChannelType.PRIVATE_THREAD and call.actor_id in one.state().members,
    )
    before, limit = call.query_id("before"), call.query_number("limit", 50, low=2, high=100)
    left = sorted((one for one in found if before is None or one.id < before), key=lambda one: one.id, reverse=True)
    return _page(call, left[:limit], more=len(left) > limit)


def _seen(call: Call) -> Channel:
    thread = call.world.thread(call.id("channel_id"))
    access.require(call.world, call.actor_id, thread, Permission.VIEW_CHANNEL)
    return thread


def _drawn(call: Call, thread: Channel, user_id: int) -> Json:
    data = thread.thread_member(user_id)
    member = call.world.guild_of(thread).members.get(user_id)
    if call.query_flag("with_member") and member is not None:
        data["member"] = member.payload()
    return data


def members(call: Call) -> Answer:
    """List the members of a thread."""
    thread = _seen(call)
    after = call.query_id("after") or 0
    limit = call.query_number("limit", 100, low=1, high=100)
    ids = sorted(one for one in thread.state().members if one > after)
    return [_drawn(call, thread, one) for one in (ids[:limit] if call.query_flag("with_member") else ids)]


def member(call: Call) -> Answer:
    """Return one member of a thread; 10007 for those who are not in it."""
    thread, user_id = _seen(call), call.id("user_id")
    if user_id not in thread.state().members:
        raise errors.unknown_member()
    return _drawn(call, thread, user_id)


def add_member(call: Call) -> Answer:
    """Put somebody into a thread."""
    threads.add_member(call.world, call.id("channel_id"), call.id("user_id"), actor_id=call.actor_id)
    return None


def remove_member(call: Call) -> Answer:
    """Take somebody out of a thread."""
    threads.remove_member(call.world, call.id("channel_id"), call.id("user_id"), actor_id=call.actor_id)
    return None


def join(call: Call) -> Answer:
    """Join a thread."""
    threads.add_member(call.world, call.id("channel_id"), call.actor_id, actor_id=call.actor_id)
    return None


def leave(call: Call) -> Answer:
    """Leave a thread."""
    threads.remove_member(call.world, call.id("channel_id"), call.actor_id, actor_id=call.actor_id)
    return None


_ONE = "/channels/{channel_id}"
ROUTES = (
    Route("POST", f"{_ONE}/messages/{{message_id}}/threads", from_message),
    Route("POST", f"{_ONE}/threads", create),
    Route("GET", "/guilds/{guild_id}/threads/active", active),
    Route("GET", f"{_ONE}/threads/archived/public", archived_public),
    Route("GET", f"{_ONE}/threads/archived/private", archived_private),
    Route("GET", f"{_ONE}/users/@me/threads/archived/private", archived_joined),
    Route("GET", f"{_ONE}/thread-members", members),
    Route("PUT", f"{_ONE}/thread-members/@me", join),
    Route("DELETE", f"{_ONE}/thread-members/@me", leave),
    Route("GET", f"{_ONE}/thread-members/{{user_id}}", member),
    Route("PUT", f"{_ONE}/thread-members/{{user_id}}", add_member),
    Route("DELETE", f"{_ONE}/thread-members/{{user_id}}", remove_member),
)
