"""Getting the file of a shard that was granted, before it is opened: from the volume, or from the replica store.

The order of trust: a file on the volume that this ownership wrote or was handed; else the replicas, newest epoch first; else, when
nobody ever served the shard and the store has nothing of it, a new file. A shard that was served and of which nothing sound can be
found is refused, and tried again (I8): an empty file would look healthy.

An epoch is passed over for an older one only when its files were read to the end and are not sound. When the store cannot give them,
nobody knows what they hold: then the shard waits, because an older epoch would throw away what the newer one has. Discord sends again, or
gap repair reads back, what a file from an older epoch lacks; but not what people asked of modbot, so the file is told that it is a
*rollback* (`shard/gaps.py`).

A file on the volume that does not count is deleted when a sound one takes its place, and not before.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from modbot.cluster import protocol
from modbot.domain import replicas as rules
from modbot.domain.errors import ModbotError
from modbot.domain.ids import Epoch
from modbot.domain.replicas import FileFacts, Ownership
from modbot.ops import litestream, metrics
from modbot.ops.litestream import RestoreError
from modbot.ops.replicas import ReplicaStore
from modbot.shard import database, restoring
from modbot.shard.engine import MissingFileError

_log = structlog.get_logger()
_TOGETHER = 4
_LIMIT = 600.0
_TRIES = 2


class NoSoundReplicaError(MissingFileError):
    """The shard has been served before, and neither the volume nor the replica store has a sound copy of it."""

    code = "no_sound_replica"
    hint = "docs/how-to/replicas.md tells how to look at the epochs in the store and how to restore one by hand."


class ReplicaAheadError(ModbotError):
    """The replica store knows the shard under a later epoch than the config service has granted."""

    code = "replica_ahead"
    hint = "The config service's database is new or an old copy: `modbot adopt` takes over what the store knows. See docs/how-to/replicas.md."


@dataclass(frozen=True, slots=True)
class Found:
    """What the engine may expect: whether a file is there, and from which epoch it was restored, if it was."""

    there: bool
    restored: Epoch | None = None


class Restorer:
    """Finds the file of a shard; at most four restores run side by side."""

    def __init__(
        self,
        data_dir: Path,
        store: ReplicaStore | None,
        *,
        program: str,
        settled: Callable[[Path], Awaitable[None]],
    ) -> None:
        """`settled` returns when nobody of this pod, and no sidecar, works with a file any more."""
        self._data_dir = data_dir
        self._store = store
        self._program = program
        self._settled = settled
        self._turns = asyncio.Semaphore(_TOGETHER)

    async def find(self, shard: protocol.Shard) -> Found:
        """Make sure that the right file of a granted shard is in its place, or that there rightly is none.

        Raises:
            MissingFileError: it was served before, and nothing sound is there.
            ReplicaAheadError: the store has seen a later epoch than the grant's.
            StoreError: the store does not say what it has.
        """
        owned = Ownership(
            shard.shard_id, shard.epoch, shard.since_epoch, shard.since_move, shard.served, shard.born_epoch
        )
        path = database.path_of(self._data_dir, shard.shard_id)
        facts, fault = await asyncio.to_thread(restoring.try_facts, path)
        if facts is not None:
            fault = rules.why_not_ours(facts, owned)
            if not fault:
                return Found(there=True)
        if path.exists():
            _log.warning("file_does_not_count", shard=shard.shard_id, epoch=shard.epoch, reason=fault)
        if self._store is not None:
            async with self._turns:
                epoch = await self._restore(self._store, owned, path, reported_seq=shard.replicated_seq)
            if epoch is not None:
                return Found(there=True, restored=epoch)
        if shard.served:
            missing = MissingFileError if self._store is None else NoSoundReplicaError
            raise missing(
                f"Shard {shard.shard_id} was served before, and its file on this volume does not count: {fault}."
            )
        await self._settled(path)
        await asyncio.to_thread(database.discard, path)
        return Found(there=False)

    async def _restore(self, store: ReplicaStore, owned: Ownership, path: Path, *, reported_seq: int) -> Epoch | None:
        """Put the newest sound replica in place and return its epoch; None when the store has nothing of the shard."""
        epochs = await store.epochs(owned.shard_id)
        if epochs and epochs[0] > owned.epoch:
            raise ReplicaAheadError(
                f"The store has epoch {epochs[0]} of shard {owned.shard_id}; the grant is for epoch {owned.epoch}."
            )
        passed_over: list[Epoch] = []
        for epoch in (each for each in epochs if each >= owned.born_epoch):
            if not await store.begins(owned.shard_id, epoch):
                self._passed_over(owned, epoch, "incomplete", "it has no beginning")
                continue
            facts = await self._try(
                store, owned, epoch, path, newest=(passed_over or [epoch])[0], reported_seq=reported_seq
            )
            if facts is not None:
                _tell_restored(owned, epoch, facts, reported_seq)
                return epoch
            passed_over.append(epoch)
        if passed_over:
            raise NoSoundReplicaError(
                f"No epoch of shard {owned.shard_id} in the store is sound; {len(epochs)} are there."
            )
        return None

    async def _try(
        self, store: ReplicaStore, owned: Ownership, epoch: Epoch, path: Path, *, newest: Epoch, reported_seq: int
    ) -> FileFacts | None:
        """Restore one epoch and put the file in place; None when it is not sound. `newest`: the one that should have been restored."""
        for number in range(1, _TRIES + 1):
            folder = await asyncio.to_thread(restoring.workplace, self._data_dir, owned.shard_id)
            try:
                restored = folder / path.name
                facts = await self._once(store, owned, epoch, restored)
                if facts is not None:
                    await self._settled(path)
                    why = rules.why_rolled_back(facts, path_epoch=epoch, newest=newest, reported_seq=reported_seq)
                    await asyncio.to_thread(restoring.place, restored, path, owned.epoch, rolled_back=why)
            except RestoreError as error:
                _log.warning("restore_failed", shard=owned.shard_id, from_epoch=epoch, error=str(error))
                await store.read_through(owned.shard_id, epoch)  # raises when it is the store that fails
                if number == _TRIES:
                    self._passed_over(owned, epoch, "damaged", str(error))
            else:
                return facts
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return None

    async def _once(self, store: ReplicaStore, owned: Ownership, epoch: Epoch, restored: Path) -> FileFacts | None:
        url = store.url_of(owned.shard_id, epoch)
        await litestream.restore(self._program, url, restored, keys=store.keys.environment(), limit=_LIMIT)
        facts, fault = await asyncio.to_thread(restoring.try_facts, restored)
        if facts is not None:
            fault = rules.why_not_sound(facts, owned, path_epoch=epoch)
        if facts is None or fault:
            self._passed_over(owned, epoch, "wrong", fault)
            return None
        return facts

    def _passed_over(self, owned: Ownership, epoch: Epoch, outcome: str, reason: str) -> None:
        metrics.RESTORES.labels(outcome).inc()
        _log.error("replica_passed_over", shard=owned.shard_id, from_epoch=epoch, outcome=outcome, reason=reason)


def _tell_restored(owned: Ownership, epoch: Epoch, facts: FileFacts, reported_seq: int) -> None:
    """Count a restore; one that is behind what the last owner knew to be replicated is a loss unless Discord still has it (I9)."""
    seq = facts.seq
    behind = seq < reported_seq
    metrics.RESTORES.labels("behind" if behind else "restored").inc()
    tell = _log.warning if behind else _log.info
    tell(
        "shard_restored", shard=owned.shard_id, epoch=owned.epoch, from_epoch=epoch, seq=seq, reported_seq=reported_seq
    )
