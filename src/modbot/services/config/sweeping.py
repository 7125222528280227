"""Sweeping: taking over from pods whose lease ran out, and placing shards without an owner.

Every replica sweeps about twice a second; an advisory lock inside the transaction lets one do it at a time, and correctness does
not hang on that lock but on the row locks and guards of the statements (I1). One transaction does both: it locks the expired pods
that nobody is renewing, ends those incarnations, frees their shards, and grants what may be granted. A shard that nobody else can
restore stays without an owner until its last owner comes back (I8).

A sweep concludes from silence. When the silence is (or may be) the config service's own, it ends nobody and places nothing: `outages.py`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from modbot.domain import placement, weights
from modbot.domain.errors import ModbotError
from modbot.domain.ids import PodId, ShardId
from modbot.services.config import dedicating, moves, outages
from modbot.services.config.database import Connection, Database

INTERVAL = 0.5
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did: pods marked lost, shards freed from them, shards granted, causes of the handoffs given up."""

    lost: tuple[PodId, ...] = ()
    freed: int = 0
    granted: int = 0
    resting: str = ""
    """Why it took nothing over and placed nothing; empty when it did its work."""
    stray: tuple[str, ...] = ()


class Sweeper:
    """The loop of one replica; `soon()` asks for a sweep at once."""

    def __init__(
        self, database: Database, *, settle: float, report: Callable[[Swept], None], interval: float = INTERVAL
    ) -> None:
        self._database = database
        self._report = report
        self._settle = settle
        self._interval = interval
        self._wanted = asyncio.Event()
        self._resting = ""

    def soon(self) -> None:
        """Sweep now instead of at the next turn."""
        self._wanted.set()

    async def run(self) -> None:
        """Sweep until cancelled; an outage of PostgreSQL is logged and tried again at the next turn."""
        while True:
            try:
                await self._turn()
            except ModbotError as error:
                _log.warning("sweep_failed", code=error.code, error=str(error))
            try:
                await asyncio.wait_for(self._wanted.wait(), self._interval)
            except TimeoutError:
                continue
            self._wanted.clear()

    async def _turn(self) -> None:
        done = await sweep(self._database, settle=self._settle)
        self._report(done)
        if done.resting != self._resting:
            self._resting = done.resting
            _log.warning("sweeps_rest" if done.resting else "sweeps_resumed", reason=done.resting)
        if done.lost:
            _log.warning("pods_lost", pods=list(done.lost), shards=done.freed)
        if done.granted:
            _log.info("shards_granted", shards=done.granted)


async def sweep(database: Database, *, settle: float) -> Swept:
    """Take over and place once; does nothing while another replica is at it. `settle` as in `decide_settled`."""
    async with database.transaction() as connection:
        if not await connection.value("try_sweep"):
            return Swept()
        resting = await outages.resting(connection)
        lost, freed = await take_over(connection) if not resting else ((), 0)
        stray = await connection.all("end_stray_moves", moves.LONGEST_MOVE)
        await dedicating.sweep(connection)
        granted = await _place(connection, settle) if not resting else 0
        await connection.one("forget_old")
        return Swept(
            lost=lost, freed=freed, granted=granted, resting=resting, stray=tuple(row["cause"] for row in stray)
        )


async def waiting(connection: Connection) -> dict[ShardId, str]:
    """Return why shards have no owner, as the next placement would see it."""
    shards, pods = await connection.all("free_shards"), await connection.all("candidates")
    barred = await outages.barred(connection)
    plan = placement.decide_placement(_free(shards, barred), await _candidates(connection, pods))
    return plan.waiting | dict.fromkeys(plan.grants, "It will be placed in a moment.")


async def take_over(connection: Connection) -> tuple[tuple[PodId, ...], int]:
    """End the pods whose lease ran out and free their shards; returns who they were and how many shards."""
    expired = await connection.all("lock_expired")
    if not expired:
        return (), 0
    incarnations = [row["incarnation"] for row in expired]
    await connection.one("mark_lost", incarnations)
    await connection.one("end_incarnations", incarnations)
    freed = await connection.all("free_lost", incarnations)
    await connection.one("note_losses", [row["shard_id"] for row in freed], incarnations)
    return tuple(PodId(row["pod_id"]) for row in expired), len(freed)


async def _place(connection: Connection, settle: float) -> int:
    pods = await connection.all("lock_candidates")
    shards = await connection.all("lock_free_shards") if pods else []
    if not shards:
        return 0
    ages = [row["joined_for"] for row in pods]
    free_for = max(row["free_for"] for row in shards)
    if not placement.decide_settled(youngest=min(ages), oldest=max(ages), free_for=free_for, settle=settle):
        return 0
    barred = await outages.barred(connection)
    plan = placement.decide_placement(_free(shards, barred), await _candidates(connection, pods))
    epochs = {row["shard_id"]: row["epoch"] for row in shards}
    names = list(plan.grants)
    granted = await connection.all("grant", names, [epochs[name] for name in names], list(plan.grants.values()))
    return len(granted)


def weight_of(row: Any) -> float:
    """Return the weight of a shard's row with its slow mean, guilds and rows."""
    return weights.weight(events_per_second=row["usual_events"], guilds=row["guilds"], rows=row["rows"])


def _free(rows: list[Any], barred: Mapping[ShardId, frozenset[PodId]]) -> list[placement.FreeShard]:
    return [
        placement.FreeShard(
            shard_id=ShardId(row["shard_id"]),
            last_owner=None if row["last_owner"] is None else PodId(row["last_owner"]),
            replica_store=row["replica_store"],
            weight=weight_of(row),
            pin=row["pin"],
            barred=barred.get(row["shard_id"], frozenset()),
        )
        for row in rows
    ]


async def _candidates(connection: Connection, rows: list[Any]) -> list[placement.Candidate]:
    """Read what the pods carry. A shard in a handoff counts at both ends, its weight where it is going."""
    counts: Counter[str] = Counter()
    loads: defaultdict[str, float] = defaultdict(float)
    for burden in await connection.all("burdens"):
        counts.update({burden["owner"], burden["target"] or burden["owner"]})
        loads[burden["target"] or burden["owner"]] += weight_of(burden)
    return [
        placement.Candidate(
            pod_id=PodId(row["pod_id"]),
            capacity=row["capacity"],
            shards=counts[row["pod_id"]],
            load=loads[row["pod_id"]],
            replica_store=row["replica_store"],
            labels=labels_of(row),
            closed=row["closed"],
        )
        for row in rows
    ]


def labels_of(row: Any) -> dict[str, str]:
    """Read the labels of a pod's row."""
    return msgspec.json.decode(row["labels"], type=dict[str, str])
