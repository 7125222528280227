"""This pod at the replica store: whether the store is our cluster's, and that we are there (`ops/claims.py`).

A store that does not answer stops nobody: a shard whose file is on the volume is served without it, as ever. Only a claim that was read and
names another cluster does. Before the first shard is opened the claim is looked at once, for `_FIRST_LIMIT` seconds at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from modbot.domain.errors import ModbotError
from modbot.domain.ids import ClusterId, Incarnation, PodId
from modbot.ops import claims
from modbot.ops.claims import ForeignStoreError
from modbot.ops.replicas import ReplicaStore, ReplicationError

_FIRST_LIMIT = 2.0
_LIMIT = 10.0
_log = structlog.get_logger()


class Presence:
    """Keeps the sign of life of a pod fresh while it may serve. `run` it in a task; `close` it when the shards are closed."""

    def __init__(
        self,
        store: ReplicaStore | None,
        pod_id: PodId,
        incarnation: Incarnation,
        *,
        cluster: Callable[[], ClusterId],
        lost: Callable[[ModbotError], None],
    ) -> None:
        """`cluster`: ours, as the grant says, or empty; `lost` is told when the store was ours and is another's now."""
        self._store = store
        self._pod_id = pod_id
        self._incarnation = incarnation
        self._cluster = cluster
        self._lost = lost
        self._looking = asyncio.Lock()
        self._looked = False
        self._refusal: ForeignStoreError | None = None

    async def require(self) -> None:
        """Return when this pod may serve from the store; `ForeignStoreError` when the store is another cluster's."""
        if self._store is None:
            return
        if not self._looked:
            await self._look(self._store, limit=_FIRST_LIMIT)
        if self._refusal is not None:
            raise self._refusal

    async def run(self) -> None:
        """Look and give signs of life until cancelled; without a store there is nothing to do."""
        if self._store is None:
            await asyncio.Event().wait()
            return
        tidied = False
        while True:
            if self._looked:
                await self._look(self._store, limit=_LIMIT, again=True)
                tidied = tidied or await self._tidy(self._store)
            await asyncio.sleep(claims.BEAT_EVERY)

    async def close(self) -> None:
        """Take the sign of life back: nothing is served here any more."""
        if self._store is None or not self._looked or self._refusal is not None:
            return
        try:
            async with asyncio.timeout(_FIRST_LIMIT):
                await claims.part(self._store, self._incarnation)
        except (ReplicationError, TimeoutError) as error:
            _log.warning("presence_stays", error=str(error))  # whoever waits for it waits until it is old

    async def _look(self, store: ReplicaStore, *, limit: float, again: bool = False) -> None:
        async with self._looking:
            if self._looked and not again:
                return
            try:
                async with asyncio.timeout(limit):
                    await self._ask(store)
            except (ReplicationError, TimeoutError) as error:
                _log.warning("claim_unknown", error=str(error) or type(error).__name__)
            self._looked = True

    async def _ask(self, store: ReplicaStore) -> None:
        ours = self._cluster()
        if not ours:
            return
        holder = await claims.take_free(store, ours)
        if holder == ours:
            self._refusal = None
            await claims.beat(store, self._pod_id, self._incarnation)
            return
        had = self._looked and self._refusal is None
        self._refusal = ForeignStoreError(f"The replica store is in the service of cluster {holder}; this is {ours}.")
        if had:
            _log.error("store_lost", holder=holder, cluster=ours)
            self._lost(self._refusal)

    async def _tidy(self, store: ReplicaStore) -> bool:
        try:
            async with asyncio.timeout(_LIMIT):
                await claims.tidy(store)
        except (ReplicationError, TimeoutError) as error:
            _log.info("presence_not_tidied", error=str(error) or type(error).__name__)
            return False
        return True
