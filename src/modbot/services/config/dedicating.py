"""Dedicated shards: which guild has one, and the record of the transfers that bring guilds there and back.

A dedicated shard `guild-<id>` has a row like any other shard: an owner, an epoch, a lease. Its number is that of the guild's formula
shard, because that is what its session says to Discord and what IDENTIFYs are counted by. When it is not needed any more it is retired,
not deleted, so that its epochs go on growing (I1).

A transfer is one row, and every step of it one guarded update, asked for by the owner of one side under its epoch:

    moving --target--> moved --target--> finished --source--> cleared          moving --target or time--> cancelled

`moved` is the one compare-and-set that makes the guild the target's: the mapping that routes it and the entries of the inbox change in the
same transaction. Before it the transfer can be given up, behind it only completed. Repeating a step that has been made is answered like
the first time. This module moves no rows of guilds (`services/gateway/transfers.py`).
"""

from __future__ import annotations

from typing import Any

from modbot.cluster import protocol
from modbot.cluster.protocol import TransferState
from modbot.domain import ids
from modbot.domain.errors import MoveRefusedError, NotFoundError, StaleEpochError
from modbot.domain.ids import GuildId, ShardId, TransferId
from modbot.services.config.database import Connection, Database

LONGEST_PREPARATION = 300.0
"""Seconds after which a transfer that is still preparing is given up."""
_SHOWN = 100
_FROM = {
    TransferState.MOVED: TransferState.MOVING,
    TransferState.CANCELLED: TransferState.MOVING,
    TransferState.FINISHED: TransferState.MOVED,
    TransferState.CLEARED: TransferState.FINISHED,
}


async def dedicate(
    database: Database, guild_id: GuildId, *, pod: str | None, label: str | None, shard_count: int
) -> protocol.Transfer:
    """Open a shard for a guild on a pod and begin to bring the guild there. `MoveRefusedError` says why not."""
    target, source = ids.dedicated_shard_id(guild_id), ids.shard_of_guild(guild_id, shard_count)
    name, _, value = (label or "").partition("=")
    async with database.transaction() as connection:
        if await connection.value("home_of", guild_id) is not None:
            raise MoveRefusedError(f"Guild {guild_id} has a shard of its own already.")
        chosen = await connection.one("choose_pod", pod, name or None, value or None)
        if chosen is None:
            raise MoveRefusedError(f"No live pod with room is {pod or label}.")
        number = ids.parse_formula_shard(source).number
        opened = await connection.one(
            "open_dedicated",
            target,
            number,
            chosen["pod_id"],
            chosen["incarnation"],
            chosen["replica_store"],
            pod or label,
        )
        if opened is None:
            raise MoveRefusedError(f"Guild {guild_id} is being transferred already.")
        await connection.one("forget_load", target)
        return await _begin(connection, guild_id, source, target)


async def give_back(database: Database, guild_id: GuildId, *, shard_count: int) -> protocol.Transfer:
    """Begin to bring a guild back to the shard of the formula. `NotFoundError` when it has none of its own."""
    async with database.transaction() as connection:
        source = await connection.value("home_of", guild_id)
        if source is None:
            raise NotFoundError(f"Guild {guild_id} has no shard of its own.")
        return await _begin(connection, guild_id, ShardId(source), ids.shard_of_guild(guild_id, shard_count))


async def advance(database: Database, transfer_id: TransferId, step: protocol.TransferStep) -> protocol.Transfer:
    """Make one step. `StaleEpochError` unless the caller owns the side whose step it is, or when the transfer went another way."""
    async with database.transaction() as connection:
        known = await connection.one("read_transfer", transfer_id)
        if known is None:
            raise NotFoundError(f"There is no transfer {transfer_id}.")
        side = known["source"] if step.state is TransferState.CLEARED else known["target"]
        owner = await connection.one("is_owner", side, step.pod_id, step.incarnation, step.epoch)
        if owner is None or not owner["owns"]:
            raise StaleEpochError(f"{step.pod_id} does not own {side} in epoch {step.epoch}.")
        return await _advance(connection, transfer_id, TransferState(step.state), step.detail)


async def sweep(connection: Connection) -> None:
    """Give up what prepares for too long, and bring entries of the inbox to the shard that their guild belongs to."""
    for row in await connection.all("stuck_transfers", LONGEST_PREPARATION):
        await _advance(connection, TransferId(row["transfer_id"]), TransferState.CANCELLED, "It took too long.")
    await connection.one("reroute_inbox")


async def read(database: Database, transfer_id: TransferId) -> protocol.Transfer:
    """Return one transfer; `NotFoundError` when there is none."""
    async with database.snapshot() as connection:
        row = await connection.one("read_transfer", transfer_id)
    if row is None:
        raise NotFoundError(f"There is no transfer {transfer_id}.")
    return transfer(row)


async def latest(database: Database) -> protocol.TransferList:
    """Return the latest transfers."""
    async with database.snapshot() as connection:
        rows = await connection.all("list_transfers", _SHOWN)
    return protocol.TransferList(transfers=[transfer(row) for row in rows])


def transfer(row: Any) -> protocol.Transfer:
    """Read a row as members see it."""
    return protocol.Transfer(
        transfer_id=TransferId(row["transfer_id"]),
        guild_id=str(row["guild_id"]),
        source=ShardId(row["source"]),
        target=ShardId(row["target"]),
        state=TransferState(row["state"]),
        detail=row["detail"],
    )


def home(row: Any) -> protocol.Dedicated:
    """Read a row of the mapping as members see it."""
    return protocol.Dedicated(guild_id=str(row["guild_id"]), shard_id=ShardId(row["shard_id"]))


async def _begin(connection: Connection, guild_id: GuildId, source: ShardId, target: ShardId) -> protocol.Transfer:
    row = await connection.one("begin_transfer", guild_id, source, target)
    if row is None:
        raise MoveRefusedError(f"Guild {guild_id} is being transferred already.")
    return transfer(row)


async def _advance(
    connection: Connection, transfer_id: TransferId, state: TransferState, detail: str
) -> protocol.Transfer:
    row = await connection.one("advance_transfer", transfer_id, _FROM[state], state, detail)
    if row is None:
        known = transfer(await connection.one("read_transfer", transfer_id))
        if known.state is state or (state is not TransferState.CANCELLED and _behind(known.state, state)):
            return known
        raise StaleEpochError(f"Transfer {transfer_id} is {known.state}.")
    made = transfer(row)
    await _follow(connection, made)
    return made


async def _follow(connection: Connection, made: protocol.Transfer) -> None:
    """Change with a step what follows from it."""
    to_own = ids.dedicated_guild(made.target) is not None
    if made.state is TransferState.MOVED:
        if to_own:
            await connection.one("put_dedicated", int(made.guild_id), made.target)
        else:
            await connection.one("drop_dedicated", int(made.guild_id))
        await connection.one("reroute_inbox")
    elif made.state is TransferState.CANCELLED and to_own:
        await connection.one("retire_shard", made.target)
    elif made.state is TransferState.CLEARED and not to_own:
        await connection.one("retire_shard", made.source)


def _behind(known: TransferState, asked: TransferState) -> bool:
    order = (TransferState.MOVING, TransferState.MOVED, TransferState.FINISHED, TransferState.CLEARED)
    return known in order and order.index(known) > order.index(asked)
