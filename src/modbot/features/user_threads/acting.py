"""Making and filling user threads, from within the effects of other features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from modbot.discord.rest import File
from modbot.domain import texts
from modbot.domain.ids import ChannelId, MessageId, UserId
from modbot.features.user_threads import views
from modbot.ops import statements
from modbot.shard import calls, guild_settings
from modbot.shard.effects import RefusedError, Run, UserError
from modbot.shard.transaction import Transaction

_SQL = statements.load("modbot.features.user_threads")
_ARCHIVED_AND_LOCKED = 50083
_GONE = frozenset({calls.UNKNOWN_CHANNEL, _ARCHIVED_AND_LOCKED})


class Person(msgspec.Struct, frozen=True):
    """Whose thread it is."""

    user_id: UserId
    username: str


@dataclass(frozen=True, slots=True)
class Posted:
    """Where an entry stands."""

    thread_id: ChannelId
    message_id: MessageId


def lane_of(user_id: UserId) -> str:
    """Return the lane in which everything about a user happens in order."""
    return f"user/{user_id}"


async def ensure(run: Run, person: Person, *, round_name: str = "") -> ChannelId:
    """Return the user's thread, making it with its controls when there is none.

    Raises:
        UserError: no mod log is set.
        RefusedError: modbot may not create threads there.
    """
    prefix = f"thread{round_name}"
    row = await run.read(lambda tx: tx.one(_SQL["read_thread"], (tx.guild_id, person.user_id)))
    if row is None:
        channel_id = await _mod_log(run)
        made = await run.request(
            prefix, calls.create_thread(run.guild_id, channel_id, views.thread_name(person.username))
        )
        await run.commit(f"{prefix}/remember", lambda tx: _remember(tx, person, made.id))
        row = (made.id, None)
    thread_id = ChannelId(row[0])
    if row[1] is None:
        body = views.controls(person.user_id, person.username, run.registry.controls)
        posted = await run.request(f"{prefix}/controls", calls.send_message(thread_id, body))
        key = (posted.id, run.guild_id, person.user_id, thread_id)
        await run.commit(f"{prefix}/controls/remember", lambda tx: tx.execute(_SQL["remember_controls"], key))
    return thread_id


async def post(run: Run, step: str, person: Person, body: dict[str, Any], *, files: tuple[File, ...] = ()) -> Posted:
    """Add an entry to the user's thread; a thread that is gone or locked is replaced once."""
    needs = "Send Messages in Threads"
    try:
        thread_id = await ensure(run, person)
        posted = await run.request(step, calls.send_message(thread_id, body, files=files, needs=needs))
    except RefusedError as error:
        if error.discord_code not in _GONE:
            raise
        await run.commit(f"{step}/gone", lambda tx: tx.execute(_SQL["forget_thread_of"], (tx.guild_id, person.user_id)))
        thread_id = await ensure(run, person, round_name=f"/{step}")
        posted = await run.request(f"{step}/again", calls.send_message(thread_id, body, files=files, needs=needs))
    return Posted(thread_id, MessageId(posted.id))


async def announce(run: Run, step: str, line: str) -> None:
    """Put one line into the mod log."""
    body = {"content": texts.cut(line, texts.MESSAGE_LIMIT), "allowed_mentions": {"parse": []}, "flags": 1 << 2}
    await run.request(step, calls.send_message(await _mod_log(run), body))


async def _mod_log(run: Run) -> ChannelId:
    channel_id = await run.read(guild_settings.mod_log)
    if channel_id is None:
        raise UserError("No mod log is set yet. Somebody who manages the server can choose one with `/setup`.")
    return channel_id


def _remember(tx: Transaction, person: Person, thread_id: int) -> None:
    tx.execute(_SQL["remember_thread"], (tx.guild_id, person.user_id, thread_id, tx.now_ms))
