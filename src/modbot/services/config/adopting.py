"""Adoption: taking over from a replica store what another database has granted, in one transaction.

A database that is made anew would grant epochs from 1 although the store has later ones, and would let shards begin with nothing. After an
adoption each shard of the store goes on from its newest epoch, counts as served (so it can never start empty, I8), and belongs to nobody:
its last owner is the store itself. So it goes to a pod that can restore from that store, and to no file that lies on a volume. Numbers of moves
and transfers that the files remember are not given a second time.

What is in the store is found out by the caller (`cli/adopting.py`); this module trusts that, and guards what only the database knows: nobody
has a valid lease, and each shard is still at the epoch that the caller has seen.
"""

from __future__ import annotations

from typing import Any

from modbot.cluster import protocol
from modbot.domain import ids
from modbot.domain.adopting import KEEPER
from modbot.domain.errors import AdoptionRefusedError
from modbot.domain.ids import ClusterId, Epoch, PodId, ShardId
from modbot.services.config import sweeping
from modbot.services.config.database import Connection, Database
from modbot.services.config.leases import Terms


async def state(database: Database, terms: Terms) -> protocol.AdoptionState:
    """Return what this database knows."""
    async with database.snapshot() as connection:
        return protocol.AdoptionState(
            cluster=ClusterId(terms.cluster),
            shard_count=terms.shard_count,
            shards=[_known(row) for row in await connection.all("known_shards")],
            leased=[PodId(row["pod_id"]) for row in await connection.all("budgets")],
        )


async def adopt(database: Database, terms: Terms, request: protocol.AdoptRequest) -> None:
    """Take over what the request says, all of it or nothing. `AdoptionRefusedError` says why not."""
    async with database.transaction() as connection:
        await connection.one("lock_budget")  # registrations and renewals wait: nobody gets a lease meanwhile
        leased = [row["pod_id"] for row in await connection.all("budgets")]
        if leased:
            raise AdoptionRefusedError(f"{', '.join(leased)} has a valid lease here; stop the gateway pods first.")
        await sweeping.take_over(connection)
        await connection.one("cancel_transfers")
        for shard in sorted(request.shards, key=lambda each: each.shard_id):
            await _adopt(connection, terms, shard, request.replica_store)
        await connection.one("skip_numbers")
        for transfer in request.transfers:
            await connection.one(
                "settle_transfer",
                transfer.transfer_id,
                int(transfer.guild_id),
                transfer.source,
                transfer.target,
                transfer.state,
            )


async def _adopt(connection: Connection, terms: Terms, shard: protocol.AdoptedShard, store: str) -> None:
    guild_id = ids.dedicated_guild(shard.shard_id)
    formula = shard.shard_id if guild_id is None else ids.shard_of_guild(guild_id, terms.shard_count)
    named = ids.parse_formula_shard(formula)
    if named.count != terms.shard_count:
        raise AdoptionRefusedError(f"{shard.shard_id} is a shard of {named.count}; here are {terms.shard_count}.")
    born = shard.epoch if guild_id is not None else Epoch(0)
    adopted = await connection.one(
        "adopt_shard",
        shard.shard_id,
        named.number,
        shard.known_epoch,
        shard.epoch,
        KEEPER,
        store,
        born,
        shard.retired,
    )
    if adopted is None:
        raise AdoptionRefusedError(f"{shard.shard_id} has changed meanwhile; look at the plan again.")
    if shard.retired:
        await connection.one("forget_load", shard.shard_id)
    else:
        await connection.one("count_as_served", shard.shard_id)
    if guild_id is not None:
        await connection.one("drop_dedicated", guild_id)
        if not shard.retired:
            await connection.one("put_dedicated", guild_id, shard.shard_id)


def _known(row: Any) -> protocol.KnownShard:
    return protocol.KnownShard(
        shard_id=ShardId(row["shard_id"]), epoch=Epoch(row["epoch"]), retired=bool(row["retired"])
    )
