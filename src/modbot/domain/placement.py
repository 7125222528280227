"""Where a shard without an owner goes, and how the REST budget is shared: pure decisions of the config service.

A shard that was served before has a file. It may only go to the pod that served it last (the file is there) or to a pod that can
restore from the store that the last owner replicated to (I8). A closed pod (draining) is given nothing. Among the pods that may have
it and that its pin allows, the least loaded one gets it; what a shard weighs is the same as in rebalancing (`weights.py`). What
cannot be placed keeps a reason that a person can read. This module never moves a shard that has an owner.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modbot.domain import pins, weights
from modbot.domain.adopting import KEEPER
from modbot.domain.ids import PodId, ShardId

SMALLEST_SHARE = 1.0
_SETTLED_PART = 0.9
_STEPS = 1000


@dataclass(frozen=True, slots=True)
class FreeShard:
    """A shard without an owner. `last_owner` is None when nobody ever served it; `replica_store` is that owner's.

    `barred` pods must not have it yet, because the last owner may still be acting and would not ask them (I1).
    """

    shard_id: ShardId
    last_owner: PodId | None = None
    replica_store: str | None = None
    weight: float = weights.BASE
    pin: str | None = None
    barred: frozenset[PodId] = frozenset()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pod with a valid lease and what it carries now: `shards` counts those that are being handed to it, `load` is their weight."""

    pod_id: PodId
    capacity: int
    shards: int = 0
    load: float = 0.0
    replica_store: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is given what (`grants`), and why the rest has to wait (`waiting`)."""

    grants: dict[ShardId, PodId] = field(default_factory=dict)
    waiting: dict[ShardId, str] = field(default_factory=dict)


def may_serve(shard: FreeShard, pod: Candidate) -> bool:
    """Say whether a pod can have the shard's data: nobody had it, it has the file, or it can restore it; and is not barred."""
    if pod.pod_id in shard.barred:
        return False
    if shard.last_owner is None or shard.last_owner == pod.pod_id:
        return True
    return shard.replica_store is not None and shard.replica_store == pod.replica_store


def decide_placement(shards: Sequence[FreeShard], pods: Sequence[Candidate]) -> Plan:
    """Give each free shard to the least loaded pod that may have it and has room; the shards with the fewest choices go first.

    A pin counts among the pods that could serve the shard; where it names none of them, it is put aside.
    """
    plan = Plan()
    able = _able(shards, pods)
    counts = {pod.pod_id: pod.shards for pod in pods}
    loads = {pod.pod_id: pod.load for pod in pods}
    heaps: dict[int, list[tuple[float, int, PodId]]] = {}
    capacity = {pod.pod_id: pod.capacity for pod in pods}
    for shard in sorted(shards, key=lambda each: (len(able[each.shard_id]), -each.weight)):
        choices = able[shard.shard_id]
        if id(choices) not in heaps:
            heaps[id(choices)] = [(loads[pod.pod_id], counts[pod.pod_id], pod.pod_id) for pod in choices]
            heapq.heapify(heaps[id(choices)])
        best = _least_loaded(heaps[id(choices)], loads, counts, capacity)
        if best is None:
            plan.waiting[shard.shard_id] = _reason(shard, pods, choices)
            continue
        plan.grants[shard.shard_id] = best
        counts[best] += 1
        loads[best] += shard.weight
    return plan


def decide_settled(*, youngest: float, oldest: float, free_for: float, settle: float) -> bool:
    """Say whether to place now, so that pods that start together share the shards but a stream of newcomers delays nobody for long.

    `youngest` and `oldest`: seconds since the last and the first of the live pods joined; `free_for`: seconds since the first of the
    shards lost its owner. Waits `settle` seconds after the last arrival, and five times that in all.
    """
    return youngest >= settle or min(oldest, free_for) >= 5 * settle


def decide_rest_share(*, total: float, mine: float, demands: Sequence[float], reserved_by_others: float) -> float:
    """Return the requests per second that a pod may send now.

    `mine` is its demand, `demands` those of all pods with a valid lease, it included. Each gets 1/s, the rest goes by demand; never
    more than what the others may not be using, so that the sum stays within `total` at every instant. A tenth is kept back, so that
    a newcomer has its 1/s at once instead of when the others have renewed.
    """
    floor = min(SMALLEST_SHARE, total / len(demands))
    settled = total * _SETTLED_PART
    spare = max(0.0, settled - floor * len(demands))
    wanted = sum(demands)
    weight = mine / wanted if wanted > 0 and math.isfinite(wanted) else 1 / len(demands)
    share = min(floor + spare * weight, settled - reserved_by_others)
    share = max(share, min(floor, total - reserved_by_others))
    return max(0.0, math.floor(share * _STEPS) / _STEPS)


def _able(shards: Sequence[FreeShard], pods: Sequence[Candidate]) -> dict[ShardId, Sequence[Candidate]]:
    """Return per shard the pods it may go to; shards of the same kind share one list."""
    kinds: dict[tuple[PodId | None, str | None, str | None, frozenset[PodId]], Sequence[Candidate]] = {}
    able = {}
    for shard in shards:
        kind = (shard.last_owner, shard.replica_store, shard.pin, shard.barred)
        if kind not in kinds:
            kinds[kind] = pins.choices(shard.pin, [pod for pod in pods if not pod.closed and may_serve(shard, pod)])
        able[shard.shard_id] = kinds[kind]
    return able


def _least_loaded(
    heap: list[tuple[float, int, PodId]],
    loads: Mapping[PodId, float],
    counts: Mapping[PodId, int],
    capacity: Mapping[PodId, int],
) -> PodId | None:
    """Return the first pod with room. Loads only grow, so an outdated entry is replaced when it comes to the top, and a full pod goes."""
    while heap:
        load, count, pod_id = heap[0]
        if counts[pod_id] >= capacity[pod_id]:
            heapq.heappop(heap)
        elif (load, count) != (loads[pod_id], counts[pod_id]):
            heapq.heapreplace(heap, (loads[pod_id], counts[pod_id], pod_id))
        else:
            return pod_id
    return None


def _reason(shard: FreeShard, pods: Sequence[Candidate], able: Sequence[Candidate]) -> str:
    if not pods:
        return "No pod is live."
    if shard.barred:
        return (
            f"{shard.last_owner} may be acting in failsafe mode, and does not know {', '.join(sorted(shard.barred))}."
        )
    if able:
        pinned = shard.pin is not None and all(pins.matches(shard.pin, pod) for pod in able)
        return (
            f"It is pinned to {shard.pin}, where every pod is full."
            if pinned
            else "Every pod that may serve it is full."
        )
    if any(pod.closed and may_serve(shard, pod) for pod in pods):
        return "Only a draining pod could serve it."
    return _without_data(shard)


def _without_data(shard: FreeShard) -> str:
    if shard.last_owner == KEEPER:
        return f"It was adopted, and no pod that can restore from {shard.replica_store} is live."
    if shard.replica_store is None:
        return f"Its file is on {shard.last_owner}, which is not live and had no replica store."
    return f"Neither {shard.last_owner} nor a pod that can restore from its replica store is live."
