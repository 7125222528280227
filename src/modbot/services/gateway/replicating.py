"""Replication of the open shards of this pod, as far as the pod has a part in it.

The Litestream sidecar does the work. The pod tells it which file goes to which address (one per shard and epoch, I8), and asks it, about
once a second while something is being committed, for a barrier: *everything committed up to now is in the store*. From the barriers
the pod knows how far the replica is, and three promises rest on that number:

* heartbeats acknowledge to Discord only what the replica holds, so that what a lost volume takes is still sent again;
* an interaction leaves the inbox only when the replica holds that it was applied;
* the lag (the age of the oldest commit that is not known to be in the replica) is measured from outside, because Litestream does
  not report a store that stands still.

A sidecar or a store that is away never stops a shard. The lag grows, is logged once, and shows in `modbot_replica_lag_seconds`. The
sidecar's registrations live in its memory, so they are made again whenever it does not know a file.

Nothing here is waited for by the way of an event, nor by the pause of a handoff: `begin` and `end` return at once. What is done about one
file is done in order, by one task after the other, because two registrations of a file would share Litestream's folder beside it.
Without a store nothing of this runs, and what is committed counts as durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from modbot.domain.ids import Epoch, ShardId
from modbot.domain.offsets import Offset
from modbot.ops import litestream, metrics
from modbot.ops.litestream import NotRegisteredError, Sidecar, SidecarAwayError, SidecarSilentError
from modbot.ops.replicas import ReplicaStore, ReplicationError
from modbot.services.gateway.marks import Marks
from modbot.shard import database
from modbot.shard.engine import Engine

_log = structlog.get_logger()
_SYNC_EVERY = 1.0
_SYNC_LIMIT = 10
_FAREWELL_LIMIT = 5
_LOOK_EVERY = 1.0
_LIST_EVERY = 5.0
_LARGEST_LOG = 64 * 2**20
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Replicated:
    """How far the replica of a shard is: seconds of lag, and the offset that it is known to hold."""

    lag: float
    offset: Offset | None


class Follower:
    """Replicates one open shard under one epoch, from `begin` to `end`."""

    def __init__(self, owner: Replication, engine: Engine, url: str, known: Offset | None) -> None:
        self.engine = engine
        self.path = engine.path
        self.marks = Marks(known, now=owner.now)
        self.away = False
        self.complete = False
        self._owner = owner
        self._url = url
        self._wanted = asyncio.Event()
        self._ending = asyncio.Event()
        self._failing = False

    def wake(self) -> None:
        """Ask for a barrier at the next turn."""
        self._wanted.set()

    def end(self) -> None:
        """Ask the task to let go of the file."""
        self._ending.set()
        self._wanted.set()

    def note_change(self) -> None:
        """Something was committed."""
        self.marks.changed()
        self._wanted.set()

    async def run(self, before: asyncio.Task[None] | None) -> None:
        """Register the file and follow it, again and again, until `end`; then let it go."""
        if before is not None:
            await asyncio.wait([before])
        pause = _FIRST_PAUSE
        while not self._ending.is_set():
            try:
                await self._owner.register(self.path, self._url)
                self._wanted.set()
                pause = _FIRST_PAUSE
                await self._follow()
            except NotRegisteredError:
                _log.info("replica_registered_again", shard=self.engine.shard_id)
                await self._pause(_FIRST_PAUSE)
            except ReplicationError as error:
                self._failed(error)
                await self._pause(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)
            except Exception:  # noqa: BLE001 - a defect here must not leave the shard without a replica
                _log.error("replica_interrupted", shard=self.engine.shard_id, exc_info=True)
                await self._pause(_LONGEST_PAUSE)
        await self._let_go()

    async def _follow(self) -> None:
        """Pass barriers while something changes; raises what only another registration can mend."""
        while True:
            await self._wanted.wait()
            if self._ending.is_set():
                return
            self._wanted.clear()
            noted = self.marks.note(self.engine.offset)
            try:
                await self._owner.sidecar.sync(self.path, limit=_SYNC_LIMIT)
            except litestream.SyncFailedError as error:
                self.marks.give_back()
                self._failed(error)
                self._wanted.set()
            except BaseException:
                self.marks.give_back()
                raise
            else:
                self.marks.confirm(noted)
                self._passed()
            await self._pause(_SYNC_EVERY)

    def _passed(self) -> None:
        metrics.REPLICA_SYNCS.labels("passed").inc()
        self.away = False
        if self._failing:
            self._failing = False
            _log.info("replica_caught_up", shard=self.engine.shard_id)
        self.complete = True

    def _failed(self, error: ReplicationError) -> None:
        metrics.REPLICA_SYNCS.labels(error.code).inc()
        self.away = isinstance(error, SidecarAwayError)
        if not self._failing:
            self._failing = True
            _log.warning("replica_behind", shard=self.engine.shard_id, code=error.code, error=str(error))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    async def _let_go(self) -> None:
        try:
            await self._owner.release(self.path, limit=_FAREWELL_LIMIT)
        except ReplicationError as error:
            _log.warning("replica_not_finished", shard=self.engine.shard_id, code=error.code, error=str(error))


class Replication:
    """All open shards of the pod. `run` it in a task of its own; `close` it when the shards are closed."""

    def __init__(
        self,
        store: ReplicaStore | None,
        sidecar: Sidecar,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.sidecar = sidecar
        self.now = now
        self._followers: dict[ShardId, Follower] = {}
        self._tasks: dict[Path, asyncio.Task[None]] = {}
        self._addresses: dict[Path, str] = {}

    def begin(self, engine: Engine, *, known: Offset | None = None) -> None:
        """Replicate an open shard; `known` is an offset that the replicas are known to hold already (it was restored)."""
        if self.store is None:
            return
        follower = Follower(self, engine, self.store.url_of(engine.shard_id, engine.epoch), known)
        self._followers[engine.shard_id] = follower
        engine.on_change = follower.note_change
        before = self._tasks.get(engine.path)
        self._tasks[engine.path] = asyncio.create_task(follower.run(before))

    def end(self, shard_id: ShardId) -> None:
        """Stop replicating a shard; the rest goes to the store in the background."""
        follower = self._followers.pop(shard_id, None)
        if follower is not None:
            follower.engine.on_change = lambda: None
            follower.marks.close()
            follower.end()
            metrics.REPLICA_LAG.forget(shard_id)
            metrics.WAL_BYTES.forget(shard_id)

    def replicated(self, shard_id: ShardId) -> Replicated | None:
        """Return how far the replica of an open shard is; None without a store."""
        follower = self._followers.get(shard_id)
        return None if follower is None else Replicated(follower.marks.lag, follower.marks.held)

    def complete(self) -> dict[ShardId, Epoch]:
        """Return the open shards of whose present epoch everything up to some barrier is in the store."""
        return {key: each.engine.epoch for key, each in self._followers.items() if each.complete}

    def durable(self, engine: Engine) -> Offset | None:
        """Return what Discord may forget: how far the replica (without a store: the file) holds the present session."""
        if self.store is None:
            return engine.offset
        follower = self._followers.get(engine.shard_id)
        held = None if follower is None else follower.marks.held
        if held is None or engine.offset is None or held.session_id != engine.offset.session_id:
            return None
        return held

    async def barrier(self, engine: Engine) -> None:
        """Wait until the replica holds everything that is committed now, as long as it takes; at once without a store."""
        if self.store is None:
            return
        follower = self._followers.get(engine.shard_id)
        if follower is None:
            raise ReplicationError(f"Shard {engine.shard_id} is not being replicated any more.")
        if not await follower.marks.reached():
            raise ReplicationError(f"Shard {engine.shard_id} was closed before its replica held everything.")

    async def settled(self, path: Path) -> None:
        """Wait until nothing is being done about a file any more, and let go of what a dead process has registered."""
        if self.store is None:
            return
        before = self._tasks.get(path)
        if before is not None:
            await asyncio.wait([before])
        try:
            await self.release(path, limit=_FAREWELL_LIMIT)
        except SidecarSilentError:
            raise  # it may still be reading the file
        except ReplicationError as error:
            _log.info("stale_file_not_replicated", file=path.name, code=error.code)

    async def register(self, path: Path, url: str) -> None:
        """Make the sidecar replicate a file to an address, whatever it did with it before."""
        with contextlib.suppress(
            litestream.SyncFailedError
        ):  # the old path lacks the end; the new one will have it all
            await self.release(path, limit=_FAREWELL_LIMIT)
        if self._addresses.get(path) != url:
            await asyncio.to_thread(litestream.forget_state, path)
        await self.sidecar.register(path, url)
        self._addresses[path] = url

    async def release(self, path: Path, *, limit: int) -> None:
        """Make the sidecar let go of a file."""
        await self.sidecar.unregister(path, limit=limit)

    async def run(self) -> None:
        """Look after the sidecar and the logs until cancelled; without a store there is nothing to look after."""
        if self.store is None:
            await asyncio.Event().wait()
            return
        listed_at = float("-inf")
        while True:
            if self.now() - listed_at >= _LIST_EVERY:
                listed_at = self.now()
                await self._look_at_sidecar(self.store.kind)
            await self._look_at_logs()
            await asyncio.sleep(_LOOK_EVERY)

    async def close(self) -> None:
        """Wait for what is under way after the last `end`, for as long as a farewell may take."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=_FAREWELL_LIMIT)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _look_at_sidecar(self, kind: str) -> None:
        try:
            registered = await self.sidecar.registered()
        except ReplicationError:
            metrics.SIDECAR_UP.labels(kind).set(0)
            return
        metrics.SIDECAR_UP.labels(kind).set(1)
        for follower in self._followers.values():
            if follower.path not in registered:
                follower.wake()  # the barrier finds out, and registers it again

    async def _look_at_logs(self) -> None:
        for shard_id, follower in list(self._followers.items()):
            size = database.log_bytes(follower.path)
            metrics.WAL_BYTES.of(shard_id).set(size)
            metrics.REPLICA_LAG.of(shard_id).set(follower.marks.lag)
            if size > _LARGEST_LOG and follower.away:
                # Nobody else moves the log now. PASSIVE waits for nobody and blocks nobody.
                await asyncio.to_thread(database.move_log, follower.path)
