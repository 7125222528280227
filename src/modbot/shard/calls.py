"""The REST calls that effects make, each with how it may be repeated and which permission it needs.

Codes that count as done: the message, thread, ban or member is already as wanted.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from modbot.discord import routes
from modbot.discord.objects import Channel, Message
from modbot.discord.rest import File
from modbot.domain.ids import ChannelId, GuildId, InteractionId, MessageId, UserId, first_snowflake_at
from modbot.ops.settings import Secret
from modbot.shard import snapshot
from modbot.shard.effects import Call, Repeat, Run

UNKNOWN_MESSAGE = 10008
UNKNOWN_MEMBER = 10007
UNKNOWN_CHANNEL = 10003
UNKNOWN_INTERACTION = 10062
ALREADY_ACKNOWLEDGED = 40060
_PUBLIC_THREAD = 11
_WEEK = 10080  # minutes
_CLOCK_SLACK = timedelta(seconds=30)


def send_message(
    channel_id: ChannelId, body: dict[str, Any], *, files: tuple[File, ...] = (), needs: str = "Send Messages"
) -> Call:
    """Create a message; once, whatever happens."""

    async def look_back(run: Run, started_at: datetime) -> dict[str, Any] | None:
        return await _find_own_message(run, channel_id, body, started_at)

    return Call(
        routes.create_message(channel_id, nonce=True),
        json=body,
        repeat=Repeat.NONCE,
        keep=("id", "channel_id"),
        needs=needs,
        read_back=look_back,
        files=files,
    )


def edit_message(channel_id: ChannelId, message_id: MessageId, body: dict[str, Any]) -> Call:
    """Change one of our own messages."""
    return Call(routes.edit_message(channel_id, message_id), json=body, needs="View Channel")


def delete_message(channel_id: ChannelId, message_id: MessageId, *, reason: str) -> Call:
    """Delete a message; one that is gone already counts."""
    done = frozenset({UNKNOWN_MESSAGE, UNKNOWN_CHANNEL})
    route = routes.delete_message(channel_id, message_id)
    return Call(route, reason=reason, done_codes=done, needs="Manage Messages")


def create_thread(guild_id: GuildId, channel_id: ChannelId, name: str) -> Call:
    """Create a public thread without a message; looks for the first try's thread before repeating."""

    async def look_back(run: Run, started_at: datetime) -> dict[str, Any] | None:
        return await _find_own_thread(run, guild_id, channel_id, name, started_at)

    body = {"name": name, "type": _PUBLIC_THREAD, "auto_archive_duration": _WEEK}
    return Call(
        routes.create_thread(channel_id),
        json=body,
        repeat=Repeat.READ_BACK,
        needs="Create Public Threads",
        read_back=look_back,
    )


def kick(guild_id: GuildId, user_id: UserId, *, reason: str) -> Call:
    """Kick a member; somebody who is not there any more counts."""
    done = frozenset({UNKNOWN_MEMBER})
    return Call(routes.kick(guild_id, user_id), reason=reason, done_codes=done, needs="Kick Members")


def ban(guild_id: GuildId, user_id: UserId, *, reason: str, delete_seconds: int = 0) -> Call:
    """Ban a user, member or not, and delete their messages of the last `delete_seconds` (at most 7 days)."""
    body = {"delete_message_seconds": delete_seconds}
    return Call(routes.ban(guild_id, user_id), json=body, reason=reason, needs="Ban Members")


def time_out(guild_id: GuildId, user_id: UserId, *, until: datetime | None, reason: str) -> Call:
    """Set a timeout that ends at `until` (at most 28 days ahead), or lift it with None."""
    body = {"communication_disabled_until": None if until is None else until.isoformat()}
    return Call(routes.modify_member(guild_id, user_id), json=body, reason=reason, needs="Timeout Members")


def respond(interaction_id: InteractionId, token: str, body: dict[str, Any]) -> Call:
    """Give the first response to an interaction; one that is acknowledged already, or that nobody waits for, counts."""
    route = routes.interaction_callback(interaction_id, Secret(token))
    return Call(route, json=body, done_codes=frozenset({ALREADY_ACKNOWLEDGED, UNKNOWN_INTERACTION}))


async def _find_own_message(
    run: Run, channel_id: ChannelId, body: dict[str, Any], started_at: datetime
) -> dict[str, Any] | None:
    after = first_snowflake_at(started_at - _CLOCK_SLACK)
    bot_id = await run.read(snapshot.bot_user) or run.application_id
    text = str(body.get("content", "")).strip()  # as Discord keeps it
    page = await run.fetch(routes.get_messages(channel_id), params={"after": str(after), "limit": "100"})
    for message in msgspec.json.decode(page, type=list[Message], strict=False):
        own = message.author is not None and message.author.id == bot_id
        if own and message.text.strip() == text and bool(message.components) == bool(body.get("components")):
            return {"id": str(message.id), "channel_id": str(message.channel_id)}
    return None


async def _find_own_thread(
    run: Run, guild_id: GuildId, channel_id: ChannelId, name: str, started_at: datetime
) -> dict[str, Any] | None:
    after = first_snowflake_at(started_at - _CLOCK_SLACK)
    answer = await run.fetch(routes.active_threads(guild_id))
    for thread in msgspec.json.decode(answer, type=_Threads, strict=False).threads:
        if thread.parent_id == channel_id and thread.name == name and thread.id >= after:
            return {"id": str(thread.id)}
    return None


class _Threads(msgspec.Struct):
    threads: list[Channel]
