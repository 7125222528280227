"""Cutting an archive: the rows of one guild, as they stand in one committed state of the shard file.

It runs in a thread, on a connection of its own that reads; the writer goes on and is not waited for. One read transaction covers the
guild's rows and the shard's offset, so the archive is exactly the guild as of that seq. Rows go from file to file inside SQLite, so
memory does not grow with the guild. The archive is written under a temporary name, flushed, and named when it is complete: a process
that dies here leaves a file that nobody takes for an archive.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path

import apsw

from modbot.domain.errors import NotFoundError, StaleEpochError
from modbot.domain.ids import Epoch, GuildId
from modbot.ops import statements
from modbot.shard import archive, guild_tables
from modbot.shard.archive import Manifest, Purpose

_SQL = statements.load("modbot.shard", "archive.sql")
PARTIAL = ".partial"
_FOLDER = "archives"
# The temporary file needs no journal: it is worth nothing before it is complete, and it is flushed before it gets its name.
_PRAGMAS = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -8192",
    "PRAGMA temp_store = FILE",
    f"PRAGMA application_id = {archive.APPLICATION_ID}",
)


@dataclass(frozen=True, slots=True)
class Order:
    """What to cut: the guild's rows in the shard file `source`, which must be at `epoch`; `withheld` columns by table for people."""

    source: Path
    epoch: Epoch
    guild_id: GuildId
    purpose: Purpose
    withheld: Mapping[str, tuple[str, ...]]
    now: datetime


def export(order: Order, target: Path) -> Manifest:
    """Write an archive to `target` and return its manifest. Blocks: call it in a thread.

    Raises:
        StaleEpochError: somebody newer owns the shard.
        NotFoundError: the shard has no row of the guild.
    """
    partial = target.with_name(target.name + PARTIAL)
    partial.unlink(missing_ok=True)
    try:
        with closing(_connect(partial)) as connection:
            manifest = _cut(connection, order)
        name_when_complete(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return manifest


def folder_of(data_dir: Path) -> Path:
    """Return the folder of the archives that are under way on a volume, and make it when it is not there."""
    folder = data_dir / _FOLDER
    folder.mkdir(exist_ok=True)
    return folder


def forget_unfinished(data_dir: Path) -> None:
    """Remove what an earlier process of this pod left behind. Call it with the volume's lock held."""
    for path in folder_of(data_dir).iterdir():
        path.unlink()


def name_when_complete(partial: Path, target: Path) -> None:
    """Flush a complete file and give it its name; after a power loss it is there whole or not at all."""
    _flush(partial)
    partial.replace(target)
    _flush(target.parent)


def _connect(path: Path) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(5000)
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    return connection


def _cut(connection: apsw.Connection, order: Order) -> Manifest:
    connection.execute("ATTACH ? AS shard_file", (f"{order.source.resolve().as_uri()}?mode=ro",))
    connection.execute("BEGIN")
    query = guild_tables.reader(connection)
    shard_id, epoch, session_id, seq = query(_SQL["identity_of_shard"], ())[0]
    if epoch != order.epoch:
        raise StaleEpochError(f"Shard {shard_id} is at epoch {epoch}, this owner has {order.epoch}.")
    _run_schema(connection, "table")
    connection.execute(_SQL["copy_versions"])
    for table in guild_tables.find(query):
        _copy(connection, table, order)
    _run_schema(connection, "index")
    sums = archive.table_sums(connection)
    if not any(table.rows for table in sums):
        raise NotFoundError(f"Shard {shard_id} holds nothing of guild {order.guild_id}.")
    manifest = Manifest(
        format=archive.FORMAT,
        modbot_version=metadata.version("modbot"),
        purpose=order.purpose,
        guild_id=str(order.guild_id),
        shard_id=shard_id,
        epoch=epoch,
        session_id=session_id,
        seq=seq,
        cut_at=order.now,
        components=dict(connection.execute(_SQL["versions"])),
        tables=sums,
    )
    connection.execute(_SQL["create_manifest"])
    connection.execute(_SQL["write_manifest"], archive.encode(manifest))
    connection.execute("COMMIT")
    return manifest


def _copy(connection: apsw.Connection, table: guild_tables.GuildTable, order: Order) -> None:
    kept_back = order.withheld.get(table.name, ()) if order.purpose is Purpose.PEOPLE else ()
    values = ["NULL" if column in kept_back else guild_tables.quoted(column) for column in table.columns]
    connection.execute(table.sql(_SQL["copy_out"], columns=table.columns, values=values), (order.guild_id,))


def _run_schema(connection: apsw.Connection, kind: str) -> None:
    for (sql,) in guild_tables.reader(connection)(_SQL["schema_of_shard"], (kind,)):
        connection.execute(sql)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
