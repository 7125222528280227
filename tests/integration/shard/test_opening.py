"""Opening a shard file: whose it is, under which grant, and never empty in silence (I2, I8)."""

import asyncio
import threading
from contextlib import closing

import apsw
import pytest
import shardkit

from modbot.domain.errors import StaleEpochError
from modbot.domain.ids import Epoch, ShardId
from modbot.shard import database
from modbot.shard import engine as engine_module
from modbot.shard.engine import Engine, ForeignFileError, MissingFileError
from modbot.shard.migrations import Series
from modbot.shard.transaction import PendingEffect


@pytest.fixture
async def world(make_world):
    return await make_world()


async def test_a_fresh_file_has_no_offset_and_the_epoch_of_the_grant(world, tmp_path):
    engine = await Engine.open(world.tools, tmp_path / "new.sqlite3", ShardId("1-of-2"), Epoch(5), expected=False)
    assert engine.offset is None
    assert await engine.commit(lambda tx: tx.one("SELECT shard_id, epoch FROM shard")) == ("1-of-2", 5)
    await engine.close()


async def test_reopening_finds_the_offset(world):
    await world.dispatch("MESSAGE_CREATE", shardkit.message_body(1))
    engine = await world.reopen()
    assert engine.offset == world.offset(2)
    assert engine.epoch == 2


async def test_an_expected_file_that_is_not_there_is_refused_and_not_made(world, tmp_path):
    path = tmp_path / "gone.sqlite3"
    with pytest.raises(MissingFileError):
        await Engine.open(world.tools, path, shardkit.SHARD, Epoch(1), expected=True)
    assert not path.exists()


async def test_an_expected_file_that_is_empty_is_refused(world, tmp_path):
    path = tmp_path / "empty.sqlite3"
    path.touch()
    with pytest.raises(MissingFileError):
        await Engine.open(world.tools, path, shardkit.SHARD, Epoch(1), expected=True)


async def test_a_stale_grant_is_refused_and_changes_nothing(world):
    await world.reopen(epoch=7)
    with pytest.raises(StaleEpochError):
        await Engine.open(world.tools, world.path, shardkit.SHARD, Epoch(6), expected=True)
    assert await world.row("SELECT epoch FROM shard") == (7,)


async def test_another_shards_file_is_refused_before_anything_is_written(world):
    world.registry.series.append(Series("later", ("CREATE TABLE later (x INTEGER)",)))
    before = await world.rows("SELECT * FROM migrations")
    for shard_id, epoch, error in (("9-of-10", 9, ForeignFileError), (shardkit.SHARD, 0, StaleEpochError)):
        with pytest.raises(error):
            await Engine.open(world.tools, world.path, ShardId(shard_id), Epoch(epoch), expected=True)
    assert await world.rows("SELECT * FROM migrations") == before
    assert await world.row("SELECT shard_id, epoch FROM shard") == (shardkit.SHARD, 1)


async def test_what_is_not_a_database_is_refused(world, tmp_path):
    path = tmp_path / "text.sqlite3"
    path.write_text("this is not a database " * 100)
    with pytest.raises(apsw.NotADBError):
        await Engine.open(world.tools, path, shardkit.SHARD, Epoch(1), expected=True)


async def test_an_owner_that_was_overtaken_breaks_and_commits_nothing(world):
    await world.rows("UPDATE shard SET epoch = 8")
    with pytest.raises(StaleEpochError):
        await world.dispatch("MESSAGE_CREATE", shardkit.message_body(1))
    assert isinstance(world.engine.broken.result(), StaleEpochError)
    assert world.engine.offset == world.offset(1)


async def test_a_defect_in_the_background_breaks_the_engine_instead_of_ending_unheard(make_world, monkeypatch):
    world = await make_world()

    def defect(_tx):
        raise RuntimeError("housekeeping")

    monkeypatch.setattr(engine_module, "_forget_old", defect)
    await world.reopen()
    error = await asyncio.wait_for(asyncio.shield(world.engine.broken), 5)
    assert str(error) == "housekeeping"


async def test_a_lane_that_ends_with_a_defect_breaks_the_engine(make_world):
    world = await make_world()

    async def defect(*_arguments):
        raise RuntimeError("lane")

    world.engine.runner._run_until_settled = defect
    world.engine.runner.add([PendingEffect(1, 1, "k", "n", "l", "{}", None, 0, 0, 0)])
    error = await asyncio.wait_for(asyncio.shield(world.engine.broken), 5)
    assert str(error) == "lane"


def test_a_file_that_somebody_is_just_reading_into_its_index_is_waited_for(tmp_path):
    """Whoever opens a file first after it was put in place reads its log, and locks it meanwhile: an observer, a sidecar."""
    path = tmp_path / "a.sqlite3"
    other = apsw.Connection(str(path))
    other.execute("PRAGMA journal_mode = WAL; PRAGMA locking_mode = EXCLUSIVE; CREATE TABLE t (x)").fetchall()
    release = threading.Timer(0.2, other.close)
    release.start()
    try:
        with closing(database.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    finally:
        release.join()
