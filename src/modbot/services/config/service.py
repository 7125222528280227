"""The config service as an object: its database, board, sweeper, rebalancer and metrics, started and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from modbot.cluster import protocol
from modbot.domain.ids import ClusterId
from modbot.ops import statements
from modbot.ops.settings import ConfigSettings
from modbot.services.config import board, database, leases, migrating, rebalancing, sweeping
from modbot.services.config.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Service:
    """What an operation may use."""

    settings: ConfigSettings
    terms: leases.Terms
    database: database.Database
    board: board.Board
    sweeper: sweeping.Sweeper
    rebalancer: rebalancing.Rebalancer
    metrics: Metrics


@contextlib.asynccontextmanager
async def running(settings: ConfigSettings) -> AsyncIterator[Service]:
    """Prepare the database, then keep board, sweeper and rebalancer running; waits up to `migrating.PATIENCE` seconds for PostgreSQL.

    A defect in any of them ends the block, and so the process: a replica that decides nothing any more must not look alive.
    `SettingsError` when the database was set up with another shard count, `UnavailableError` when it does not come.
    """
    queries = statements.load("modbot.services.config")
    pool = await _open(settings, queries)
    metrics = Metrics()

    def report(done: sweeping.Swept) -> None:
        metrics.grants.inc(done.granted)
        metrics.takeovers.inc(done.freed)
        metrics.resting.set(bool(done.resting))
        for cause in done.stray:
            metrics.moves.labels(cause, protocol.MoveState.CANCELLED).inc()

    def report_round(done: rebalancing.Round) -> None:
        for move in done.begun:
            metrics.moves.labels(move.cause, "begun").inc()
        metrics.imbalance.set(done.plan.imbalance)
        metrics.moves_held.set(len(done.plan.held))

    table = board.Board(settings.database_url, queries, shard_count=settings.shard_count)
    sweeper = sweeping.Sweeper(pool, settle=settings.placement_settle, report=report)
    rebalancer = rebalancing.Rebalancer(pool, settle=settings.placement_settle, report=report_round)
    try:
        async with pool.transaction() as connection:
            cluster = ClusterId(str(await connection.value("cluster_id")))
        terms = leases.Terms(settings.lease_ttl, settings.rest_per_second, settings.shard_count, cluster)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(table.run()),
                group.create_task(sweeper.run()),
                group.create_task(rebalancer.run()),
            ]
            try:
                async with asyncio.timeout(migrating.PATIENCE):
                    await table.first_read.wait()
                yield Service(settings, terms, pool, table, sweeper, rebalancer, metrics)
            finally:
                table.close()
                for task in tasks:
                    task.cancel()
    finally:
        await pool.close()


async def _open(settings: ConfigSettings, queries: Mapping[str, str]) -> database.Database:
    async def once() -> database.Database:
        await migrating.prepare(settings.database_url, shard_count=settings.shard_count, queries=queries)
        return await database.open_pool(settings.database_url, queries)

    return await migrating.patiently(once)
