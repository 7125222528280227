"""The source's side of a handoff: lend the file while it is in use, stop when the target asks, and serve again only when that is right.

The target drives. It reads the file and the log through `CopySource` as long as it likes, while this pod goes on serving. Then it asks
us to finish: effects under way are waited for, the session closes with 4000, everything received is committed, the engine is closed,
and the target is told the offset and given the rest of the log.

From that moment the shard has no running owner, and PostgreSQL says who is next. Either the target's compare-and-set succeeds: our
grant loses the shard and the pod closes it for good. Or the handoff is given up: then `kept()` returns, but only after *our own* call to
the config service confirmed, under our epoch, that the handoff is over and the shard ours. Nothing else makes a source serve again: not
an old grant, not the target's silence, not its word.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from modbot.cluster import protocol
from modbot.domain.errors import ModbotError, NotFoundError, StaleEpochError, UnavailableError
from modbot.domain.ids import Epoch, MoveId, ShardId
from modbot.domain.offsets import Offset
from modbot.services.gateway.surroundings import Surroundings
from modbot.shard.copying import CopySource, LogEnd

EFFECTS_LIMIT = 3.0
"""Seconds that a handoff waits for effects under way; one that takes longer is run again by the target."""
_SILENCE_LIMIT = 10.0
_COMPLETION_LIMIT = 3.0
_ASK_AGAIN = 0.3
_log = structlog.get_logger()
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Parted:
    """What the source was when it stopped: how far it has read, and how much of that its replica is known to hold.

    `stopped_at` on the monotonic clock: since then nobody serves the shard.
    """

    offset: Offset | None
    replicated: Offset | None
    stopped_at: float


class HandoffSource:
    """The handoffs of one shard under one epoch, one at a time."""

    def __init__(self, surroundings: Surroundings, shard_id: ShardId, epoch: Epoch) -> None:
        self.shard_id = shard_id
        self.epoch = epoch
        self._surroundings = surroundings
        self._move_id = MoveId(0)
        self._source: CopySource | None = None
        self._heard_at = 0.0
        self._reading = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._abandoned = asyncio.Event()
        self._parted: asyncio.Future[Parted] | None = None

    @property
    def parted(self) -> bool:
        """Whether this pod has stopped serving for a handoff that is not known to be over."""
        return self._parted is not None and self._parted.done()

    async def lend(self, move_id: MoveId, path: Path) -> int:
        """Pin the file for a handoff and return its size in bytes; a pin of an earlier handoff is let go."""
        async with self._reading:
            if self._wanted.is_set():
                raise UnavailableError(f"Shard {self.shard_id} is being handed over already.")
            if move_id < self._move_id:
                raise NotFoundError(f"Handoff {move_id} of {self.shard_id} is over.")
            await self._let_go()
            self._source = await asyncio.to_thread(CopySource, path)
            self._move_id = move_id
            self._abandoned.clear()
            self._heard_at = time.monotonic()
            return self._source.size

    async def read(self, move_id: MoveId, offset: int, amount: int) -> bytes:
        """Read bytes of the file."""
        return await self._with_source(move_id, lambda source: source.read(offset, amount))

    async def read_log(self, move_id: MoveId, header: bytes, size: int, amount: int) -> tuple[LogEnd, int, bytes]:
        """Read on in the log for a target that has `size` bytes of the one with `header`: its end, where the bytes begin, the bytes."""

        def read(source: CopySource) -> tuple[LogEnd, int, bytes]:
            end = source.log_end()
            start = size if header == end.header else 0
            return end, start, source.read_log(start, min(amount, end.size - start)) if end.size > start else b""

        return await self._with_source(move_id, read)

    async def finish(self, move_id: MoveId) -> Parted:
        """Stop serving; returns once everything is committed and the file is closed."""
        self._check(move_id)
        if self._parted is None:
            self._parted = asyncio.get_running_loop().create_future()
            self._wanted.set()
        return await asyncio.shield(self._parted)

    def abandon(self, move_id: MoveId) -> None:
        """The target gives up: find out whether the shard is ours, if it has been parted with, and let the file go."""
        if move_id == self._move_id:
            self._abandoned.set()

    async def wanted(self) -> None:
        """Wait until the target asks to finish. The pin of a target that is not heard of any more is let go meanwhile."""
        while True:
            try:
                await asyncio.wait_for(self._wanted.wait(), 1.0)
            except TimeoutError:
                silent = time.monotonic() - self._heard_at > _SILENCE_LIMIT
                if self._source is not None and (silent or self._abandoned.is_set()):
                    await self.close()
                continue
            return

    def part(self, offset: Offset | None, *, replicated: Offset | None, stopped_at: float) -> None:
        """The shard is closed: tell the target."""
        if self._parted is not None and not self._parted.done():
            self._parted.set_result(Parted(offset, replicated, stopped_at))

    async def kept(self) -> None:
        """Return when the handoff is over and the shard is certainly still ours; otherwise wait to be closed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._abandoned.wait(), _COMPLETION_LIMIT)
        while True:
            if await self._is_ours():
                break
            await asyncio.sleep(_ASK_AGAIN)
        _log.warning("handoff_given_up", shard=self.shard_id, move_id=self._move_id)
        self._parted = None
        self._wanted.clear()
        await self.close()

    async def close(self) -> None:
        """Let go of the file."""
        async with self._reading:
            await self._let_go()

    async def _is_ours(self) -> bool:
        around = self._surroundings
        request = protocol.HandoffRequest(
            pod_id=around.pod_id,
            incarnation=around.incarnation,
            epoch=self.epoch,
            move_id=self._move_id,
            detail="The target did not complete it.",
        )
        try:
            await around.config.cancel_move(self.shard_id, request)
        except StaleEpochError:
            around.lease.renew_soon()  # the target owns it: our next grant says so, and the pod closes this shard
            return False
        except ModbotError as error:
            _log.warning("handoff_unresolved", shard=self.shard_id, code=error.code)
            return False
        return True

    async def _with_source(self, move_id: MoveId, work: Callable[[CopySource], _T]) -> _T:
        async with self._reading:
            source = self._check(move_id)
            return await asyncio.to_thread(work, source)

    def _check(self, move_id: MoveId) -> CopySource:
        if self._source is None or move_id != self._move_id:
            raise NotFoundError(f"Handoff {move_id} of {self.shard_id} is not under way here.")
        self._heard_at = time.monotonic()
        return self._source

    async def _let_go(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            await asyncio.to_thread(source.close)
