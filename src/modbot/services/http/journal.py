"""The way of interactions into the inbox: one call at a time that carries everything that waits.

*Appends* happen beside the forwarding; whoever made one is told whether it arrived. One that fails is counted and forgotten, because
the owner has the interaction from the forwarding and is asked to make it durable; after a failure the config service counts as down
for `DOWN_PAUSE` seconds and what comes meanwhile is counted at once.

*Deferrals* must arrive: Discord shows "thinking" until the owner completes them, and the owner may know of them from the inbox only.
They are kept in memory and sent again, with growing pauses, until they are accepted or their token has expired, and the end of the
process waits for them (I7). While the inbox cannot be reached, each is also offered to its owner directly, which makes it durable in the
shard file; that is counted. So an outage of PostgreSQL leaves a deferral in memory only while its owner is away as well. One that expires,
or is still here at the end, is counted and logged (I9).

An entry that is refused for its own sake is tried alone and never takes its neighbours with it. Payloads are never logged.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from modbot.cluster.protocol import InboxEntry
from modbot.domain.errors import ModbotError
from modbot.domain.ids import GuildId, InteractionId, ShardId
from modbot.services.http.metrics import Metrics

TOKEN_LIFE: Final = 14 * 60.0
DOWN_PAUSE: Final = 1.0
APPEND_LIMIT: Final = 1.0
DEFER_LIMIT: Final = 3.0
_LARGEST_BATCH: Final = 500
_LARGEST_BYTES: Final = 400_000
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_SIDE_BY_SIDE: Final = 20
_log = structlog.get_logger(__name__)


class InboxClient(Protocol):
    """The calls that the journal makes; `ConfigClient` has them."""

    async def append_inbox(self, entries: Sequence[InboxEntry], *, limit: float = ...) -> None:
        """Journal interactions."""

    async def defer_inbox(self, entries: Sequence[InboxEntry], *, limit: float = ...) -> None:
        """Say that Discord has a deferral for these."""


@dataclass(frozen=True, slots=True)
class Note:
    """An interaction as it is forwarded; `received` is on the event loop's clock, in seconds."""

    interaction_id: InteractionId
    guild_id: GuildId
    payload: str
    received: float


class Journal:
    """Collects notes and sends them; `running()` does the work in the background."""

    def __init__(
        self,
        client: InboxClient,
        shard_of: Callable[[GuildId], ShardId | None],
        metrics: Metrics,
        *,
        deliver: Callable[[GuildId, bytes], Awaitable[bool]],
        now: Callable[[], float],
    ) -> None:
        """`deliver` offers a deferred interaction to its owner and says whether it is safe there."""
        self._deliver = deliver
        self._client = client
        self._shard_of = shard_of
        self._metrics = metrics
        self._now = now
        self._appends: dict[InteractionId, InboxEntry] = {}
        self._arriving: dict[InteractionId, asyncio.Future[bool]] = {}
        self._deferrals: dict[InteractionId, Note] = {}
        self._wake_appends = asyncio.Event()
        self._wake_deferrals = asyncio.Event()
        self._refused = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._down_until = float("-inf")

    @property
    def available(self) -> bool:
        """False while the config service is known not to answer."""
        return self._now() >= self._down_until

    def append(self, note: Note) -> asyncio.Future[bool]:
        """Put a note on its way to the inbox; the future says whether it arrived, at once (False) when it is known that it would not."""
        arriving: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        shard_id = self._shard_of(note.guild_id)
        if shard_id is None or not self.available:
            self._metrics.unjournaled.inc()
            arriving.set_result(False)
            return arriving
        self._appends[note.interaction_id] = InboxEntry(
            interaction_id=note.interaction_id, shard_id=shard_id, payload=note.payload
        )
        self._arriving[note.interaction_id] = arriving
        self._wake_appends.set()
        self._idle.clear()
        return arriving

    def defer(self, note: Note) -> None:
        """See to it that the inbox holds the note, marked as deferred."""
        self._deferrals[note.interaction_id] = note
        self._metrics.deferrals_pending.set(len(self._deferrals))
        self._wake_deferrals.set()
        self._idle.clear()

    @contextlib.asynccontextmanager
    async def running(self, *, farewell: float) -> AsyncIterator[None]:
        """Send in the background; at the end wait up to `farewell` seconds for what is still on its way."""
        try:
            async with asyncio.TaskGroup() as group:  # a defect in the sending ends the process instead of the sending
                tasks = [
                    group.create_task(self._send_appends()),
                    group.create_task(self._send_deferrals()),
                    group.create_task(self._offer_deferrals()),
                ]
                try:
                    yield
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(farewell):
                            await self._idle.wait()
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
            self._lose(list(self._deferrals), "deferrals_lost_at_stop")

    async def _send_appends(self) -> None:
        while True:
            await self._wake_appends.wait()
            self._wake_appends.clear()
            while batch := _batch(list(self._appends.values())):
                failed = await self._append(batch)
                for entry in batch:
                    self._appends.pop(entry.interaction_id, None)
                    self._arriving.pop(entry.interaction_id).set_result(entry.interaction_id not in failed)
                self._metrics.unjournaled.inc(len(failed))
            self._settle()

    async def _append(self, batch: list[InboxEntry]) -> set[InteractionId]:
        """Return which of the batch did not arrive."""
        if not self.available:
            return {entry.interaction_id for entry in batch}
        try:
            refused = await _send(lambda entries: self._client.append_inbox(entries, limit=APPEND_LIMIT), batch)
        except ModbotError as error:
            self._down_until = self._now() + DOWN_PAUSE
            _log.warning("inbox_unreachable", code=error.code, error=str(error), entries=len(batch))
            refused = batch
        return {entry.interaction_id for entry in refused}

    async def _send_deferrals(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            await self._wake_deferrals.wait()
            self._expire()
            batch = _batch(self._deferred_entries())
            if batch and await self._defer(batch):
                pause = _FIRST_PAUSE
            elif self._deferrals:
                self._refused.set()
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)
            if not self._deferrals:
                self._wake_deferrals.clear()
                self._settle()

    def _deferred_entries(self) -> list[InboxEntry]:
        """Return what can be sent: the shard of a guild is unknown until the first routing table."""
        found = ((note, self._shard_of(note.guild_id)) for note in self._deferrals.values())
        return [
            InboxEntry(interaction_id=note.interaction_id, shard_id=shard_id, payload=note.payload, deferred=True)
            for note, shard_id in found
            if shard_id is not None
        ]

    async def _defer(self, batch: list[InboxEntry]) -> bool:
        try:
            refused = await _send(lambda entries: self._client.defer_inbox(entries, limit=DEFER_LIMIT), batch)
        except ModbotError as error:
            self._down_until = self._now() + DOWN_PAUSE
            _log.warning("deferrals_wait", code=error.code, error=str(error), pending=len(self._deferrals))
            return False
        self._lose([entry.interaction_id for entry in refused], "deferrals_refused")
        for entry in batch:
            self._deferrals.pop(entry.interaction_id, None)
        self._metrics.deferrals_pending.set(len(self._deferrals))
        return True

    async def _offer_deferrals(self) -> None:
        while True:
            await self._refused.wait()
            self._refused.clear()
            await self._offer_to_owners()

    async def _offer_to_owners(self) -> None:
        notes = list(self._deferrals.values())[:_LARGEST_BATCH]
        places = asyncio.Semaphore(_SIDE_BY_SIDE)

        async def offer(note: Note) -> None:
            async with places:
                if await self._deliver(note.guild_id, note.payload.encode()):
                    self._metrics.deferrals_delivered.inc(self._deferrals.pop(note.interaction_id, None) is not None)

        await asyncio.gather(*(offer(note) for note in notes))
        self._metrics.deferrals_pending.set(len(self._deferrals))
        self._settle()

    def _expire(self) -> None:
        oldest = self._now() - TOKEN_LIFE
        self._lose([key for key, note in self._deferrals.items() if note.received <= oldest], "deferrals_expired")

    def _lose(self, lost: list[InteractionId], event: str) -> None:
        for interaction_id in lost:
            self._deferrals.pop(interaction_id, None)
        if lost:
            self._metrics.deferrals_lost.inc(len(lost))
            self._metrics.deferrals_pending.set(len(self._deferrals))
            _log.error(event, interactions=[str(each) for each in lost[:20]], count=len(lost))

    def _settle(self) -> None:
        if not self._appends and not self._deferrals:
            self._idle.set()


def _batch(entries: list[InboxEntry]) -> list[InboxEntry]:
    """Return as many entries as one call takes."""
    size = 0
    for index, entry in enumerate(entries[:_LARGEST_BATCH]):
        size += len(entry.payload)
        if size > _LARGEST_BYTES and index:
            return entries[:index]
    return entries[:_LARGEST_BATCH]


async def _send(
    call: Callable[[Sequence[InboxEntry]], Awaitable[None]], batch: Sequence[InboxEntry]
) -> list[InboxEntry]:
    """Send a batch and return the entries that were refused for their own sake; raises what may pass."""
    try:
        await call(batch)
    except ModbotError as error:
        if error.retry:
            raise
        if len(batch) == 1:
            _log.error("inbox_entry_refused", code=error.code, error=str(error))
            return list(batch)
        return [entry for each in batch for entry in await _send(call, [each])]
    return []
