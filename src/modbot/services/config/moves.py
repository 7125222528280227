"""Moves: the record of a handoff, which says who continues whatever dies.

A handoff has three statements, and each is one guarded update of the shard's row. `begin` aims the shard at a target while its owner
goes on serving. Then the two pods talk to each other (`services/gateway/handoff_target.py`), and one of two things ends it: `complete`,
which makes the target the owner with the next epoch, or `cancel`, after which the source goes on. Both compare the epoch and the
handoff's number, so exactly one of them succeeds, once (I1). A source that has stopped for the handoff serves again only after its own
`cancel` succeeded. Everything else that changes the owner (a takeover, a new incarnation, a farewell) clears the handoff in the same
statement, so a `complete` that comes later finds nothing.

This module moves no data and decides not which shards should move (`rebalancing.py`).
"""

from __future__ import annotations

from typing import Any

from modbot.cluster import protocol
from modbot.domain.errors import MoveRefusedError, NotFoundError, StaleEpochError
from modbot.domain.ids import MoveId, PodId, ShardId
from modbot.domain.rebalancing import Cause
from modbot.services.config import leases
from modbot.services.config.database import Connection, Database

LONGEST_MOVE = 900.0
"""Seconds after which a handoff that is still under way is given up."""
_SHOWN = 200
_OVER = "The handoff is over."


async def begin(database: Database, shard_id: ShardId, *, target: PodId, reason: str) -> protocol.MoveAnswer:
    """Aim a shard at a pod. `NotFoundError`: no such shard; `MoveRefusedError` says why it cannot be moved there now."""
    async with database.transaction() as connection:
        return await aim(connection, shard_id, target=target, reason=reason, cause=Cause.OPERATOR)


async def aim(
    connection: Connection, shard_id: ShardId, *, target: PodId, reason: str, cause: Cause
) -> protocol.MoveAnswer:
    """Do what `begin` does, inside a transaction of the caller; one with several moves locks all targets first (`lock_targets`)."""
    pod = await connection.one("lock_target", target)
    row = await connection.one("lock_shard", shard_id)
    if row is None:
        raise NotFoundError(f"There is no shard {shard_id!r}.")
    carried = await connection.value("count_carried", target)
    refusal = _refusal(row, pod, target, carried)
    if refusal:
        raise MoveRefusedError(refusal)
    move_id = await connection.value("log_move", shard_id, row["owner"], target, row["epoch"], reason, cause)
    await connection.one("begin_move", shard_id, row["epoch"], target, pod["incarnation"], move_id)
    return protocol.MoveAnswer(
        move_id=MoveId(move_id), shard_id=shard_id, source=PodId(row["owner"]), target=PodId(target)
    )


async def complete(
    database: Database, shard_id: ShardId, request: protocol.HandoffRequest
) -> tuple[protocol.Shard, Cause | None]:
    """Make the target the owner; `StaleEpochError` when the handoff is over or anything changed. Also says why the shard moved."""
    async with database.transaction() as connection:
        await connection.one("hold_pod", request.pod_id)  # a sweep must not end it while it is made the owner
        row = await connection.one(
            "complete_move", shard_id, request.pod_id, request.incarnation, request.epoch, request.move_id
        )
        if row is None:
            raise StaleEpochError(_OVER)
        return leases.shard(row), await _finish(connection, protocol.MoveState.DONE, request)


async def cancel(database: Database, shard_id: ShardId, request: protocol.HandoffRequest) -> Cause | None:
    """Let the source keep the shard. A source that finds it cancelled already, and itself the owner, may go on just the same.

    Says why it moved. `StaleEpochError` when the handoff was completed, or the caller has nothing to do with the shard any more.
    """
    async with database.transaction() as connection:
        if await connection.one("cancel_move", shard_id, request.epoch, request.move_id) is not None:
            return await _finish(connection, protocol.MoveState.CANCELLED, request)
        row = await connection.one("lock_shard", shard_id)
        if row is None or (row["owner"], str(row["incarnation"]), row["epoch"]) != (
            request.pod_id,
            request.incarnation,
            request.epoch,
        ):
            raise StaleEpochError(_OVER)
        return None


async def latest(database: Database) -> protocol.MoveList:
    """Return the handoffs under way and the latest that are over."""
    async with database.snapshot() as connection:
        rows = await connection.all("list_moves", _SHOWN)
    return protocol.MoveList(
        moves=[
            protocol.MoveDetail(
                move_id=MoveId(row["move_id"]),
                shard_id=ShardId(row["shard_id"]),
                source=PodId(row["source"]),
                target=PodId(row["target"]),
                reason=row["reason"],
                cause=Cause(row["cause"]),
                state=protocol.MoveState(row["state"]),
                seconds=row["seconds"],
                detail=row["detail"],
            )
            for row in rows
        ]
    )


async def _finish(connection: Connection, state: protocol.MoveState, request: protocol.HandoffRequest) -> Cause | None:
    """Close the record; says why the shard moved, or None when the record was closed before."""
    cause = await connection.value("finish_move", request.move_id, state, request.detail)
    return None if cause is None else Cause(cause)


def _refusal(row: Any, pod: Any, target: PodId, carried: int) -> str:
    if row["owner"] is None:
        return "Nobody serves the shard now; it will be placed, not moved."
    if row["move_id"] is not None:
        return "The shard is being moved already."
    if row["owner"] == target:
        return f"{target} serves the shard already."
    if pod is None:
        return f"{target} is not live or is draining."
    if carried >= pod["capacity"]:
        return f"{target} is full."
    return ""
