"""Leases: registration, renewal and leaving of pods. The place where I1 (one owner) is kept.

A shard has one row, and that row names one (owner, incarnation, epoch); it counts while the pod's row names the same incarnation,
is `live` and its lease has not run out by PostgreSQL's clock. So there are three ways to lose a shard, and each closes the door for
the old owner in the same transaction that opens it for a new one:

- the lease ran out and a sweep marks the incarnation `lost` (`sweeping.py`). Both the sweep and a renewal need the pod's row lock:
  whoever comes first wins fully, and the other finds its guard (`state = 'live'`) false or the row skipped;
- a new incarnation of the same pod registers: it holds the lock of the data folder (so no older process can be writing), or the old
  lease ran out. The old incarnation is ended for ever in `incarnations`;
- the pod leaves.

A pod that may go on in failsafe mode (`cluster/failsafe.py`) can act for longer than its lease; who may be given its shards meanwhile is
decided in `outages.py`. For that every answer has a number and names the members, and a renewal says which answer the pod has received.

An ended incarnation can never register or renew again: a process that was paused through its own end learns it from a 409.
REST shares are handed out under one advisory lock, and what a pod may still be using (its old share, should our answer get lost)
stays reserved until it says what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from modbot.cluster import protocol
from modbot.domain import placement, weights
from modbot.domain.errors import PodBusyError, StaleEpochError
from modbot.domain.ids import NO_CLUSTER, ClusterId, Epoch, Incarnation, MoveId, PodId, ShardId
from modbot.services.config import outages
from modbot.services.config.database import Connection, Database

INVALID_LIMIT = 5_000
"""Half of what Discord allows an address within ten minutes before it is banned."""
KEEP_FACTOR = 20
_log = structlog.get_logger(__name__)
_DEAD = "This incarnation of the pod has ended."


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator fixed, and the id of the database. `lease_ttl` in seconds, `rest_per_second` for all pods together."""

    lease_ttl: float
    rest_per_second: float
    shard_count: int
    cluster: ClusterId = NO_CLUSTER


@dataclass(frozen=True, slots=True)
class _Answer:
    """What an answer says besides the shards."""

    number: int
    share: float
    egress: str


async def register(
    database: Database, terms: Terms, pod_id: PodId, request: protocol.RegisterRequest
) -> protocol.Grant:
    """Introduce an incarnation and give it what its predecessor owned.

    Repeating it changes nothing but the lease. `StaleEpochError` for an ended incarnation, `PodBusyError` while another incarnation
    without proof of its end has a valid lease.
    """
    async with database.transaction() as connection:
        await connection.one("lock_budget")
        row = await connection.one("lock_pod", pod_id)
        known = await connection.one("find_incarnation", request.incarnation)
        if known is not None and (known["ended"] or known["pod_id"] != pod_id):
            raise StaleEpochError(_DEAD)
        if known is None:
            await _succeed(connection, pod_id, row, request)
        held = row["rest_reserved"] if known is not None and row["leased"] else 0.0
        demand = (
            0.0 if row is None else row["rest_demand"]
        )  # a restarted pod has the work of its former self to catch up with
        share = await _share(connection, terms, pod_id, demand=demand)
        number = await connection.value("next_answer")
        await connection.one(
            "put_pod",
            pod_id,
            request.incarnation,
            request.address,
            request.capacity,
            request.egress,
            request.replica_store,
            terms.lease_ttl,
            max(held, share),
            msgspec.json.encode(request.labels).decode(),
            number,
            request.failsafe,
        )
        if known is None:
            await connection.all("reclaim", pod_id, request.incarnation, request.capacity, request.replica_store)
            await connection.one("release_others", pod_id, request.incarnation)
        answer = _Answer(number=number, share=share, egress=request.egress)
        return await _grant(connection, terms, pod_id, request.incarnation, answer)


async def renew(database: Database, terms: Terms, pod_id: PodId, request: protocol.RenewRequest) -> protocol.Grant:
    """Extend the lease of a living incarnation and store what it measured; `StaleEpochError` when it has ended."""
    async with database.transaction() as connection:
        await connection.one("lock_budget")
        row = await connection.one("lock_pod", pod_id)
        if row is None or str(row["incarnation"]) != request.incarnation or row["state"] != protocol.PodState.LIVE:
            raise StaleEpochError(_DEAD)
        held = min(request.rest_held, row["rest_reserved"]) if row["leased"] else 0.0
        share = await _share(connection, terms, pod_id, demand=request.rest_demand)
        egress = await connection.value(
            "renew",
            pod_id,
            request.incarnation,
            terms.lease_ttl,
            request.rest_demand,
            max(held, share),
            request.draining,
            request.answer,
        )
        await _measurements(connection, pod_id, request, egress)
        await _watch_breaker(connection, request, egress)
        number = await connection.value("next_answer")
        answer = _Answer(number=number, share=share, egress=egress)
        return await _grant(connection, terms, pod_id, request.incarnation, answer)


async def leave(database: Database, terms: Terms, pod_id: PodId, request: protocol.LeaveRequest) -> None:
    """End the incarnation; its shards are kept for the pod for `KEEP_FACTOR` leases or free. `StaleEpochError` when it has ended."""
    async with database.transaction() as connection:
        if await connection.one("leave", pod_id, request.incarnation) is None:
            raise StaleEpochError(_DEAD)
        await connection.one("end_incarnations", [request.incarnation])
        keep = KEEP_FACTOR * terms.lease_ttl if request.keep else None
        await connection.one("free_left", pod_id, request.incarnation, keep)


async def _succeed(connection: Connection, pod_id: PodId, row: Any, request: protocol.RegisterRequest) -> None:
    if row is not None:
        running = row["state"] == protocol.PodState.LIVE and row["leased"]
        if running and not request.owns_volume:
            raise PodBusyError(f"Another process of {pod_id} has a valid lease.")
        if outages.may_act(row) and not request.owns_volume:
            raise PodBusyError(f"Another process of {pod_id} may be acting in failsafe mode.")
        await connection.one("end_incarnations", [row["incarnation"]])
    await connection.one("begin_incarnation", request.incarnation, pod_id)


async def _share(connection: Connection, terms: Terms, pod_id: PodId, *, demand: float) -> float:
    others = [row for row in await connection.all("budgets") if row["pod_id"] != pod_id]
    return placement.decide_rest_share(
        total=terms.rest_per_second,
        mine=demand,
        demands=[demand, *(row["rest_demand"] for row in others)],
        reserved_by_others=sum(row["rest_reserved"] for row in others),
    )


async def _measurements(connection: Connection, pod_id: PodId, request: protocol.RenewRequest, egress: str) -> None:
    if request.shards:
        loads = {load.shard_id: load for load in request.shards}.values()
        await connection.one(
            "report_load",
            pod_id,
            request.incarnation,
            [load.shard_id for load in loads],
            [load.epoch for load in loads],
            [load.guilds for load in loads],
            [load.events_per_second for load in loads],
            [load.lag_seconds for load in loads],
            [load.connected for load in loads],
            [load.rows for load in loads],
            [load.file_bytes for load in loads],
            [load.replica_lag for load in loads],
            [load.replicated_seq for load in loads],
            weights.LONGEST_REPORT,
            weights.MEAN_SECONDS,
        )
    if request.invalid_requests:
        await connection.one("count_invalid", egress, request.invalid_requests)


async def _watch_breaker(connection: Connection, request: protocol.RenewRequest, egress: str) -> None:
    """Say once that the breaker of an address opens; renewals come one after the other, so one of them crosses the limit."""
    if request.invalid_requests:
        invalid = await connection.value("invalid_recently", egress)
        if invalid - request.invalid_requests <= INVALID_LIMIT < invalid:
            _log.warning("rest_breaker_opened", egress=egress, invalid=invalid)


async def _grant(
    connection: Connection, terms: Terms, pod_id: PodId, incarnation: Incarnation, answer: _Answer
) -> protocol.Grant:
    invalid = await connection.value("invalid_recently", answer.egress)
    return protocol.Grant(
        lease_seconds=terms.lease_ttl,
        shards=[shard(row) for row in await connection.all("owned", pod_id, incarnation)],
        incoming=[shard(row) for row in await connection.all("incoming", pod_id, incarnation)],
        shard_count=terms.shard_count,
        rest_per_second=answer.share,
        rest_open=invalid <= INVALID_LIMIT,
        number=answer.number,
        members=[pod(row) for row in await connection.all("members")],
        cluster=terms.cluster,
    )


def pod(row: Any) -> protocol.Pod:
    """Read a pod row as members see it."""
    return protocol.Pod(
        pod_id=PodId(row["pod_id"]),
        incarnation=Incarnation(str(row["incarnation"])),
        address=row["address"],
        state=protocol.PodState(row["state"]),
        draining=row["draining"],
    )


def shard(row: Any) -> protocol.Shard:
    """Read a shard row as members see it."""
    return protocol.Shard(
        shard_id=ShardId(row["shard_id"]),
        epoch=Epoch(row["epoch"]),
        owner=None if row["owner"] is None else PodId(row["owner"]),
        incarnation=_incarnation(row["incarnation"]),
        served=row["served"],
        since_epoch=Epoch(row["since_epoch"]),
        since_move=MoveId(row["since_move"]),
        replicated_seq=row.get("replicated_seq", 0),
        born_epoch=Epoch(row.get("born_epoch", 0)),
        target=None if row["target"] is None else PodId(row["target"]),
        target_incarnation=_incarnation(row["target_incarnation"]),
        move_id=MoveId(row["move_id"] or 0),
        contested=row.get("contested", False),
    )


def _incarnation(value: Any) -> Incarnation | None:
    return None if value is None else Incarnation(str(value))
