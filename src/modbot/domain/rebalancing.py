"""Rebalancing: which shards should move, in which order, and why. Pure decisions of the config service.

Three causes, in this order. **Drain**: a closed pod gives everything away. **Pin**: a shard goes where people want it. **Balance**:
the most loaded pod gives to the least loaded one. Balance is lazy, because every move costs a pause: it begins when a pod carries
more than `Rules.trigger` (`balancing.py`) times the mean, or less than `Rules.idle` times (a pod that has just joined), it changes something by more
than `Rules.gain`, and it ends at `Rules.goal`. The goal lies below `trigger * (1 - gain)`, so whatever can be brought to the goal is.

A step takes the heaviest shard that neither makes the giver lighter than the mean nor the receiver heavier: that needs the fewest
moves. Where single moves do not help, two shards are exchanged. A pod that nothing helps (one giant shard, pins) is
left out, and the rest is balanced among themselves. Shards are not divisible, so `Plan.verdict` says when more cannot be had.

A plan never exceeds a capacity in any of its steps, when they are done in order; never moves a shard against a pin that can be
obeyed; never moves one twice. It never touches a shard without an owner (`placement.py`) and starts nothing: `decide_round` chooses
the moves that may begin now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from modbot.domain import balancing
from modbot.domain.ids import PodId, ShardId
from modbot.domain.layouts import Layout, LivePod, OwnedShard


class Cause(StrEnum):
    """Why a shard moves; the label of the metrics."""

    DRAIN = "drain"
    PIN = "pin"
    BALANCE = "balance"
    OPERATOR = "operator"


AT_ONCE = 1
"""Handoffs under way per source and per target ..."""
AT_ONCE_DRAINING = 4
"""... and when they leave a closed pod, which may have little time."""
BUDGET = 20
"""Moves for pins and balance that may begin within `BUDGET_SECONDS`, over all pods."""
BUDGET_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Move:
    """One handoff to be begun; `reason` is for people."""

    shard_id: ShardId
    source: PodId
    target: PodId
    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What should move, in order; `held`: what should but cannot, and why; `verdict`: what is to be said about the balance.

    `imbalance` and `imbalance_after`: the load of the most loaded open pod over the mean, now and after all moves.
    """

    moves: tuple[Move, ...] = ()
    held: Mapping[ShardId, str] = field(default_factory=dict)
    verdict: str = ""
    imbalance: float = 1.0
    imbalance_after: float = 1.0


def decide_plan(
    shards: Sequence[OwnedShard], pods: Sequence[LivePod], *, rules: balancing.Rules = balancing.USUAL
) -> Plan:
    """Plan every move that is due. Shards of pods that are not listed (their lease ran out) are left alone."""
    layout = Layout(shards, pods)
    before = balancing.imbalance(layout)
    held: dict[ShardId, str] = {}
    moves = [*_drain(layout, held), *_obey_pins(layout, held)]
    balanced = balancing.balance(layout, rules)
    moves += [Move(step.shard_id, step.source, step.target, Cause.BALANCE, step.reason) for step in balanced.steps]
    return Plan(tuple(moves), held, balanced.verdict, before, balanced.imbalance)


def decide_round(
    plan: Plan,
    shards: Sequence[OwnedShard],
    pods: Sequence[LivePod],
    *,
    begun: int,
    paused: bool = False,
    settled: bool = True,
) -> tuple[Move, ...]:
    """Choose the moves that may begin now. `begun`: how many for pins and balance began within `BUDGET_SECONDS`.

    `paused`: only what leaves a pod that stops; not `settled`: nothing for the sake of balance.
    """
    stopping = {pod.pod_id for pod in pods if pod.stopping}
    sources = Counter(shard.owner for shard in shards if shard.target is not None)
    targets = Counter(shard.target for shard in shards if shard.target is not None)
    carried = Counter(shard.owner for shard in shards) + Counter(shard.target for shard in shards)
    capacity = {pod.pod_id: pod.capacity for pod in pods}
    budget = BUDGET - begun
    chosen = []
    for move in plan.moves:
        draining = move.cause is Cause.DRAIN
        limit = AT_ONCE_DRAINING if draining else AT_ONCE
        allowed = (not paused or move.source in stopping) and (settled or move.cause is not Cause.BALANCE)
        if not allowed or (not draining and budget <= 0) or carried[move.target] >= capacity[move.target]:
            continue
        if sources[move.source] >= limit or targets[move.target] >= limit:
            continue
        sources[move.source] += 1
        targets[move.target] += 1
        carried[move.target] += 1
        budget -= not draining
        chosen.append(move)
    return tuple(chosen)


def _drain(layout: Layout, held: dict[ShardId, str]) -> list[Move]:
    leaving = [shard for shard in layout.shards.values() if layout.pods[shard.owner].closed and shard.target is None]
    leaving.sort(key=lambda shard: (len(layout.choices(shard)), -shard.weight, shard.shard_id))
    moves = []
    for shard in leaving:
        verb = "stops" if layout.pods[shard.owner].stopping else "is drained"
        move = _send(layout, held, shard, Cause.DRAIN, f"{shard.owner} {verb}.")
        if move is not None:
            moves.append(move)
    return moves


def _obey_pins(layout: Layout, held: dict[ShardId, str]) -> list[Move]:
    astray = [
        shard
        for shard in layout.shards.values()
        if shard.pin is not None
        and shard.target is None
        and not layout.pods[shard.owner].closed
        and not layout.may_go(shard.shard_id, shard.owner)
    ]
    astray.sort(key=lambda shard: (len(layout.choices(shard)), -shard.weight, shard.shard_id))
    found = (_send(layout, held, shard, Cause.PIN, f"It is pinned to {shard.pin}.") for shard in astray)
    return [move for move in found if move is not None]


def _send(layout: Layout, held: dict[ShardId, str], shard: OwnedShard, cause: Cause, reason: str) -> Move | None:
    """Plan a move to the least loaded pod that may have the shard, or write down why there is none."""
    if shard.held:
        held[shard.shard_id] = shard.held
        return None
    target = layout.least_loaded(shard)
    if target is None:
        held[shard.shard_id] = _why_nowhere(layout, shard)
        return None
    layout.move(shard.shard_id, target)
    return Move(shard.shard_id, shard.owner, target, cause, reason)


def _why_nowhere(layout: Layout, shard: OwnedShard) -> str:
    if not layout.choices(shard):
        others = any(not pod.closed for pod in layout.pods.values())
        return (
            "No other pod has a replica store, and its owner has one." if others else "No other pod is live and open."
        )
    return (
        f"It is pinned to {shard.pin}, where every pod is full." if shard.pin else "Every pod that may have it is full."
    )
