"""Replication of an open shard with everything real: a store that stands still, a sidecar that dies, a volume that is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import replicakit
from replicakit import SHARD, StallingProxy

from modbot.cluster import protocol
from modbot.discord.intake import Batch
from modbot.domain.ids import Epoch
from modbot.ops import litestream
from modbot.ops.replicas import ReplicaStore
from modbot.services.gateway import replicating
from modbot.services.gateway.replicating import Replication
from modbot.services.gateway.restores import Restorer
from modbot.shard import database
from modbot.shard.engine import Engine, Tools
from modbot.shard.registry import Registry
from modbot.shard.writer import Writer

Locate = Callable[[int, str], ReplicaStore]


class Pod:
    """A volume with a sidecar, and the engine of one shard on it."""

    def __init__(self, volume: Path, store: ReplicaStore, process: replicakit.Process, sidecar: Any) -> None:
        self.volume = volume
        self.sidecar = process
        self.replication = Replication(store, sidecar)
        self.restorer = Restorer(volume, store, program=replicakit.LITESTREAM, settled=self.replication.settled)
        rest: Any = None
        writer = Writer(now=lambda: datetime.now(UTC))
        self.tools = Tools(writer, Registry(()), rest, 1, lambda: datetime.now(UTC), replicated=True)
        self.engine: Any = None

    async def serve(self, epoch: int, *, served: bool = True) -> None:
        grant = protocol.Shard(shard_id=SHARD, epoch=Epoch(epoch), since_epoch=Epoch(epoch), served=served)
        found = await self.restorer.find(grant)
        path = database.path_of(self.volume, SHARD)
        self.engine = await Engine.open(self.tools, path, SHARD, Epoch(epoch), expected=found.there)
        self.replication.begin(self.engine, known=self.engine.offset if found.restored else None)

    async def receive(self, seq: int) -> None:
        await self.engine.apply(Batch((), replicakit.offset(seq)))

    async def barrier(self) -> None:
        await asyncio.wait_for(self.replication.barrier(self.engine), 30)

    def lag(self) -> float:
        replicated = self.replication.replicated(SHARD)
        assert replicated is not None
        return replicated.lag


@asynccontextmanager
async def pod(folder: Path, store: ReplicaStore) -> AsyncIterator[Pod]:
    async with replicakit.sidecar(replicakit.new(folder), store.keys) as (control, process):
        made = Pod(folder, store, process, control)
        yield made
        if made.engine is not None:
            await made.engine.close()
            made.replication.end(SHARD)
        await made.tools.writer.close()
        await made.replication.close()


async def test_what_was_acknowledged_is_there_after_the_volume_is_lost(store: ReplicaStore, volume: Path) -> None:
    async with pod(volume / "a", store) as first:
        await first.serve(1, served=False)
        for seq in range(1, 31):
            await first.receive(seq)
        await first.barrier()
        acknowledged = first.replication.durable(first.engine)
        await first.receive(31)
        await first.sidecar.kill()
    assert acknowledged == replicakit.offset(30)
    async with pod(volume / "b", store) as second:
        await second.serve(2)
        assert second.engine.offset.seq >= acknowledged.seq
        assert second.replication.durable(second.engine) == second.engine.offset
        await second.receive(40)
        await second.barrier()
        assert await store.epochs(SHARD) == [2, 1]
        assert second.replication.complete() == {SHARD: 2}
    async with pod(volume / "c", store) as third:
        await third.serve(3)
        assert third.engine.offset.seq == 40


async def test_a_farewell_brings_the_rest_to_the_store(folder_store: ReplicaStore, volume: Path) -> None:
    async with pod(volume / "a", folder_store) as first:
        await first.serve(1, served=False)
        await first.barrier()
        await first.receive(9)
    async with pod(volume / "b", folder_store) as second:
        await second.serve(2)
        assert second.engine.offset.seq == 9


async def test_a_killed_sidecar_stops_nobody_and_catches_up(folder_store: ReplicaStore, volume: Path) -> None:
    async with pod(volume / "a", folder_store) as first:
        await first.serve(1, served=False)
        await first.receive(1)
        await first.barrier()
        await first.sidecar.kill()
        await first.receive(2)

        async def behind() -> bool:
            return first.lag() > 0.5

        await replicakit.until(behind, "the lag to grow")
        assert first.replication.durable(first.engine) == replicakit.offset(1)
        await first.sidecar.start()
        await first.barrier()
        assert first.replication.durable(first.engine) == replicakit.offset(2)
        assert first.lag() == 0
    assert await folder_store.epochs(SHARD) == [1]


async def test_a_store_that_stands_still_is_noticed_and_stops_nobody(
    moto_port: int, locate: Locate, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicating, "_SYNC_LIMIT", 1)
    async with StallingProxy(moto_port) as proxy, pod(volume / "a", locate(proxy.port, "stall")) as first:
        await first.serve(1, served=False)
        await first.receive(1)
        await first.barrier()
        proxy.stall()
        for seq in range(2, 12):
            await first.receive(seq)

        async def behind() -> bool:
            return first.lag() > 3

        await replicakit.until(behind, "the lag to grow")
        assert first.replication.durable(first.engine) == replicakit.offset(1), (
            "Discord must keep what only the volume holds"
        )
        proxy.flow()
        await first.barrier()
        assert first.replication.durable(first.engine) == replicakit.offset(11)


async def test_a_shard_without_a_reachable_store_is_not_begun_empty(
    moto_port: int, locate: Locate, volume: Path
) -> None:
    async with StallingProxy(moto_port) as proxy:
        store = locate(proxy.port, "away")
    async with pod(volume / "a", store) as first:
        with pytest.raises(litestream.ReplicationError):
            await first.serve(1, served=False)
        assert first.engine is None
