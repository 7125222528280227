"""Copying a shard file to another pod while its owner goes on writing.

A file in WAL mode is two files: the database and the log of page images that were written since. The source pins a read transaction.
While it is pinned, nothing that was written after it can reach the database file, and the log is never begun anew under what the
copy has seen. So the copy is: the bytes of the database file, in any order and at leisure, then the bytes of the log, again and again
from where the last look ended, each time fewer. When the owner has stopped, what is left of the log is small, and the copy is the
file. SQLite itself puts the two together: at the first opening it reads the log, whose frames carry checksums in a chain, up to the
last complete commit.

A page of the database file may be read while a checkpointer (Litestream's, in another process) writes it. That page is in the log
before the pin, so the log's image replaces it. If the log was empty for all practical purposes at the pin (everything was in the
database file), the next writer begins the log anew: its header changes once, and the copy reads it from the start.

The bytes are read through SQLite's own descriptors: opening the database file again and closing that would drop the locks that SQLite
holds for this process. Nothing here knows of leases or of the network; every function blocks and belongs into a thread.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import apsw

from modbot.domain.errors import ModbotError
from modbot.domain.ids import Epoch, MoveId, ShardId
from modbot.domain.offsets import Offset
from modbot.ops import statements
from modbot.shard import database, migrations
from modbot.shard.migrations import Series

_SQL = statements.load("modbot.shard", "copying.sql")
_HEADER = 32
_FRAME_HEADER = 24
_DATABASE, _LOG = 0, 1
_INCOMING = "incoming"


class DamagedCopyError(ModbotError):
    """A copy of a shard file that was fetched from another pod is not what that pod has; the shard stays where it is."""

    code = "damaged_copy"
    hint = "The handoff is tried again by itself; if it fails every time, check the disks of both pods."


@dataclass(frozen=True, slots=True)
class LogEnd:
    """How far the log reaches: its header (empty while there is no log) and the number of bytes that are valid."""

    header: bytes
    size: int


class CopySource:
    """The pinned file at its owner. `close` it, or the log grows."""

    def __init__(self, path: Path) -> None:
        self._pin = database.connect_reader(path)
        self._meter = database.connect_meter(path)
        try:
            self._pin.execute("BEGIN")
            sizes: tuple[int, int] = next(self._pin.execute(_SQL["page_counts"]))
        except BaseException:
            self.close()
            raise
        self._page_size, pages = sizes
        self.size = self._page_size * pages

    def read(self, offset: int, amount: int) -> bytes:
        """Read bytes of the database file. What lies beyond its end (pages that are only in the log yet) reads as zeros."""
        return self._pin.read("main", _DATABASE, offset, min(amount, max(0, self.size - offset)))[1]

    def log_end(self) -> LogEnd:
        """Look how far the log reaches now."""
        while True:
            frames, _ = self._meter.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
            header = self._header() if frames else b""
            again, _ = self._meter.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
            if again >= frames and header == (self._header() if frames else b""):
                size = _HEADER + frames * (_FRAME_HEADER + self._page_size) if frames else 0
                return LogEnd(header, size)

    def read_log(self, offset: int, amount: int) -> bytes:
        """Read bytes of the log; the caller knows from `log_end` that they are there."""
        return self._pin.read("main", _LOG, offset, amount)[1]

    def close(self) -> None:
        """Let go of the file."""
        self._pin.close()
        self._meter.close()

    def _header(self) -> bytes:
        return self._pin.read("main", _LOG, 0, _HEADER)[1]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the source says that the finished copy holds."""

    shard_id: ShardId
    epoch: Epoch
    offset: Offset | None


class Copy:
    """The copy at the target, in a folder of its own until it is complete. A kill at any line leaves nothing that counts."""

    def __init__(self, folder: Path, shard_id: ShardId) -> None:
        self._folder = folder / _INCOMING
        self._path = database.path_of(self._folder, shard_id)
        self._log = database.log_of(self._path)
        self.place = database.path_of(folder, shard_id)
        self.log_header = b""
        self.log_size = 0

    def begin(self) -> None:
        """Start with nothing."""
        self.discard()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path.touch()

    def write(self, offset: int, data: bytes) -> None:
        """Keep bytes of the database file."""
        _write(self._path, offset, data)

    def write_log(self, header: bytes, offset: int, data: bytes) -> None:
        """Keep bytes of the log; one with another header replaces what was kept."""
        if header != self.log_header:
            self._log.unlink(missing_ok=True)
            self.log_header = header
        if data:
            _write(self._log, offset, data)
        self.log_size = offset + len(data)

    def check(self) -> None:
        """Check the structure of what is there so far, while the source still serves; and make it durable.

        Raises:
            DamagedCopyError: SQLite finds a fault in it.
        """
        _sync([self._path, self._log])
        with contextlib.closing(self._open()) as connection:
            _check(connection)
        database.index_of(self._path).unlink(missing_ok=True)

    def adopt(self, expected: Expected, *, move_id: MoveId, series: Iterable[Series]) -> None:
        """Compare the finished copy with what the source says, mark it as arrived, and put it in its place.

        Raises:
            DamagedCopyError: it holds something else.
            NewerFileError: it was written by a newer modbot.
        """
        with contextlib.closing(self._open()) as connection:
            self._compare(connection, expected)
            migrations.check(connection, series)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(_SQL["mark_arrived"], (move_id,))
        database.discard(self.place)
        database.index_of(self._path).unlink(missing_ok=True)
        # The log first: without it the database file would be an older state.
        self._log.rename(database.log_of(self.place))
        self._path.rename(self.place)
        _sync([self.place.parent])

    def discard(self) -> None:
        """Forget the copy."""
        database.discard(self._path)

    def _open(self) -> apsw.Connection:
        connection = database.connect(self._path)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    def _compare(self, connection: apsw.Connection, expected: Expected) -> None:
        try:
            row = connection.execute(_SQL["identity"]).fetchone()
        except apsw.Error as error:
            raise DamagedCopyError(f"The copy of {expected.shard_id} cannot be read: {error}.") from error
        offset = expected.offset
        wanted = (
            expected.shard_id,
            expected.epoch,
            offset.session_id if offset is not None else None,
            offset.seq if offset is not None else None,
        )
        if row != wanted:
            raise DamagedCopyError(f"The copy of {expected.shard_id} holds {row}, its source has {wanted}.")


def forget_unfinished(folder: Path) -> None:
    """Clear what handoffs of an earlier life of this pod have left."""
    shutil.rmtree(folder / _INCOMING, ignore_errors=True)


def _check(connection: apsw.Connection) -> None:
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()
    except apsw.Error as error:
        raise DamagedCopyError(f"The copy cannot be read: {error}.") from error
    if found != ("ok",):
        raise DamagedCopyError(f"The copy is damaged: {found}.")


def _write(path: Path, offset: int, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while data:
            written = os.pwrite(descriptor, data, offset)
            data, offset = data[written:], offset + written
    finally:
        os.close(descriptor)


def _sync(paths: list[Path]) -> None:
    for path in paths:
        if not path.exists():
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
