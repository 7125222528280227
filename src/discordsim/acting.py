"""Single acts of any user for scripts and demos: one JSON object says who does what.

Every act passes the permissions of its user; without `user_id` the world itself acts, which may everything.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec

from discordsim.world import channels, deleting, members, posting, reacting, threads
from discordsim.world.model.messages import Draft
from discordsim.world.payloads import Json
from discordsim.world.world import World


class Deed(StrEnum):
    """What can be done."""

    SEND = "send"
    EDIT = "edit"
    DELETE = "delete"
    REACT = "react"
    UNREACT = "unreact"
    PIN = "pin"
    JOIN = "join"
    LEAVE = "leave"
    KICK = "kick"
    BAN = "ban"
    UNBAN = "unban"
    TIMEOUT = "timeout"
    ADD_ROLE = "add_role"
    REMOVE_ROLE = "remove_role"
    THREAD = "thread"
    DIRECT = "direct"
    NEW_USER = "new_user"


class Act(msgspec.Struct, forbid_unknown_fields=True):
    """One act. `user_id` acts, `target_id` is acted upon; 0 where an act has no use for an id. `seconds` is a duration."""

    do: Deed
    user_id: int | None = None
    guild_id: int = 0
    channel_id: int = 0
    message_id: int = 0
    target_id: int = 0
    role_id: int = 0
    content: str = ""
    emoji: str = "\N{THUMBS UP SIGN}"
    name: str = ""
    seconds: float = 0.0
    reason: str | None = None
    embeds: list[Json] = []
    reply_to: int | None = None


def perform(world: World, act: Act) -> Json:
    """Do it and return what came of it; raises DiscordError when Discord would refuse."""
    done = _DEEDS[act.do](world, act)
    return done.payload() if hasattr(done, "payload") else {}


def _author(act: Act) -> int:
    return act.user_id or 0


def _send(world: World, act: Act) -> Any:
    reply = None if act.reply_to is None else {"message_id": act.reply_to}
    draft = Draft(content=act.content, embeds=act.embeds, message_reference=reply)
    return posting.create(world, act.channel_id, _author(act), draft)


def _direct(world: World, act: Act) -> Any:
    channel = channels.open_direct(world, _author(act), act.target_id)
    return posting.create(world, channel.id, _author(act), Draft(content=act.content))


def _timeout(world: World, act: Act) -> Any:
    until = world.now() + act.seconds if act.seconds else None
    return members.time_out(world, act.guild_id, act.target_id, until, actor_id=act.user_id, reason=act.reason)


def _thread(world: World, act: Act) -> Any:
    if act.message_id:
        return threads.create_from_message(world, act.channel_id, act.message_id, act.name, owner_id=_author(act))
    return threads.create(world, act.channel_id, act.name, owner_id=_author(act), private=False)


def _ban(world: World, act: Act) -> None:
    members.ban(
        world,
        act.guild_id,
        act.target_id,
        actor_id=act.user_id,
        reason=act.reason,
        delete_message_seconds=int(act.seconds),
    )


_DEEDS: dict[Deed, Callable[[World, Act], Any]] = {
    Deed.SEND: _send,
    Deed.EDIT: lambda world, act: posting.edit(
        world, act.channel_id, act.message_id, {"content": act.content}, actor_id=act.user_id
    ),
    Deed.DELETE: lambda world, act: deleting.delete(
        world, act.channel_id, act.message_id, actor_id=act.user_id, reason=act.reason
    ),
    Deed.REACT: lambda world, act: reacting.add(world, act.channel_id, act.message_id, act.emoji, user_id=_author(act)),
    Deed.UNREACT: lambda world, act: reacting.remove(
        world, act.channel_id, act.message_id, act.emoji, user_id=_author(act), actor_id=_author(act)
    ),
    Deed.PIN: lambda world, act: posting.pin(world, act.channel_id, act.message_id, actor_id=act.user_id),
    Deed.JOIN: lambda world, act: members.join(world, act.guild_id, _author(act)),
    Deed.LEAVE: lambda world, act: members.leave(world, act.guild_id, _author(act)),
    Deed.KICK: lambda world, act: members.kick(
        world, act.guild_id, act.target_id, actor_id=act.user_id, reason=act.reason
    ),
    Deed.BAN: _ban,
    Deed.UNBAN: lambda world, act: members.unban(
        world, act.guild_id, act.target_id, actor_id=act.user_id, reason=act.reason
    ),
    Deed.TIMEOUT: _timeout,
    Deed.ADD_ROLE: lambda world, act: members.add_role(
        world, act.guild_id, act.target_id, act.role_id, actor_id=act.user_id, reason=act.reason
    ),
    Deed.REMOVE_ROLE: lambda world, act: members.remove_role(
        world, act.guild_id, act.target_id, act.role_id, actor_id=act.user_id, reason=act.reason
    ),
    Deed.THREAD: _thread,
    Deed.DIRECT: _direct,
    Deed.NEW_USER: lambda world, act: world.add_user(act.name),
}
