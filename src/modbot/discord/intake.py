"""The intake: everything a session received, in order, once, handed to the owner in batches.

**Order and once.** Every dispatch carries its number `s`. Numbers at or below the last received one are repetitions (Discord
replays generously after RESUME) and are dropped; a jump is a `Hole`, put into the stream where it happened, counted and logged
(I9). Dropped, unreadable and unwanted events move the position like all others.

**Two positions.** The *received* position (`offset`) lives here; the *durable* one lives with the owner, who stores the `offset` of a
batch in the transaction that holds the batch's effects. While this process lives, a broken connection resumes at the received
position: everything up to it is either committed or stands in this queue or the owner's, in order, and will be committed.
A new process, here or elsewhere, has no queue, so it resumes at the durable position that its owner read from the shard file.
Heartbeats acknowledge the durable position only, so that Discord keeps what we could still lose.

**Back-pressure.** At most `capacity` items wait here. When they do, `room()` waits and nobody reads the socket: Discord's data stays
in the socket's buffers, then at Discord. Batches form by themselves: while the sink is busy with one, the next one grows.

**Lazy progress.** When only unwanted events arrive, an empty batch tells the position at most every `progress_every` seconds, so that the
owner's durable position, and with it the acknowledgement in the heartbeats, does not stand still.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec
import structlog

from modbot.discord.events import Ready
from modbot.discord.frames import Dispatch, Dropped, Unreadable
from modbot.domain.offsets import Offset

_log = structlog.get_logger(__name__)


class SessionStarted(msgspec.Struct, frozen=True):
    """Discord accepted an IDENTIFY: positions of earlier sessions mean nothing any more."""

    offset: Offset
    ready: Ready


class Resumed(msgspec.Struct, frozen=True):
    """The replay of missed events is complete."""

    seq: int


class SessionLost(msgspec.Struct, frozen=True):
    """Discord refuses the session: what happened since `last` and was not received will not be replayed.

    With `silent_since` we gave it up: it went on, and events have been missing since then.
    """

    reason: str
    last: Offset
    silent_since: datetime | None = None


class Hole(msgspec.Struct, frozen=True):
    """The events between `after` and `before` (both excluded) never came."""

    after: int
    before: int


Item = Dispatch | Unreadable | SessionStarted | Resumed | SessionLost | Hole


class Batch(msgspec.Struct, frozen=True):
    """Some items in order, and the position once all of them are applied (`None`: there is no session)."""

    items: tuple[Item, ...]
    offset: Offset | None


class Sink(Protocol):
    """The owner's bounded queue."""

    async def put(self, batch: Batch) -> None:
        """Take a batch; wait while there is no room."""


@dataclass(slots=True)
class Stats:
    """Counters of one session since its start."""

    received: int = 0
    kept: int = 0
    dropped: int = 0
    duplicates: int = 0
    unreadable: int = 0
    holes: int = 0
    missing: int = 0
    sessions: int = 0
    lost: int = 0
    resumes: int = 0
    identifies: int = 0
    connections: int = 0
    zombies: int = 0


class Intake:
    """See the module's essay. One per session object; outlives its connections."""

    def __init__(
        self, *, sink: Sink, offset: Offset | None, stats: Stats, capacity: int = 512, progress_every: float = 1.0
    ) -> None:
        self._sink = sink
        self._offset = offset
        self._seq = offset.seq if offset is not None else 0
        self._stats = stats
        self._capacity = capacity
        self._progress_every = progress_every
        self._pending: list[Item] = []
        self._told_seq = self._seq
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._timer: asyncio.TimerHandle | None = None
        self._finishing = False

    @property
    def offset(self) -> Offset | None:
        """The received position."""
        if self._offset is None or self._offset.seq == self._seq:
            return self._offset
        return msgspec.structs.replace(self._offset, seq=self._seq)

    @property
    def full(self) -> bool:
        """Whether the socket must not be read now."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Wait until another item may be taken."""
        await self._room.wait()

    def take(self, frame: Dispatch | Unreadable | Dropped) -> None:
        """Account for the next dispatch of the session and queue it unless it is a repetition or unwanted."""
        self._stats.received += 1
        if isinstance(frame, Dispatch) and isinstance(frame.data, Ready):
            self._start(frame.seq, frame.data)
            return
        if isinstance(frame, Dispatch) and frame.name == "RESUMED":
            self._resumed(frame.seq)
            return
        if not self._advance(frame.seq):
            self._stats.duplicates += 1
            return
        if isinstance(frame, Dropped):
            self._stats.dropped += 1
            self._tell_progress_soon()
            return
        if isinstance(frame, Unreadable):
            self._stats.unreadable += 1
            _log.error("gateway.event_unreadable", event_name=frame.name, seq=frame.seq, reason=frame.reason)
        self._stats.kept += 1
        self._add(frame)

    def lose(self, reason: str, *, silent_since: datetime | None = None) -> None:
        """Forget the session, if there is one, and tell the owner."""
        last = self.offset
        if last is None:
            return
        self._stats.lost += 1
        _log.warning("gateway.session_lost", reason=reason, seq=last.seq)
        self._offset, self._seq = None, 0
        self._add(SessionLost(reason, last, silent_since))

    async def deliver(self) -> None:
        """Hand batches to the sink until `finish` was called and everything is handed over."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            batch = self._cut()
            if batch.items or self._seq != self._told_seq:
                self._told_seq = self._seq
                await self._sink.put(batch)
            if self._finishing and not self._pending:
                return

    def finish(self) -> None:
        """Let `deliver` return once nothing is pending."""
        self._finishing = True
        if self._timer is not None:
            self._timer.cancel()
        self._ready.set()

    def _cut(self) -> Batch:
        batch = Batch(tuple(self._pending), self.offset)
        self._pending.clear()
        self._room.set()
        return batch

    def _add(self, item: Item) -> None:
        self._pending.append(item)
        self._ready.set()
        if len(self._pending) >= self._capacity:
            self._room.clear()

    def _start(self, seq: int, ready: Ready) -> None:
        self.lose("a new session began")
        self._stats.sessions += 1
        self._seq = seq
        self._offset = Offset(session_id=ready.session_id, resume_url=ready.resume_gateway_url, seq=seq)
        self._add(SessionStarted(self._offset, ready))

    def _resumed(self, seq: int) -> None:
        self._stats.resumes += 1
        self._advance(seq)
        self._add(Resumed(self._seq))

    def _advance(self, seq: int) -> bool:
        """Move the position; say whether the event is new."""
        if seq <= self._seq:
            return False
        if seq > self._seq + 1:
            self._stats.holes += 1
            self._stats.missing += seq - self._seq - 1
            _log.error("gateway.hole", after=self._seq, before=seq)
            self._add(Hole(self._seq, seq))
        self._seq = seq
        return True

    def _tell_progress_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._progress_every, self._progress_due)

    def _progress_due(self) -> None:
        self._timer = None
        self._ready.set()
