"""The times that are promised by name, each measured at least twenty times under load.

Everything is read from outside: the seq of the shard files (`watching`), the simulator's count of what it has delivered, and
PostgreSQL's own record of renewals and grants (`owners`). *Events flow again* when an event that Discord made after the fault is
committed; a *pause* is the time between the last event of one owner and the first of the next, or, where a shard may change hands
several times, the longest time in which it committed nothing.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import closing

import msgspec

from chaos import answers, files, systems
from chaos.checking import Checks
from chaos.faults import moving, pods
from chaos.owners import last_renewal
from chaos.percentiles import percentile
from chaos.systems import Setup, System
from modbot.shard import database

SHARDS = 4
EVENTS_PER_SHARD = 200.0
_BALLAST = 256 * 1024 * 1024
_CHUNK = 1024 * 1024
_REST = 2.0
_REPLICATED_WITHIN = 180.0
_LATE_LOOK = 0.5
"""Seconds after which nothing is seen any more that was committed before a loss."""
Samples = dict[str, list[float]]


class Measured(msgspec.Struct, kw_only=True):
    """One promise: seconds over all repetitions."""

    what: str
    runs: int
    p50: float
    p99: float
    worst: float
    target_p50: float | None
    target_p99: float | None
    lost: int
    doubled: int
    identifies: int
    interactions: int
    without_answer: int
    unjudged: int = 0
    thrown_away: int = 0
    """Repetitions in whose pause the simulator itself had stood still: nobody could have committed anything. They were made again."""
    machine_load: float = 0.0
    """Mean of the one-minute load averages meanwhile: how many processes wanted the cores, also those of others."""
    violations: list[str]


class StoodStillError(Exception):
    """The simulator stood still during a pause that was to be measured, so it says nothing about modbot."""


class Series(msgspec.Struct, frozen=True):
    """Which measurement: what it repeats, and what it promises (p50, p99) for each of its samples."""

    what: str
    repeat: Callable[[System, int, Samples], Awaitable[None]]
    promises: dict[str, tuple[float | None, float | None]]
    ballast: bool = False
    balanced: bool = True
    """Whether each pod must have its part before each repetition."""


async def measure(setup: Setup, series: Series, *, runs: int, tell: Callable[[str], None]) -> list[Measured]:
    """Repeat, then check every invariant."""
    samples: Samples = {name: [] for name in series.promises}
    loads: list[float] = []
    async with systems.running(setup) as system:
        await system.post("/moves/pause", {"paused": True})  # nothing moves but what is measured
        if series.ballast:
            await _fill(system, "0-of-4")
        checks = Checks(system)
        number = thrown_away = 0
        while number < runs:
            if series.balanced:
                await balance(system)
            await replicated(system)
            await asyncio.sleep(_REST + system.chance.random())
            try:
                await series.repeat(system, number, samples)
            except StoodStillError:
                thrown_away += 1
                assert thrown_away <= runs, "the simulator stands still all the time"
                continue
            number += 1
            loads.append(os.getloadavg()[0])
            latest = {name: round(values[-1], 3) for name, values in samples.items() if values}
            tell(f"{series.what} {number} of {runs}: {latest}")
        found = await checks.at_rest()
        summary = (await system.stack.control("GET", "interactions"))["summary"]
    return [
        Measured(
            what=name,
            runs=len(samples[name]),
            p50=round(percentile(samples[name], 0.5), 3),
            p99=round(percentile(samples[name], 0.99), 3),
            worst=round(max(samples[name]), 3),
            target_p50=target[0],
            target_p99=target[1],
            lost=len(found.verdict.lost),
            doubled=len(found.verdict.doubled),
            identifies=found.identifies,
            interactions=summary["total"],
            without_answer=summary["failed"] + summary["unfinished"] + summary["pending"] - found.unjudged,
            unjudged=found.unjudged,
            thrown_away=thrown_away,
            machine_load=round(sum(loads) / len(loads), 1),
            violations=sorted(found.all()),
        )
        for name, target in series.promises.items()
    ]


async def kill(system: System, number: int, samples: Samples) -> None:
    """F1: from the kill until every shard of the pod has committed an event that Discord made after it."""
    pod = await system.victim(number % system.setup.gateways)
    shards = await system.owned_by(f"gateway-{pod}")
    since = time.time()
    await pods.kill(system, {"pod": pod})
    await system.stack.gateway(pod).gone()
    seqs = await system.seqs()
    samples["flows again after a kill"].append(await _flow_again(system, shards, seqs, since) - since)


async def lose(system: System, number: int, samples: Samples) -> None:
    """F2: from the last renewal until every shard has an owner again, and until it has committed an event made after the loss."""
    pod = await system.victim(number % system.setup.gateways)
    shards = await system.owned_by(f"gateway-{pod}")
    seqs, since = await system.seqs(), time.time()
    await pods.lose(system, {"pod": pod})
    flowed = await _flow_again(system, shards, seqs, since + _LATE_LOOK)
    await system.history.read()
    before = {shard: system.history.owner(shard, since) for shard in shards}
    renewed = min(last_renewal(system.history, grant.incarnation or "", since) for grant in before.values())
    grants = [_next_owner(system, shard, before[shard].epoch) for shard in shards]
    samples["new owner after the last renewal"].append(max(grants) - renewed)
    samples["flows again after the last renewal"].append(flowed - renewed)
    samples["flows again after the loss"].append(flowed - since)


async def move(system: System, number: int, samples: Samples) -> None:
    """F4: the pause of one large shard that is handed over."""
    pods_there = [f"gateway-{each}" for each in range(system.setup.gateways)]
    owner = next(
        row["owner"] for row in (await system.stack.internal("/shards"))["shards"] if row["shard_id"] == "0-of-4"
    )
    target = pods_there[(pods_there.index(owner) + 1) % len(pods_there)]
    since = time.time()
    status, told = await system.post("/shards/0-of-4/move", {"target": target})
    assert status == 200, told
    await moving.over(system, told)
    await system.flowing()
    until = time.time()
    track = system.watcher.tracks["0-of-4"]
    [paused] = await _judged(system, [track.change(since, until)])
    samples["pause of a shard of 256 MB when its owner changes"].append(paused)
    samples["its longest standstill in the whole handoff"].append(track.standstill(since, until))
    samples["the whole handoff of 256 MB"].append(until - since)


async def restart_all(system: System, _number: int, samples: Samples) -> None:
    """F3: the longest pause of each shard while all pods are restarted in turn."""
    since = time.time()
    await pods.restart_all(system, {})
    until = time.time()
    longest = [track.longest(since, until) for track in system.watcher.tracks.values()]
    samples["pause of a shard while all pods restart"] += await _judged(system, longest)


SERIES = {
    "f1": Series("kill in place", kill, {"flows again after a kill": (None, 5.0)}),
    "f2": Series(
        "loss of a machine",
        lose,
        {
            "new owner after the last renewal": (None, 8.0),
            "flows again after the last renewal": (None, 10.0),
            "flows again after the loss": (None, None),
        },
    ),
    "f3": Series("rolling restart", restart_all, {"pause of a shard while all pods restart": (0.3, 1.0)}),
    "f4": Series(
        "handoff",
        move,
        {
            "pause of a shard of 256 MB when its owner changes": (0.3, 1.0),
            "its longest standstill in the whole handoff": (None, None),
            "the whole handoff of 256 MB": (None, None),
        },
        ballast=True,
        balanced=False,
    ),
}


async def _judged(system: System, pauses: list[tuple[float, float]]) -> list[float]:
    """Return how long pauses were; `StoodStillError` when the simulator stood still for most of one of them."""
    stalls = (await system.stack.control("GET", "stalls"))["stalls"]
    for before, after in pauses:
        if answers.stalled(stalls, before, after) >= max(answers.EXCUSE, (after - before) / 2):
            raise StoodStillError
    return [after - before for before, after in pauses]


async def balance(system: System) -> None:
    """Hand shards over until each pod has its part."""
    for number in range(system.setup.shards):
        shard_id, target = f"{number}-of-{system.setup.shards}", f"gateway-{number % system.setup.gateways}"
        rows = (await system.stack.internal("/shards"))["shards"]
        if next(row["owner"] for row in rows if row["shard_id"] == shard_id) != target:
            status, told = await system.post(f"/shards/{shard_id}/move", {"target": target})
            if status == 200:
                await moving.over(system, told)
    await system.flowing()


async def replicated(system: System) -> None:
    """Wait until the replica of every shard holds what Discord has sent by now.

    A new owner begins a new path with the whole file, and that takes time. Without this, the work of one repetition would be measured in
    the next one, and nobody moves a large shard again before its last move is done with.
    """
    wanted = await system.seqs()
    behind = set(wanted)
    deadline = time.monotonic() + _REPLICATED_WITHIN
    while behind and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        pods = (await system.stack.internal("/pods/health"))["pods"]
        held = {load["shard_id"]: load["replicated_seq"] for pod in pods for load in pod["shards"]}
        behind = {shard for shard, seq in wanted.items() if held.get(shard, 0) < seq}
    assert not behind, f"the replicas of {sorted(behind)} do not catch up"


async def _flow_again(system: System, shards: list[str], seqs: dict[str, int], since: float) -> float:
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        found = [system.watcher.tracks[shard].first_beyond(seqs[shard], since) for shard in shards]
        if None not in found:
            return max(moment for moment in found if moment is not None)
        await asyncio.sleep(0.02)
    raise AssertionError(f"{shards} do not flow again")


def _next_owner(system: System, shard_id: str, epoch: int) -> float:
    return next(
        grant.at for grant in system.history.grants[shard_id] if grant.epoch > epoch and grant.owner is not None
    )


async def _fill(system: System, shard_id: str) -> None:
    """Make a shard file large, beside its owner, who goes on writing."""

    def write() -> None:
        with closing(database.connect(files.newest(system.stack)[shard_id], replicated=True)) as connection:
            for _ in range(_BALLAST // _CHUNK):
                connection.execute("INSERT INTO ballast (body) VALUES (?)", (os.urandom(_CHUNK),))

    await asyncio.to_thread(write)
    await asyncio.sleep(10.0)  # the first replica of it
