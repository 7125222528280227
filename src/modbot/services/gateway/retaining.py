"""Deleting replicas of old epochs.

Every grant begins a new path in the store. The owner deletes old ones when its own is complete: a barrier was passed and the store
lists its beginning. The newest few, and everything that was written to not long ago, stay. An owner that was replaced without knowing
it can only delete what its successor would delete too, because it keeps the newest up to its *own* epoch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import structlog

from modbot.domain import replicas as rules
from modbot.domain.ids import Epoch, ShardId
from modbot.ops.replicas import ReplicaStore, StoreError

_log = structlog.get_logger()
_LOOK_EVERY = 60.0
_EACH_SHARD_EVERY = timedelta(hours=1)


class Retention:
    """`run` it in a task of its own."""

    def __init__(
        self,
        store: ReplicaStore | None,
        *,
        keep: int,
        keep_for: timedelta,
        complete: Callable[[], Mapping[ShardId, Epoch]],
        now: Callable[[], datetime],
    ) -> None:
        """`complete` names the open shards whose present epoch is in the store, with that epoch."""
        self._store = store
        self._keep = keep
        self._keep_for = keep_for
        self._complete = complete
        self._now = now
        self._tidied: dict[tuple[ShardId, Epoch], datetime] = {}

    async def run(self) -> None:
        """Tidy each shard once an hour until cancelled; without a store there is nothing to tidy."""
        if self._store is None:
            await asyncio.Event().wait()
            return
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await self.tidy(self._store)

    async def tidy(self, store: ReplicaStore) -> None:
        """Delete what may go of the shards whose hour has come."""
        complete = dict(self._complete())
        self._tidied = {key: moment for key, moment in self._tidied.items() if complete.get(key[0]) == key[1]}
        for shard_id, own in complete.items():
            moment = self._tidied.get((shard_id, own))
            if moment is not None and self._now() - moment < _EACH_SHARD_EVERY:
                continue
            self._tidied[shard_id, own] = self._now()
            try:
                await self._tidy_shard(store, shard_id, own)
            except StoreError as error:
                _log.warning("old_epochs_kept", shard=shard_id, code=error.code, error=str(error))

    async def _tidy_shard(self, store: ReplicaStore, shard_id: ShardId, own: Epoch) -> None:
        older = [epoch for epoch in await store.epochs(shard_id) if epoch < own]
        if len(older) < self._keep or not await store.begins(shard_id, own):
            return
        written = {epoch: await store.written_at(shard_id, epoch) for epoch in older}
        before = self._now() - self._keep_for
        for epoch in rules.decide_forgotten(written, own=own, keep=self._keep, before=before):
            await store.forget(shard_id, epoch)
            _log.info("old_epoch_deleted", shard=shard_id, epoch=epoch, own_epoch=own)
