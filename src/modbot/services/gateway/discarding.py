"""Deleting files of shards that have gone on elsewhere.

A pod that was away too long finds files on its volume whose shards others have taken over. Such a file is a past: it must not be served,
and its session must not be resumed. But until the new owner has opened the shard it may be the last good copy there is. So it is
deleted only when the watch stream says that another pod serves the shard under a later epoch than the file's, and never while this
pod owns the shard or is being handed it. A file that cannot be read is left for people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from modbot.cluster import protocol
from modbot.domain.ids import PodId, ShardId
from modbot.ops import metrics
from modbot.ops.replicas import ReplicationError
from modbot.shard import database, restoring

_log = structlog.get_logger()
_TRY_AGAIN = 5.0


class Discarder:
    """Hand it every line of the watch stream; `run` it in a task of its own."""

    def __init__(
        self,
        data_dir: Path,
        pod_id: PodId,
        *,
        mine: Callable[[ShardId], bool],
        settled: Callable[[Path], Awaitable[None]],
    ) -> None:
        """`mine` says that the shard is granted or open here; `settled` waits until nobody works with a file."""
        self._data_dir = data_dir
        self._pod_id = pod_id
        self._mine = mine
        self._settled = settled
        self._shards: dict[ShardId, protocol.Shard] = {}
        self._changed = asyncio.Event()

    def notice(self, line: protocol.WatchLine) -> None:
        """Remember who serves what."""
        if isinstance(line, protocol.Table | protocol.Change) and line.shards:
            self._shards.update({shard.shard_id: shard for shard in line.shards})
            self._changed.set()

    async def run(self) -> None:
        """Delete what has become worthless, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            for shard_id in list(self._shards):
                try:
                    await self._look(shard_id)
                except ReplicationError as error:
                    _log.warning("stale_file_kept", shard=shard_id, code=error.code, error=str(error))
                    self._changed.set()
            await asyncio.sleep(_TRY_AGAIN)

    async def _look(self, shard_id: ShardId) -> None:
        path = database.path_of(self._data_dir, shard_id)
        if not self._goes_on_elsewhere(shard_id) or not path.exists():
            return
        identity = path.stat().st_ino
        facts, fault = await asyncio.to_thread(restoring.try_facts, path)
        if facts is None:
            _log.warning("stale_file_kept", shard=shard_id, code="unreadable", error=fault)
            return
        if facts.epoch >= self._shards[shard_id].epoch:
            return
        await self._settled(path)
        # From here to the end without a pause: what was looked at is what is deleted.
        if self._goes_on_elsewhere(shard_id) and path.exists() and path.stat().st_ino == identity:
            database.discard(path)
            metrics.STALE_FILES.inc()
            epoch = self._shards[shard_id].epoch
            _log.warning("stale_file_deleted", shard=shard_id, epoch=facts.epoch, owner_epoch=epoch)

    def _goes_on_elsewhere(self, shard_id: ShardId) -> bool:
        shard = self._shards[shard_id]
        others = shard.served and shard.owner is not None and shard.owner != self._pod_id
        return others and shard.target != self._pod_id and not self._mine(shard_id)
