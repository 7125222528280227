"""Opening a shard file the one right way.

WAL with `synchronous=NORMAL`: a commit survives the death of the process; what a power loss takes, it takes together with its seq,
and Discord sends it again. `mmap_size` stays 0 (it amplifies damage when two processes share a WAL).
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import apsw

from modbot.domain.errors import SettingsError
from modbot.domain.ids import ShardId

_OLDEST_SQLITE = (3, 51, 3)  # older ones can corrupt the file when a second process checkpoints the WAL
_PRAGMAS = """
PRAGMA busy_timeout = 5000;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA mmap_size = 0;
PRAGMA cache_size = -1024;
PRAGMA temp_store = MEMORY;
"""


def check_sqlite() -> None:
    """Refuse to run on a SQLite with the WAL-reset bug."""
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < _OLDEST_SQLITE:
        raise SettingsError(f"SQLite {apsw.sqlite_lib_version()} is too old; apsw with 3.51.3 or newer is needed.")


def path_of(data_dir: Path, shard_id: ShardId) -> Path:
    """Return where a shard's file lives on the pod's volume."""
    return data_dir / f"{shard_id}.sqlite3"


def log_of(path: Path) -> Path:
    """Return where SQLite keeps the log (WAL) of a file."""
    return path.with_name(f"{path.name}-wal")


def index_of(path: Path) -> Path:
    """Return where SQLite keeps the index of the log."""
    return path.with_name(f"{path.name}-shm")


def discard(path: Path) -> None:
    """Delete a file that nobody has open, with all that belongs to it. The log goes last: without it the file would be an older state."""
    shutil.rmtree(path.with_name(f".{path.name}-litestream"), ignore_errors=True)
    for each in (index_of(path), path, log_of(path)):
        each.unlink(missing_ok=True)


def connect(path: Path, *, replicated: bool = False) -> apsw.Connection:
    """Open a file for writing, creating it when it is not there.

    `replicated`: Litestream moves the log into the database file. If SQLite did it too, Litestream would miss parts of the log and
    upload the whole database again.
    """
    connection = apsw.Connection(str(path), statementcachesize=256)
    for pragma in _PRAGMAS.strip().splitlines():
        connection.execute(pragma)
    if replicated:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def connect_reader(path: Path) -> apsw.Connection:
    """Open an existing file for reading only; readers never block the writer."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.execute("PRAGMA busy_timeout = 5000")
    return connection


def connect_existing(path: Path) -> apsw.Connection:
    """Open a file that nobody else of this process has open, to look into it; a log that a dead process left is read."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.execute("PRAGMA busy_timeout = 5000")
    return connection


def move_log(path: Path) -> None:
    """Bring what is in the log into the database file without waiting for anybody, so that the log can begin anew (PASSIVE)."""
    with contextlib.closing(connect_meter(path)) as connection:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)


def log_bytes(path: Path) -> int:
    """Return the size of the log."""
    return file_bytes(log_of(path))


def file_bytes(path: Path) -> int:
    """Return the size of a file, 0 when it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def connect_meter(path: Path) -> apsw.Connection:
    """Open an existing file to look at its log; it never writes."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("SELECT 1 FROM sqlite_schema").fetchone()  # opens the log
    return connection
