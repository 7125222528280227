"""Where a shard without an owner goes, and how the REST budget is shared: pure decisions of the config service.

A shard that was served before has a file. It may only go to the pod that served it last (the file is there) or to a pod that can
restore from the store that the last owner replicated to (I8). Among the pods that may have it, the one with the fewest shards gets
it, then the one with the fewest events per second. What cannot be placed keeps a reason that a person can read. This module never
moves a shard that has an owner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

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
    events_per_second: float = 0.0
    barred: frozenset[PodId] = frozenset()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pod with a valid lease and what it carries now."""

    pod_id: PodId
    capacity: int
    shards: int = 0
    events_per_second: float = 0.0
    replica_store: str | None = None


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
    """Give each free shard to the least loaded pod that may serve it and has room; the shards with the fewest choices go first."""
    plan = Plan()
    counts = {pod.pod_id: pod.shards for pod in pods}
    events = {pod.pod_id: pod.events_per_second for pod in pods}
    choices = {shard.shard_id: [pod for pod in pods if may_serve(shard, pod)] for shard in shards}
    for shard in sorted(shards, key=lambda each: (len(choices[each.shard_id]), -each.events_per_second)):
        able = choices[shard.shard_id]
        roomy = [pod for pod in able if counts[pod.pod_id] < pod.capacity]
        if not roomy:
            plan.waiting[shard.shard_id] = _reason(shard, pods, able)
            continue
        best = min(roomy, key=lambda pod: (counts[pod.pod_id], events[pod.pod_id], pod.pod_id))
        plan.grants[shard.shard_id] = best.pod_id
        counts[best.pod_id] += 1
        events[best.pod_id] += shard.events_per_second
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


def _reason(shard: FreeShard, pods: Sequence[Candidate], able: Sequence[Candidate]) -> str:
    if not pods:
        return "No pod is live."
    if shard.barred:
        return (
            f"{shard.last_owner} may be acting in failsafe mode, and does not know {', '.join(sorted(shard.barred))}."
        )
    if able:
        return "Every pod that may serve it is full."
    if shard.replica_store is None:
        return f"Its file is on {shard.last_owner}, which is not live and had no replica store."
    return f"Neither {shard.last_owner} nor a pod that can restore from its replica store is live."
