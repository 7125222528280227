"""A layout: who would carry what if the moves planned so far were done. The rebalancer's scratch paper.

It keeps each pod's load and number of shards, the pods in the order of their loads, and of every pod the shards that may still
be moved, in the order of their weights; so a step of a plan costs a few binary searches. A shard is moved at most once. `count`
includes a shard at both ends of a handoff that is under way, because both pods hold it until the handoff is over; a move that is
only planned counts at its target. It decides nothing.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from modbot.domain import pins
from modbot.domain.ids import PodId, ShardId


@dataclass(frozen=True, slots=True)
class OwnedShard:
    """A shard that is served. `target`: a handoff is under way to it.

    `resting`: it was moved for balance or by hand lately, so balance alone does not move it again. `held`: why it must not be moved now at all.
    """

    shard_id: ShardId
    owner: PodId
    weight: float
    pin: str | None = None
    target: PodId | None = None
    resting: bool = False
    held: str = ""


@dataclass(frozen=True, slots=True)
class LivePod:
    """A pod with a valid lease. A `closed` pod receives nothing and loses everything; `stopping`: because it is about to end."""

    pod_id: PodId
    capacity: int
    labels: Mapping[str, str] = field(default_factory=dict)
    replica_store: str | None = None
    closed: bool = False
    stopping: bool = False


class Layout:
    """The state that a plan is made on; `move` changes it."""

    def __init__(self, shards: Iterable[OwnedShard], pods: Iterable[LivePod]) -> None:
        self.pods = {pod.pod_id: pod for pod in pods}
        self.shards = {shard.shard_id: shard for shard in shards if shard.owner in self.pods}
        self.loads = dict.fromkeys(self.pods, 0.0)
        self.counts = dict.fromkeys(self.pods, 0)
        self._movable: dict[PodId, list[tuple[float, ShardId]]] = {pod_id: [] for pod_id in self.pods}
        self._choices: dict[tuple[str | None, bool], dict[PodId, LivePod]] = {}
        for shard in self.shards.values():
            self._carry(shard)
        for shelf in self._movable.values():
            shelf.sort()
        self._order = sorted((self.loads[pod.pod_id], pod.pod_id) for pod in self.pods.values() if not pod.closed)

    def ascending(self) -> list[PodId]:
        """Return the pods that may receive, the least loaded first."""
        return [pod_id for _, pod_id in self._order]

    def movable(self, pod_id: PodId) -> list[tuple[float, ShardId]]:
        """Return the weights and names of what the pod could still give, the lightest first. Not to be changed."""
        return self._movable[pod_id]

    def has_room(self, pod_id: PodId) -> bool:
        """Say whether the pod may take one more shard."""
        return self.counts[pod_id] < self.pods[pod_id].capacity

    def choices(self, shard: OwnedShard) -> dict[PodId, LivePod]:
        """Return the pods that may have the shard: open, with a replica store if its owner has one, and as its pin says."""
        replicated = self.pods[shard.owner].replica_store is not None
        key = (shard.pin, replicated)
        if key not in self._choices:
            able = [
                pod
                for pod in self.pods.values()
                if not pod.closed and (not replicated or pod.replica_store is not None)
            ]
            self._choices[key] = {pod.pod_id: pod for pod in pins.choices(shard.pin, able)}
        return self._choices[key]

    def may_go(self, shard_id: ShardId, pod_id: PodId) -> bool:
        """Say whether the shard may be on that pod."""
        return pod_id in self.choices(self.shards[shard_id])

    def least_loaded(self, shard: OwnedShard) -> PodId | None:
        """Return the least loaded pod that may have the shard and has room."""
        able = self.choices(shard)
        return next((pod_id for _, pod_id in self._order if pod_id in able and self.has_room(pod_id)), None)

    def waiting(self, pod_id: PodId) -> Iterator[OwnedShard]:
        """Yield what the pod owns and nobody moves yet, resting or not."""
        return (shard for shard in self.shards.values() if shard.owner == pod_id and shard.target is None)

    def move(self, shard_id: ShardId, target: PodId) -> None:
        """Plan that a shard goes to a pod."""
        shard = self.shards[shard_id]
        entry = (shard.weight, shard_id)
        shelf = self._movable[shard.owner]
        place = bisect.bisect_left(shelf, entry)
        if place < len(shelf) and shelf[place] == entry:
            del shelf[place]
        self._shift(shard.owner, -shard.weight, -1)
        self._shift(target, shard.weight, 1)

    def _carry(self, shard: OwnedShard) -> None:
        self.counts[shard.owner] += 1
        if shard.target is not None and shard.target in self.pods:
            self.counts[shard.target] += 1
            self.loads[shard.target] += shard.weight
            return
        self.loads[shard.owner] += shard.weight
        if shard.target is None and not shard.resting and not shard.held:
            self._movable[shard.owner].append((shard.weight, shard.shard_id))

    def _shift(self, pod_id: PodId, load: float, count: int) -> None:
        if not self.pods[pod_id].closed:
            place = bisect.bisect_left(self._order, (self.loads[pod_id], pod_id))
            del self._order[place]
            bisect.insort(self._order, (self.loads[pod_id] + load, pod_id))
        self.loads[pod_id] += load
        self.counts[pod_id] += count
