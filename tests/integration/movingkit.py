"""Scripted pods for the tests of the rebalancer: they join, renew, and answer handoffs as they are told."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from configkit import brief, new_incarnation, request

from modbot.cluster import protocol
from modbot.domain.ids import Incarnation, PodId, ShardId
from modbot.services.config import leases, moves, rebalancing, sweeping, views
from modbot.services.config.database import Database


class Pods:
    """Every scripted pod of a cluster, by name."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.incarnations: dict[PodId, Incarnation] = {}

    async def join(self, *names: str, ttl: float = 60.0, **changes: Any) -> None:
        for name in names:
            incarnation = new_incarnation()
            body = request(incarnation, owns_volume=True, **({"capacity": 64} | changes))
            await leases.register(self.database, brief(ttl), PodId(name), body)
            self.incarnations[PodId(name)] = incarnation

    async def renew(self, name: str, *, ttl: float = 60.0, **changes: Any) -> protocol.Grant:
        incarnation = self.incarnations[PodId(name)]
        body = protocol.RenewRequest(incarnation=incarnation, **changes)
        return await leases.renew(self.database, brief(ttl), PodId(name), body)

    async def lose(self, name: str) -> None:
        await self.renew(name, ttl=0)
        await self.place()

    async def place(self) -> None:
        await sweeping.sweep(self.database, settle=0)

    async def shards(self) -> list[protocol.ShardDetail]:
        return (await views.shards(self.database)).shards

    async def carried(self) -> dict[str, int]:
        return dict(Counter(str(shard.owner) for shard in await self.shards()))

    async def moving(self) -> list[protocol.ShardDetail]:
        return [shard for shard in await self.shards() if shard.target is not None]

    async def finish(self, *, done: bool = True) -> int:
        """End every handoff that is under way, as its target would (done) or as its source would (not done)."""
        ended = 0
        for name in self.incarnations:
            for shard in (await self.renew(name)).incoming:
                await self.end(shard, done=done)
                ended += 1
        return ended

    async def end(self, shard: protocol.Shard, *, done: bool) -> None:
        assert shard.target is not None
        assert shard.target_incarnation is not None
        side = protocol.HandoffRequest(
            pod_id=shard.target,
            incarnation=shard.target_incarnation,
            epoch=shard.epoch,
            move_id=shard.move_id,
            detail="" if done else "The file could not be copied.",
        )
        await (moves.complete if done else moves.cancel)(self.database, shard.shard_id, side)

    async def round(self, *, settle: float = 0.0) -> list[ShardId]:
        found = await rebalancing.rebalance(self.database, settle=settle)
        return [] if found is None else [move.shard_id for move in found.begun]

    async def settle(self, *, most: int = 200) -> int:
        """Rebalance and hand over until nothing is left to do; returns how many shards were moved."""
        moved = 0
        for _ in range(most):
            begun = await self.round()
            ended = await self.finish()
            moved += ended
            if not begun and not ended:
                return moved
            await self.forget_budget()
        raise AssertionError("the rebalancer does not come to rest")

    async def forget_budget(self) -> None:
        """Let the seconds pass in which moves count for the budget."""
        await self.execute("UPDATE moves SET started_at = started_at - interval '1 minute'")

    async def execute(self, statement: str, *values: object) -> None:
        async with self.database._pool.acquire() as raw:
            await raw.execute(statement, *values)

    async def add_shards(self, count: int) -> None:
        await self.execute("DELETE FROM shards")
        await self.execute(
            "INSERT INTO shards (shard_id, number) SELECT n || '-of-' || $1::int, n FROM generate_series(0, $1::int - 1) n",
            count,
        )


async def together(*works: Any) -> list[Any]:
    return list(await asyncio.gather(*works))
