"""The rebalancer: begins the handoffs that are due, a few at a time, from any replica.

About once a second it reads pods and shards, plans anew (`modbot.domain.rebalancing`; the plan is kept nowhere) and begins the first
moves within the budget. An advisory lock lets one replica do it at a time; correctness does not hang on it, because a move is begun
by the guarded statement of `moves.py`, under a lock on the target's row that makes counting and adding one step. A refusal means that
something has changed since the plan was made: the next round plans again.

Paused (`modbot pause`), only pods that are about to stop lose their shards: their process is ending, so waiting would turn a
planned move into a pause. While a pod that nobody has seen before is younger than the settling time, balance waits, so that pods
that start together do not shuffle shards twice. This module moves no data and does not know how a handoff goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from modbot.cluster import protocol
from modbot.domain import balancing, rebalancing
from modbot.domain.errors import ModbotError, MoveRefusedError, NotFoundError
from modbot.domain.ids import PodId, ShardId
from modbot.domain.layouts import LivePod, OwnedShard
from modbot.domain.rebalancing import Cause, Move, Plan
from modbot.services.config import moves
from modbot.services.config.database import Connection, Database
from modbot.services.config.sweeping import labels_of, weight_of

INTERVAL = 1.0
REST = 60.0
"""Seconds for which a shard that was moved for balance, or by hand, is not moved for balance again."""
PAUSE_AFTER_FAILURE = 15.0
"""Seconds until a handoff that was given up is tried again."""
_FAILED = "Its last handoff was given up a moment ago; it is tried again soon."
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a plan is made from. `settled`: no newcomer is expected to have company in a moment; `begun`: see `decide_round`."""

    shards: tuple[OwnedShard, ...]
    pods: tuple[LivePod, ...]
    paused: bool
    asked: bool
    settled: bool
    begun: int

    def plan(self) -> Plan:
        """Decide what should move."""
        return rebalancing.decide_plan(self.shards, self.pods, rules=balancing.ASKED if self.asked else balancing.USUAL)

    def may_begin(self, plan: Plan) -> tuple[Move, ...]:
        """Decide what may begin now."""
        return rebalancing.decide_round(
            plan, self.shards, self.pods, begun=self.begun, paused=self.paused, settled=self.settled
        )


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did: the plan, and the moves of it that were begun."""

    plan: Plan
    begun: tuple[Move, ...] = ()


class Rebalancer:
    """The loop of one replica; `soon()` asks for a round at once."""

    def __init__(
        self, database: Database, *, settle: float, report: Callable[[Round], None], interval: float = INTERVAL
    ) -> None:
        self._database = database
        self._settle = settle
        self._report = report
        self._interval = interval
        self._wanted = asyncio.Event()

    def soon(self) -> None:
        """Plan now instead of at the next turn."""
        self._wanted.set()

    async def run(self) -> None:
        """Rebalance until cancelled; an outage of PostgreSQL is logged and tried again at the next turn."""
        while True:
            try:
                done = await rebalance(self._database, settle=self._settle)
            except ModbotError as error:
                _log.warning("rebalance_failed", code=error.code, error=str(error))
            else:
                if done is not None:
                    self._report(done)
            try:
                await asyncio.wait_for(self._wanted.wait(), self._interval)
            except TimeoutError:
                continue
            self._wanted.clear()


async def rebalance(database: Database, *, settle: float) -> Round | None:
    """Do one round; None while another replica is at it. `settle` in seconds."""
    async with database.transaction() as connection:
        if not await connection.value("try_rebalance"):
            return None
        seen = await _read(connection, settle=settle)
        plan = seen.plan()
        chosen = seen.may_begin(plan)
        if chosen:
            await connection.all("lock_targets", sorted({move.target for move in chosen}))
        begun = [move for move in chosen if await _begin(connection, move)]
        if seen.asked and not begun and _finished(seen, plan):
            await connection.one("ask_rebalance", False)
            _log.info("rebalance_finished", verdict=plan.verdict)
    for move in begun:
        _log.info(
            "move_begun", shard=move.shard_id, source=move.source, target=move.target, cause=move.cause, why=move.reason
        )
    return Round(plan, tuple(begun))


async def look(
    database: Database, *, settle: float, asked: bool = False, drain: PodId | None = None
) -> protocol.RebalancePlan:
    """Return the plan as it is now, or as if a round had been asked for or a pod were drained; changes nothing.

    `NotFoundError` when no live pod has that name.
    """
    async with database.snapshot() as connection:
        seen = await _read(connection, settle=settle)
    if drain is not None and drain not in {pod.pod_id for pod in seen.pods}:
        raise NotFoundError(f"No live pod is called {drain!r}.")
    pods = tuple(replace(pod, closed=pod.closed or pod.pod_id == drain) for pod in seen.pods)
    return described(replace(seen, pods=pods, asked=seen.asked or asked))


async def ask(database: Database, *, settle: float) -> protocol.RebalancePlan:
    """Ask for a round until all is as even as it can be; `MoveRefusedError` while moves are paused."""
    async with database.transaction() as connection:
        if await connection.one("ask_rebalance", True) is None:
            raise MoveRefusedError("Moves are paused; `modbot resume` allows them again.")
        return described(await _read(connection, settle=settle))


async def pause(database: Database, *, paused: bool) -> None:
    """Stop or allow the moves that nobody asked for by name. What is under way goes on."""
    async with database.transaction() as connection:
        await connection.one("pause_moves", paused)
    _log.info("moves_paused" if paused else "moves_resumed")


async def cordon(database: Database, pod_id: PodId, *, on: bool) -> None:
    """Drain a pod until this is undone, across its restarts; `NotFoundError` for a pod that was never seen."""
    async with database.transaction() as connection:
        if await connection.one("cordon", pod_id, on) is None:
            raise NotFoundError(f"There is no pod {pod_id!r}.")
    _log.info("pod_drained" if on else "pod_undrained", pod=pod_id)


async def pin(database: Database, shard_id: ShardId, wanted: str | None) -> None:
    """Pin a shard to a pod or a label, or to nothing; `NotFoundError` for an unknown shard."""
    async with database.transaction() as connection:
        if await connection.one("pin_shard", shard_id, wanted) is None:
            raise NotFoundError(f"There is no shard {shard_id!r}.")
    _log.info("shard_pinned", shard=shard_id, pin=wanted)


def described(seen: Snapshot) -> protocol.RebalancePlan:
    """Put a plan into the words of the API."""
    plan = seen.plan()
    now = {move.shard_id for move in seen.may_begin(plan)}
    waits = ""
    if seen.paused:
        waits = "Moves are paused; only pods that stop lose their shards."
    elif not seen.settled:
        waits = "A pod has just joined; balance waits for others that may follow."
    return protocol.RebalancePlan(
        moves=[
            protocol.PlannedMove(
                shard_id=move.shard_id,
                source=move.source,
                target=move.target,
                cause=move.cause,
                reason=move.reason,
                now=move.shard_id in now,
            )
            for move in plan.moves
        ],
        held=[protocol.HeldShard(shard_id=shard_id, reason=reason) for shard_id, reason in plan.held.items()],
        verdict=plan.verdict,
        waits=waits,
        imbalance=plan.imbalance,
        imbalance_after=plan.imbalance_after,
        paused=seen.paused,
        asked=seen.asked,
    )


def decide_settled(pods: list[tuple[float, float]], *, settle: float) -> bool:
    """Say whether balance need not wait; per pod the seconds since it joined and since it was first seen.

    A pod that keeps coming and going holds nobody up: after five settling times it counts as known.
    """
    return not any(joined < settle and seen < 5 * settle for joined, seen in pods)


async def _begin(connection: Connection, move: Move) -> bool:
    try:
        await moves.aim(connection, move.shard_id, target=move.target, reason=move.reason, cause=move.cause)
    except MoveRefusedError as error:
        _log.info("move_not_begun", shard=move.shard_id, target=move.target, why=str(error))
        return False
    return True


def _finished(seen: Snapshot, plan: Plan) -> bool:
    planned = any(move.cause in (Cause.BALANCE, Cause.PIN) for move in plan.moves)
    return seen.settled and not planned and all(shard.target is None for shard in seen.shards)


async def _read(connection: Connection, *, settle: float) -> Snapshot:
    decided = await connection.one("cluster_settings")
    pods = await connection.all("movable_pods")
    ended = {row["shard_id"]: row["state"] for row in await connection.all("ended_lately", REST, PAUSE_AFTER_FAILURE)}
    shards = [_shard(row) for row in await connection.all("movable_shards")]
    return Snapshot(
        shards=tuple(_marked(shard, ended.get(shard.shard_id)) for shard in shards),
        pods=tuple(_pod(row) for row in pods),
        paused=decided["moves_paused"],
        asked=decided["rebalance_asked"],
        settled=decide_settled([(row["joined_for"], row["seen_for"]) for row in pods], settle=settle),
        begun=await connection.value("begun_lately", rebalancing.BUDGET_SECONDS),
    )


def _marked(shard: OwnedShard, ended: str | None) -> OwnedShard:
    if ended == protocol.MoveState.CANCELLED:
        return replace(shard, held=_FAILED)
    return replace(shard, resting=True) if ended == protocol.MoveState.DONE else shard


def _shard(row: Any) -> OwnedShard:
    return OwnedShard(
        shard_id=ShardId(row["shard_id"]),
        owner=PodId(row["owner"]),
        weight=weight_of(row),
        pin=row["pin"],
        target=None if row["target"] is None else PodId(row["target"]),
    )


def _pod(row: Any) -> LivePod:
    return LivePod(
        pod_id=PodId(row["pod_id"]),
        capacity=row["capacity"],
        labels=labels_of(row),
        replica_store=row["replica_store"],
        closed=row["draining"] or row["cordoned"],
        stopping=row["draining"],
    )
