"""What a served shard does when Discord will not have it, and when it has no replica yet."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modbot.cluster import protocol
from modbot.discord.closing import IntentsRefusedError
from modbot.domain.ids import Epoch, ShardId
from modbot.ops.claims import ForeignStoreError
from modbot.services.gateway import serving
from modbot.services.gateway.restores import Found
from modbot.services.gateway.serving import ServedShard


class Refused:
    """A gateway session that Discord closes for good."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(self) -> None:
        self.runs += 1
        raise IntentsRefusedError("Discord closed with 4014.")


async def test_a_session_that_is_refused_for_good_is_not_tried_again() -> None:
    surroundings: Any = None
    served = ServedShard(surroundings, protocol.Shard(shard_id=ShardId("0-of-1"), epoch=Epoch(1)))
    session: Any = Refused()
    refused = asyncio.Event()
    following = asyncio.create_task(served._follow(session, refused))
    await refused.wait()
    await asyncio.sleep(0)
    assert not following.done(), "the shard goes on without a session"
    assert session.runs == 1
    assert served.problem == "Discord closed with 4014."
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


class Around:
    """A restorer, a replication and an engine in memory."""

    def __init__(self, *, there: bool) -> None:
        self.found = Found(there=there)
        self.copied = asyncio.Event()
        self.worked = asyncio.Event()
        self.offset = None
        self.refusal: ForeignStoreError | None = None
        self.begun = self.closed = 0

    async def require(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def find(self, _shard: protocol.Shard) -> Found:
        return self.found

    async def open(self, *_arguments: Any, expected: bool) -> Around:
        assert expected is self.found.there
        return self

    async def close(self) -> None:
        self.closed += 1

    def begin(self, _engine: Any, *, known: Any) -> None:
        assert known is None
        self.begun += 1

    async def barrier(self, _engine: Any) -> None:
        await self.copied.wait()

    def replicated(self, _shard_id: ShardId) -> None:
        return None

    def end(self, _shard_id: ShardId) -> None:
        self.begun -= 1


def _serving(around: Around, monkeypatch: pytest.MonkeyPatch) -> ServedShard:
    monkeypatch.setattr(serving, "Engine", around)

    async def work(_self: ServedShard, _engine: Any, _inbox: Any) -> None:
        around.worked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(ServedShard, "_work", work)
    surroundings: Any = SimpleNamespace(
        restorer=around,
        presence=around,
        replication=around,
        tools=None,
        data_dir=Path("/nowhere"),
        lease=SimpleNamespace(renew_soon=lambda: None),
    )
    return ServedShard(surroundings, protocol.Shard(shard_id=ShardId("0-of-1"), epoch=Epoch(1)))


async def test_a_new_shard_takes_nothing_in_before_it_has_a_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    around = Around(there=False)
    served = _serving(around, monkeypatch)
    running = asyncio.create_task(served.run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert around.begun == 1
    assert served.engine is None, "no interaction is applied"
    assert served.measure() is None, "the shard does not count as served yet"
    assert served.problem is not None
    assert not around.worked.is_set()
    around.copied.set()
    await around.worked.wait()
    assert (served.engine, served.problem) == (around, None)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (around.begun, around.closed) == (0, 1)


async def test_a_new_shard_that_is_given_up_before_its_first_copy_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    around = Around(there=False)
    running = asyncio.create_task(_serving(around, monkeypatch).run())
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (around.begun, around.closed) == (0, 1)


async def test_in_the_store_of_another_cluster_not_even_the_file_of_the_volume_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    around = Around(there=True)
    around.refusal = ForeignStoreError("The replica store is in the service of cluster b; this is a.")
    served = _serving(around, monkeypatch)
    running = asyncio.create_task(served.run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert (around.begun, served.engine, served.problem) == (0, None, str(around.refusal))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_shard_that_has_a_file_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    around = Around(there=True)
    running = asyncio.create_task(_serving(around, monkeypatch).run())
    await asyncio.wait_for(around.worked.wait(), 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
