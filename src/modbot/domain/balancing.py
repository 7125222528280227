"""Balancing: the greedy steps that make loads even, on a layout. Why and when: `rebalancing.py`.

One step looks at the most loaded pod and, from the least loaded one on, at the receivers. It searches in sorted weights, so a plan
for some thousand shards and a hundred pods takes a fraction of a second (`bench/rebalancing.py`). The greedy choice is not always
the optimum; `tests/unit/domain/test_rebalancing.py` compares it with brute force and holds it to a bound.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass

from modbot.domain.ids import PodId, ShardId
from modbot.domain.layouts import Layout

_LEAST = 0.001
"""A move that makes the giver lighter by less than this part of its load is noise."""
_LEAST_EXCHANGE = 0.01
_PARTNERS = 8
"""Exchanges are looked for with this many of the least loaded pods."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When balancing begins and ends. `trigger`, `goal`, `idle`, `filled` are parts of the mean load, `gain` of a pod's load."""

    trigger: float = 1.10
    goal: float = 1.04
    idle: float = 0.75
    filled: float = 0.90
    gain: float = 0.05


USUAL = Rules()
ASKED = Rules(trigger=USUAL.goal, idle=USUAL.filled, gain=0.0)
"""For a round that people ask for: as even as it can be."""


@dataclass(frozen=True, slots=True)
class Step:
    """One move for the sake of balance."""

    shard_id: ShardId
    source: PodId
    target: PodId
    reason: str


@dataclass(frozen=True, slots=True)
class Balance:
    """The steps, the sentence about them, and the imbalance after them."""

    steps: tuple[Step, ...]
    verdict: str
    imbalance: float


def imbalance(layout: Layout) -> float:
    """Return the load of the most loaded open pod over the mean of the open pods; 1 without any load."""
    loads = [layout.loads[pod_id] for pod_id in layout.ascending()]
    total = sum(loads)
    return max(loads) * len(loads) / total if total > 0 else 1.0


def balance(layout: Layout, rules: Rules) -> Balance:
    """Plan the steps, on the layout; none when the gain would be too small."""
    first = imbalance(layout)
    work = _Work(layout, rules)
    work.run()
    if work.steps and not work.worthwhile():
        return Balance((), f"Moving shards would gain less than {rules.gain:.0%}.", first)
    after = imbalance(layout)
    return Balance(tuple(work.steps), _verdict(work, after, rules), after)


def _verdict(work: _Work, after: float, rules: Rules) -> str:
    if work.stuck:
        pod_id, why = work.stuck[0]
        return f"{pod_id} stays at {after:.2f} times the mean: {why}"
    if not work.steps and after > rules.goal:
        return f"The most loaded pod carries {after:.2f} times the mean; shards move above {rules.trigger:.2f}."
    return f"The most loaded pod {'will carry' if work.steps else 'carries'} {after:.2f} times the mean."


class _Work:
    """One run over a layout: the pods that still take part (`_active`), what was done and who was stuck."""

    def __init__(self, layout: Layout, rules: Rules) -> None:
        self.layout = layout
        self.rules = rules
        self.steps: list[Step] = []
        self.stuck: list[tuple[PodId, str]] = []
        self._before = dict(layout.loads)
        self._active = set(layout.ascending())
        self._out: dict[PodId, float] = {}

    def run(self) -> None:
        """Step until all is even, or nothing helps."""
        going = False
        while len(self._active) > 1:
            order = [pod_id for pod_id in self.layout.ascending() if pod_id in self._active]
            mean = sum(self.layout.loads[pod_id] for pod_id in order) / len(order)
            if not (self._goes_on if going else self._begins)(order, mean):
                return
            going = True
            if not self._step(order, mean):
                giver = order[-1]
                if self.layout.loads[giver] > self.rules.trigger * mean:
                    self.stuck.append((giver, self._why_stuck(order)))
                self._active.discard(giver)
                going = False

    def worthwhile(self) -> bool:
        """Say whether one of the pods that were out of bounds changed by more than the least gain."""
        loads = self.layout.loads
        return any(
            abs(loads[pod_id] - self._before[pod_id]) > self.rules.gain * max(self._before[pod_id], mean)
            for pod_id, mean in self._out.items()
        )

    def _begins(self, order: list[PodId], mean: float) -> bool:
        loads = self.layout.loads
        over = {pod_id: 0.0 for pod_id in order if loads[pod_id] > self.rules.trigger * mean}
        under = {pod_id: mean for pod_id in self._takers(order) if loads[pod_id] < self.rules.idle * mean}
        self._out |= over | under
        return bool(over or under)

    def _goes_on(self, order: list[PodId], mean: float) -> bool:
        loads = self.layout.loads
        least = next(iter(self._takers(order)), None)
        return loads[order[-1]] > self.rules.goal * mean or (
            least is not None and loads[least] < self.rules.filled * mean
        )

    def _takers(self, order: list[PodId]) -> Iterator[PodId]:
        return (pod_id for pod_id in order if self.layout.has_room(pod_id))

    def _step(self, order: list[PodId], mean: float) -> bool:
        giver, loads = order[-1], self.layout.loads
        lighter = [pod_id for pod_id in order[:-1] if loads[pod_id] < loads[giver]]
        for taker in self._takers(lighter):
            shard_id = self._pick(giver, taker, mean)
            if shard_id is not None:
                self._move(shard_id, giver, taker, mean)
                return True
        for other in lighter[:_PARTNERS]:
            pair = self._pick_exchange(giver, other, mean)
            if pair is not None:
                self._exchange(*pair, giver, other, mean)
                return True
        return False

    def _pick(self, giver: PodId, taker: PodId, mean: float) -> ShardId | None:
        """Return the shard whose move is best: the heaviest within the limit, or the lightest above it if that leaves less."""
        high, low = self.layout.loads[giver], self.layout.loads[taker]
        shelf = self.layout.movable(giver)
        place = bisect.bisect_right(shelf, min(high - mean, mean - low), key=lambda entry: entry[0])
        best, shard_id = high * (1 - _LEAST), None
        for entries in (reversed(shelf[:place]), iter(shelf[place:])):
            for weight, name in entries:
                if self.layout.may_go(name, taker):
                    left = max(high - weight, low + weight)
                    if left < best:
                        best, shard_id = left, name
                    break
        return shard_id

    def _pick_exchange(self, giver: PodId, other: PodId, mean: float) -> tuple[ShardId, ShardId] | None:
        """Return the best pair: a shard of the giver for a lighter one of the other pod."""
        layout = self.layout
        if not layout.has_room(giver) and not layout.has_room(other):
            return None
        high, low = layout.loads[giver], layout.loads[other]
        wanted = max(min(high - mean, mean - low), (high - low) / 4)
        back = [entry for entry in layout.movable(other) if layout.may_go(entry[1], giver)]
        best, pair = high * (1 - _LEAST_EXCHANGE), None
        for weight, name in layout.movable(giver):
            if not layout.may_go(name, other):
                continue
            place = bisect.bisect_left(back, weight - wanted, key=lambda entry: entry[0])
            for lighter, partner in back[max(0, place - 1) : place + 1]:
                left = max(high - weight + lighter, low + weight - lighter)
                if left < best:
                    best, pair = left, (name, partner)
        return pair

    def _exchange(self, out: ShardId, back: ShardId, giver: PodId, other: PodId, mean: float) -> None:
        """Move both; the first one goes where there is room."""
        if self.layout.has_room(other):
            self._move(out, giver, other, mean)
            self._move(back, other, giver, mean, exchange=True)
        else:
            self._move(back, other, giver, mean, exchange=True)
            self._move(out, giver, other, mean)

    def _move(self, shard_id: ShardId, source: PodId, target: PodId, mean: float, *, exchange: bool = False) -> None:
        loads = self.layout.loads
        reason = (
            f"In exchange: {source} gets a heavier shard of {target}."
            if exchange
            else f"{source} carries {loads[source] / mean:.2f} times the mean, {target} {loads[target] / mean:.2f}."
        )
        self.layout.move(shard_id, target)
        self.steps.append(Step(shard_id, source, target, reason))

    def _why_stuck(self, order: list[PodId]) -> str:
        giver = order[-1]
        if not self.layout.movable(giver):
            return "its shards are pinned there, moving, or were moved a short while ago."
        if not any(self.layout.has_room(pod_id) for pod_id in order[:-1]):
            return "no other pod has room."
        if not any(self.layout.may_go(name, pod_id) for _, name in self.layout.movable(giver) for pod_id in order[:-1]):
            return "its shards are pinned to it or have no other pod with a replica store."
        return "a shard cannot be divided, and no move of a whole one makes it better."
