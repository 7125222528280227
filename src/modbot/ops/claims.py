"""Who serves from a replica store: the claim, and the signs of life of the pods.

Epochs fence the owners of one shard against each other, but only as long as one database grants them. Two databases that use one store
(one that was made anew and the one that was lost; a small deployment and the one that it replaces) would grant the same epochs twice. So the
store itself says whose it is:

- `<store>/claim` holds the id of the cluster, which is that of the config service's database. The first pod of the first cluster writes it.
  Pods of another cluster serve nothing from this store, and pods that find another cluster's claim stop. It changes hands by adoption only
  (`modbot adopt`).
- `<store>/pods/<incarnation>` is written again every `BEAT_EVERY` seconds by each pod that may serve, and deleted by a pod that has closed its
  shards. A shard in which nothing happens writes nothing to the store, so the age of replicas does not tell whether somebody is there.

All ages are by the clock of the store. This is not a lease: a pod that is cut off from the store, and from nothing else, learns of a new claim only
when it reaches the store again. That is why an adoption waits, and why it is not done without need.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from modbot.domain.errors import ModbotError
from modbot.domain.ids import ClusterId, Epoch, Incarnation, ShardId
from modbot.ops.replicas import ReplicaStore, StoreError

BEAT_EVERY = 15.0
ALIVE_FOR = timedelta(seconds=4 * BEAT_EVERY)
"""A pod whose last sign of life is older than this is gone: it has missed four."""
QUIET_FOR = timedelta(seconds=10)
"""A sidecar whose pod is gone brings its last commits to the store within this time after its last upload."""
COMES_BACK_WITHIN = BEAT_EVERY + 5
"""Seconds after which a pod is seen again when it was the store that was away."""
_CLAIM = "claim"
_PODS = "pods"
_FORGET_AFTER = timedelta(hours=1)


class ForeignStoreError(ModbotError):
    """The replica store is in the service of another cluster, so nothing is served from it here."""

    code = "foreign_store"
    status = 409
    hint = "If the other cluster is gone for good, `modbot adopt` takes the store over. Otherwise give each its own prefix."


class _Claim(msgspec.Struct, frozen=True):
    cluster: ClusterId


@dataclass(frozen=True, slots=True)
class Sight:
    """Who was seen at a store: pods with a sign of life, and the shard that was written to last, with the seconds since.

    `missed`: pods whose last sign is old and that never said goodbye. They were killed, or nobody could reach the store for a while.
    """

    pods: tuple[str, ...]
    missed: tuple[str, ...]
    shard_id: ShardId | None
    seconds: float

    @property
    def busy(self) -> str:
        """Say who still serves from the store; empty when nobody does."""
        if self.pods:
            return f"{' and '.join(self.pods)} {'serve' if len(self.pods) > 1 else 'serves'} from this store"
        if self.shard_id is not None and self.seconds < QUIET_FOR.total_seconds():
            return f"shard {self.shard_id} was written to in this store {self.seconds:.0f} s ago"
        return ""


async def read(store: ReplicaStore) -> ClusterId | None:
    """Return whose the store is; None: nobody's yet."""
    text = await store.read_note(_CLAIM)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=_Claim).cluster
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"The claim in the store cannot be read: {error}.") from error


async def take(store: ReplicaStore, cluster: ClusterId) -> None:
    """Make the store a cluster's, whoever had it."""
    await store.write_note(_CLAIM, msgspec.json.encode(_Claim(cluster)))


async def take_free(store: ReplicaStore, cluster: ClusterId) -> ClusterId:
    """Return whose the store is; it becomes the cluster's when it is nobody's."""
    holder = await read(store)
    if holder is not None:
        return holder
    if await store.write_note(_CLAIM, msgspec.json.encode(_Claim(cluster)), new=True):
        return cluster
    return await read(store) or cluster


async def beat(store: ReplicaStore, pod_id: str, incarnation: Incarnation) -> None:
    """Give a sign of life."""
    await store.write_note(_note(incarnation), pod_id.encode())


async def part(store: ReplicaStore, incarnation: Incarnation) -> None:
    """Say that a pod serves nothing any more."""
    await store.delete_notes([_note(incarnation)])


async def tidy(store: ReplicaStore) -> None:
    """Delete the signs of pods that are long gone."""
    now, notes = await _now(store), await store.notes(_PODS)
    await store.delete_notes([name for name, moment in notes.items() if now - moment > _FORGET_AFTER])


async def look(store: ReplicaStore, newest: Mapping[ShardId, Epoch]) -> Sight:
    """Look who serves from the store; `newest`: the shards and their newest epochs."""
    now, notes = await _now(store), await store.notes(_PODS)
    pods: dict[bool, list[str]] = {True: [], False: []}
    for name, moment in notes.items():
        pod_id = (await store.read_note(name) or b"a pod").decode(errors="replace")
        pods[now - moment < ALIVE_FOR].append(pod_id)
    alive, missed = tuple(sorted(pods[True])), tuple(sorted(pods[False]))
    last: tuple[datetime, ShardId] | None = None
    for shard_id, epoch in newest.items():
        written = await store.written_at(shard_id, epoch)
        if written is not None and (last is None or written > last[0]):
            last = (written, shard_id)
    if last is None:
        return Sight(alive, missed, None, 0.0)
    return Sight(alive, missed, last[1], max(0.0, (now - last[0]).total_seconds()))


async def _now(store: ReplicaStore) -> datetime:
    """Return what the store's clock says, by writing something and looking when that was."""
    folder = f"clock/{uuid.uuid4()}"
    await store.write_note(f"{folder}/now", b"")
    moments = list((await store.notes(folder)).values())
    await store.delete_notes([f"{folder}/now"])
    if not moments:
        raise StoreError("The store does not show what was written to it.")
    return moments[0]


def _note(incarnation: Incarnation) -> str:
    return f"{_PODS}/{incarnation}"
