"""A shard file is copied while it is written and checkpointed: the copy is the file, at every speed."""

from __future__ import annotations

import random
import threading
from contextlib import closing
from pathlib import Path
from typing import Self

import apsw
import pytest

from modbot.domain.ids import Epoch, MoveId, ShardId
from modbot.domain.offsets import Offset
from modbot.features import all_features
from modbot.shard import copying, database, engine
from modbot.shard.copying import Copy, CopySource, DamagedCopyError, Expected
from modbot.shard.registry import Registry

_SHARD = ShardId("3-of-16")
_SERIES = Registry(all_features()).series
_CHUNK = 64 * 1024


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    path = database.path_of(folder, _SHARD)
    connection, _ = engine._claim(path, _SHARD, Epoch(4), Registry(all_features()), False)
    with closing(connection):
        connection.execute("CREATE TABLE filler (guild_id INTEGER, text BLOB) STRICT")
        connection.execute("UPDATE shard SET session_id = 's', resume_url = 'wss://x', seq = 0")
    return path


class Owner:
    """Writes as the owner does, and checkpoints as Litestream does, until it is stopped."""

    def __init__(self, path: Path, chance: random.Random, *, checkpoints: bool) -> None:
        self.path, self.chance, self.checkpoints = path, chance, checkpoints
        self.seq = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.connection = database.connect(path)
        self.connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.litestream = database.connect(path)

    def __enter__(self) -> Self:
        self.write(50)
        if self.chance.random() < 0.5:  # the pin may find everything in the database file
            self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.connection.close()
        self.litestream.close()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def write(self, rows: int) -> None:
        with self.connection:
            for _ in range(rows):
                size = self.chance.randrange(2000)
                self.connection.execute("INSERT INTO filler VALUES (?, ?)", (self.seq % 7, self.chance.randbytes(size)))
            self.connection.execute("DELETE FROM filler WHERE rowid % 11 = ?", (self.seq % 11,))
            self.seq += 1
            self.connection.execute("UPDATE shard SET seq = ?", (self.seq,))

    def _run(self) -> None:
        while not self._stop.is_set():
            self.write(self.chance.randrange(1, 30))
            if self.checkpoints and self.chance.random() < 0.3:
                self.litestream.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    @property
    def expected(self) -> Expected:
        return Expected(_SHARD, Epoch(4), Offset(session_id="s", resume_url="wss://x", seq=self.seq))


def _catch_up(source: CopySource, copy: Copy) -> int:
    end = source.log_end()
    start = copy.log_size if end.header == copy.log_header else 0
    for offset in range(start, end.size, _CHUNK):
        copy.write_log(end.header, offset, source.read_log(offset, min(_CHUNK, end.size - offset)))
    return end.size - start


def _content(path: Path) -> list[tuple[object, ...]]:
    with closing(database.connect(path)) as connection:
        return connection.execute("SELECT rowid, * FROM filler ORDER BY rowid").fetchall()


@pytest.mark.parametrize("seed", range(12))
def test_the_copy_is_the_file(source: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    copy = Copy(tmp_path / "target", _SHARD)
    copy.begin()
    with Owner(source, chance, checkpoints=seed % 3 != 0) as owner, closing(CopySource(source)) as pinned:
        offsets = list(range(0, pinned.size, _CHUNK))
        chance.shuffle(offsets)
        for offset in offsets:
            copy.write(offset, pinned.read(offset, _CHUNK))
            if chance.random() < 0.2:
                _catch_up(pinned, copy)
        _catch_up(pinned, copy)
        copy.check()
        owner.stop()
        _catch_up(pinned, copy)
        copy.adopt(owner.expected, move_id=MoveId(9), series=_SERIES)
    target = database.path_of(tmp_path / "target", _SHARD)
    assert _content(target) == _content(source)
    with closing(database.connect(target)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT arrived_by, seq FROM shard").fetchone() == (9, owner.seq)
    assert not list((tmp_path / "target" / "incoming").iterdir())


def test_a_log_that_begins_anew_is_read_from_its_start(source: Path, tmp_path: Path) -> None:
    copy = Copy(tmp_path / "target", _SHARD)
    copy.begin()
    chance = random.Random(1)
    with closing(database.connect(source)) as owner, closing(database.connect(source)) as litestream:
        owner.execute("PRAGMA wal_autocheckpoint = 0")
        owner.execute("INSERT INTO filler VALUES (1, randomblob(100000))")
        litestream.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        with closing(CopySource(source)) as pinned:
            copy.write(0, pinned.read(0, pinned.size))
            _catch_up(pinned, copy)
            first = copy.log_header
            owner.execute("UPDATE shard SET seq = 7")
            owner.execute("INSERT INTO filler VALUES (1, ?)", (chance.randbytes(5000),))
            _catch_up(pinned, copy)
            assert copy.log_header != first
            litestream.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            owner.execute("UPDATE shard SET seq = 8")
            _catch_up(pinned, copy)
            expected = Expected(_SHARD, Epoch(4), Offset(session_id="s", resume_url="wss://x", seq=8))
            copy.adopt(expected, move_id=MoveId(1), series=_SERIES)
    assert _content(database.path_of(tmp_path / "target", _SHARD)) == _content(source)


def test_a_copy_without_the_end_of_the_log_is_refused(source: Path, tmp_path: Path) -> None:
    copy = Copy(tmp_path / "target", _SHARD)
    copy.begin()
    with Owner(source, random.Random(2), checkpoints=False) as owner, closing(CopySource(source)) as pinned:
        copy.write(0, pinned.read(0, pinned.size))
        _catch_up(pinned, copy)
        owner.stop()
        owner.write(1)
        with pytest.raises(DamagedCopyError):
            copy.adopt(owner.expected, move_id=MoveId(1), series=_SERIES)
    assert not database.path_of(tmp_path / "target", _SHARD).exists()


def test_a_damaged_log_is_refused(source: Path, tmp_path: Path) -> None:
    copy = Copy(tmp_path / "target", _SHARD)
    copy.begin()
    with Owner(source, random.Random(2), checkpoints=False) as owner, closing(CopySource(source)) as pinned:
        copy.write(0, pinned.read(0, pinned.size))
        owner.stop()
        end = pinned.log_end()
        data = bytearray(pinned.read_log(0, end.size))
        data[end.size // 2] ^= 1
        copy.write_log(end.header, 0, bytes(data))
        with pytest.raises(DamagedCopyError):
            copy.adopt(owner.expected, move_id=MoveId(1), series=_SERIES)


def test_a_damaged_database_file_is_refused(source: Path, tmp_path: Path) -> None:
    copy = Copy(tmp_path / "target", _SHARD)
    copy.begin()
    with closing(database.connect(source)) as owner, closing(database.connect(source)) as litestream:
        owner.executemany("INSERT INTO filler VALUES (?, randomblob(3000))", [(number,) for number in range(500)])
        owner.execute("CREATE INDEX by_guild ON filler (guild_id)")
        litestream.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        with closing(CopySource(source)) as pinned:
            data = bytearray(pinned.read(0, pinned.size))
            middle = len(data) // 2 // 4096 * 4096
            data[middle : middle + 4096] = bytes(4096)
            copy.write(0, bytes(data))
            end = pinned.log_end()
            copy.write_log(end.header, 0, pinned.read_log(0, end.size))
            with pytest.raises(DamagedCopyError):
                copy.check()


def test_the_source_lets_the_owner_write_and_keeps_no_lock(source: Path) -> None:
    with closing(database.connect(source)) as owner:
        pinned = CopySource(source)
        owner.execute("INSERT INTO filler VALUES (1, x'00')")
        pinned.close()
        assert owner.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert copying.LogEnd(b"", 0).size == 0
