"""What people and members read: pods with their leases, shards with their history, where guilds live. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modbot.cluster import protocol
from modbot.domain import ids
from modbot.domain.ids import Epoch, GuildId, Incarnation, PodId, ShardId
from modbot.services.config import sweeping
from modbot.services.config.database import Database

FORMULA = "(guild_id >> 22) % shard_count, as {number}-of-{shard_count}; dedicated guilds have guild-{guild_id}"


async def pods_health(database: Database) -> protocol.PodList:
    """Return every pod that was ever seen, with what remains of its lease and the last measurements of its shards."""
    async with database.snapshot() as connection:
        loads = await connection.all("loads")
        return protocol.PodList(pods=[_pod_health(row, loads) for row in await connection.all("pods_health")])


async def shards(database: Database) -> protocol.ShardList:
    """Return every shard, and for those without an owner the reason."""
    async with database.snapshot() as connection:
        waiting = await sweeping.waiting(connection)
        return protocol.ShardList(shards=[_shard_detail(row, waiting) for row in await connection.all("shard_details")])


async def cluster(database: Database) -> protocol.ClusterDetail:
    """Return what was decided for the whole cluster."""
    async with database.snapshot() as connection:
        row = await connection.one("cluster_settings")
    return protocol.ClusterDetail(
        shard_count=row["shard_count"], moves_paused=row["moves_paused"], rebalance_asked=row["rebalance_asked"]
    )


def assignments(table: protocol.Table, guild_ids: Sequence[GuildId]) -> protocol.GuildAssignments:
    """Return where all shards live and, for those asked for, the guilds."""
    addresses = {pod.pod_id: pod.address for pod in table.pods}
    return protocol.GuildAssignments(
        shard_count=table.shard_count,
        formula=FORMULA,
        shards=[
            protocol.ShardAssignment(
                shard_id=shard.shard_id,
                epoch=shard.epoch,
                pod_id=shard.owner,
                address=None if shard.owner is None else addresses[shard.owner],
            )
            for shard in table.shards
        ],
        guilds=[assignment(table, guild_id) for guild_id in guild_ids],
    )


def assignment(table: protocol.Table, guild_id: GuildId) -> protocol.Assignment:
    """Return where one guild lives."""
    own = {each.guild_id: each.shard_id for each in table.dedicated}
    shard_id = own.get(str(guild_id)) or ids.shard_of_guild(guild_id, table.shard_count)
    shard = next(each for each in table.shards if each.shard_id == shard_id)
    address = next((pod.address for pod in table.pods if pod.pod_id == shard.owner), None)
    return protocol.Assignment(
        guild_id=str(guild_id), shard_id=shard_id, epoch=shard.epoch, pod_id=shard.owner, address=address
    )


def _pod_health(row: Any, loads: list[Any]) -> protocol.PodHealth:
    return protocol.PodHealth(
        pod_id=PodId(row["pod_id"]),
        incarnation=Incarnation(str(row["incarnation"])),
        address=row["address"],
        state=protocol.PodState(row["state"]),
        lease_seconds=row["lease_seconds"],
        capacity=row["capacity"],
        labels=sweeping.labels_of(row),
        draining=row["draining"],
        cordoned=row["cordoned"],
        shards=[
            protocol.ShardLoad(
                shard_id=ShardId(load["shard_id"]),
                epoch=Epoch(load["epoch"]),
                guilds=load["guilds"],
                events_per_second=load["events_per_second"],
                lag_seconds=load["lag_seconds"],
                connected=load["connected"],
                rows=load["rows"],
                file_bytes=load["file_bytes"],
                replica_lag=load["replica_lag"],
                replicated_seq=load["replicated_seq"],
            )
            for load in loads
            if load["owner"] == row["pod_id"]
        ],
    )


def _shard_detail(row: Any, waiting: dict[ShardId, str]) -> protocol.ShardDetail:
    reason = f"It is reserved for {row['last_owner']}, which left and is expected back." if row["reserved"] else ""
    return protocol.ShardDetail(
        shard_id=ShardId(row["shard_id"]),
        epoch=Epoch(row["epoch"]),
        owner=row["owner"],
        last_owner=row["last_owner"],
        replica_store=row["replica_store"],
        waiting=reason or waiting.get(row["shard_id"], ""),
        target=row["target"],
        pin=row["pin"],
        weight=round(sweeping.weight_of(row), 3),
    )
