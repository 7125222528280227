"""The rebalancer's plan for a large cluster: 100,000 guilds in 4,096 shards, 100 pods, ten of them new and ten leaving."""

from __future__ import annotations

import random
import time

from modbot.domain import rebalancing, weights
from modbot.domain.ids import PodId, ShardId
from modbot.domain.layouts import LivePod, OwnedShard

_SHARDS, _PODS, _GUILDS = 4096, 100, 100_000
_TARGET = 1.0


def run() -> list[dict[str, object]]:
    rows = []
    for name, new, leaving, pinned in (
        ("shards dealt out by number", 0, 0, 0.0),
        ("10 pods join", 10, 0, 0.0),
        ("50 pods join", 50, 0, 0.0),
        ("10 pods join, 10 leave, a tenth of the shards pinned to zones", 10, 10, 0.1),
    ):
        shards, pods = _cluster(new=new, leaving=leaving, pinned=pinned)
        seconds, plan = min((_timed(shards, pods) for _ in range(3)), key=lambda found: found[0])
        rows.append(_row(f"plan, 4,096 shards on 100 pods: {name}", seconds, "s", _TARGET))
        rows.append(_row("  moves planned", len(plan.moves), "moves", None))
        rows.append(_row("  most loaded pod over the mean, after", plan.imbalance_after, "ratio", 1.10))
    return rows


def _cluster(*, new: int, leaving: int, pinned: float) -> tuple[list[OwnedShard], list[LivePod]]:
    chance = random.Random(4096)
    pods = [
        LivePod(PodId(f"gateway-{number}"), 128, {"zone": "abc"[number % 3]}, "s3://one", closed=number < leaving)
        for number in range(_PODS)
    ]
    old = pods[: _PODS - new]
    guilds = [0] * _SHARDS
    for _ in range(_GUILDS):
        guilds[chance.randrange(_SHARDS)] += 1
    shards = []
    for number, count in enumerate(guilds):
        weight = weights.weight(
            events_per_second=count * chance.paretovariate(1.5) / 10, guilds=count, rows=count * 20_000
        )
        pin = f"zone={chance.choice('abc')}" if chance.random() < pinned else None
        shards.append(OwnedShard(ShardId(f"{number}-of-{_SHARDS}"), old[number % len(old)].pod_id, weight, pin))
    return shards, pods


def _timed(shards: list[OwnedShard], pods: list[LivePod]) -> tuple[float, rebalancing.Plan]:
    started = time.perf_counter()
    plan = rebalancing.decide_plan(shards, pods)
    return time.perf_counter() - started, plan


def _row(name: str, value: float, unit: str, target: float | None) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "target": target, "better": "lower"}
