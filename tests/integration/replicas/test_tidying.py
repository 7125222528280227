"""Deleting what has gone on elsewhere: files of others' shards, replicas of old epochs. Never the last good copy."""

from __future__ import annotations

import asyncio
import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from replicakit import SHARD, File

from modbot.cluster import protocol
from modbot.domain.ids import Epoch, Incarnation, PodId, ShardId
from modbot.ops.litestream import SidecarSilentError
from modbot.ops.replicas import ReplicaStore
from modbot.services.gateway import discarding
from modbot.services.gateway.discarding import Discarder
from modbot.services.gateway.retaining import Retention
from modbot.shard import database

ME, OTHER = PodId("gateway-0"), PodId("gateway-1")


class House:
    """A volume with a file of epoch 4, and a discarder over it."""

    def __init__(self, folder: Path) -> None:
        self.path = database.path_of(folder, SHARD)
        File(self.path, epoch=4).close()
        self.mine: set[ShardId] = set()
        self.asked: list[Path] = []
        self.fault: Exception | None = None
        self.meanwhile: Any = lambda: None
        self.discarder = Discarder(folder, ME, mine=self.mine.__contains__, settled=self._settled)

    async def _settled(self, path: Path) -> None:
        self.asked.append(path)
        self.meanwhile()
        if self.fault is not None:
            raise self.fault

    @property
    def kept(self) -> bool:
        return self.path.exists()

    async def hears(self, **more: Any) -> None:
        told = {"epoch": Epoch(5), "owner": OTHER, "incarnation": Incarnation("i"), "served": True, **more}
        self.discarder.notice(protocol.Change(shards=[protocol.Shard(shard_id=SHARD, **told)]))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.discarder.run(), 0.3)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(discarding, "_TRY_AGAIN", 0.01)
    return House(tmp_path)


async def test_a_file_whose_shard_is_served_elsewhere_under_a_later_epoch_is_deleted(house: House) -> None:
    await house.hears()
    assert not house.kept
    assert house.asked == [house.path], "the sidecar of a process that died may still hold it"


@pytest.mark.parametrize(
    "told",
    [
        {"served": False},
        {"owner": None, "incarnation": None},
        {"owner": ME},
        {"epoch": Epoch(4)},
        {"epoch": Epoch(3)},
        {"target": ME, "target_incarnation": Incarnation("m")},
    ],
)
async def test_what_may_be_the_last_good_copy_is_kept(house: House, told: dict[str, Any]) -> None:
    await house.hears(**told)
    assert house.kept


async def test_the_file_of_a_shard_that_is_ours_is_kept(house: House) -> None:
    house.mine.add(SHARD)
    await house.hears()
    assert house.kept


async def test_a_shard_that_becomes_ours_meanwhile_is_kept(house: House) -> None:
    house.meanwhile = lambda: house.mine.add(SHARD)
    await house.hears()
    assert house.kept


async def test_a_file_that_arrives_meanwhile_is_kept(house: House) -> None:
    def arrive() -> None:
        fresh = house.path.with_name("fresh")
        fresh.write_bytes(b"handed over")
        fresh.rename(house.path)

    house.meanwhile = arrive
    await house.hears()
    assert house.kept


async def test_a_file_that_cannot_be_read_is_left_for_people(house: House) -> None:
    house.path.write_bytes(b"not a database" * 100)
    await house.hears()
    assert house.kept


async def test_a_file_that_the_sidecar_may_be_reading_is_kept_until_it_answers(house: House) -> None:
    house.fault = SidecarSilentError("stopped")
    await house.hears()
    assert house.kept
    assert len(house.asked) > 1, "it is tried again"
    house.fault = None
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(house.discarder.run(), 0.3)
    assert not house.kept


class Clock:
    def __init__(self) -> None:
        self.moment = datetime.now(UTC)

    def now(self) -> datetime:
        return self.moment


def _leave(store: ReplicaStore, epoch: int, *, days: float, begins: bool = True) -> None:
    folder = Path(store.name.removeprefix("file://"), SHARD, f"e{epoch}", "ltx", "0")
    folder.mkdir(parents=True)
    file = folder / ("0000000000000001-0000000000000001.ltx" if begins else "0000000000000002-0000000000000002.ltx")
    file.touch()
    moment = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    os.utime(file, (moment, moment))


async def test_old_epochs_go_when_the_present_one_is_complete(folder_store: ReplicaStore) -> None:
    for epoch, days in ((9, 0), (8, 2), (7, 3), (6, 4), (5, 0.5), (2, 9)):
        _leave(folder_store, epoch, days=days)
    complete: dict[ShardId, Epoch] = {}
    clock = Clock()
    retention = Retention(folder_store, keep=3, keep_for=timedelta(days=1), complete=lambda: complete, now=clock.now)
    await retention.tidy(folder_store)
    assert len(await folder_store.epochs(SHARD)) == 6, "not while the present epoch may be the only hope"
    complete[SHARD] = Epoch(9)
    await retention.tidy(folder_store)
    assert await folder_store.epochs(SHARD) == [9, 8, 7, 5]
    _leave(folder_store, 3, days=9)
    await retention.tidy(folder_store)
    assert await folder_store.epochs(SHARD) == [9, 8, 7, 5, 3], "once an hour is enough"
    clock.moment += timedelta(hours=25)
    await retention.tidy(folder_store)
    assert await folder_store.epochs(SHARD) == [9, 8, 7]


async def test_nothing_goes_when_the_store_does_not_list_the_beginning(folder_store: ReplicaStore) -> None:
    _leave(folder_store, 9, days=0, begins=False)
    for epoch in (8, 7, 6, 5):
        _leave(folder_store, epoch, days=5)
    retention = Retention(
        folder_store, keep=1, keep_for=timedelta(0), complete=lambda: {SHARD: Epoch(9)}, now=Clock().now
    )
    await retention.tidy(folder_store)
    assert await folder_store.epochs(SHARD) == [9, 8, 7, 6, 5]


async def test_an_owner_that_was_replaced_leaves_later_epochs_alone(folder_store: ReplicaStore) -> None:
    for epoch in (12, 11, 9, 8, 7):
        _leave(folder_store, epoch, days=5)
    retention = Retention(
        folder_store, keep=2, keep_for=timedelta(0), complete=lambda: {SHARD: Epoch(9)}, now=Clock().now
    )
    await retention.tidy(folder_store)
    assert await folder_store.epochs(SHARD) == [12, 11, 9, 8]
