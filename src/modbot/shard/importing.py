"""Bringing an archive into a shard file: all of it in one transaction of the shard's writer, or nothing.

Before anything is changed the archive is checked from end to end (`archive.check`). An older one is brought to the versions of this
modbot by the same migrations that shard files go through: it has their whole schema, so no second way is needed. What is copied then
has exactly the columns of the shard file.

Three things are not simply replaced:

* The guild snapshot, how far each channel was followed, who is banned. What this shard has heard from Discord about the guild is newer
  than what an archive remembers.
* Applied interactions. Those that are known here stay known, or the inbox would bring them a second time.
* Effects that were pending in a copy for people. The original has carried them out long ago; they arrive as failed, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import apsw
import msgspec

from modbot.domain.errors import ModbotError
from modbot.domain.ids import GuildId
from modbot.ops import statements
from modbot.shard import guild_tables, marks, migrations, snapshot
from modbot.shard.archive import ArchiveDamagedError, Manifest, Purpose
from modbot.shard.guild_tables import GuildTable
from modbot.shard.migrations import Series
from modbot.shard.transaction import Transaction

_SQL = statements.load("modbot.shard", "archive.sql")
_ARCHIVE = "archive_file"
_HEARD = snapshot.TABLES | marks.TABLES
_UNITED = frozenset({"interactions"})


class GuildHasRowsError(ModbotError):
    """The guild has rows in this shard already; nothing was changed."""

    code = "guild_has_rows"
    status = 409
    hint = "Export the guild first if its rows matter, then import with --replace."


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did: rows written and removed, effects that were dropped with the old rows or not carried out with the new ones."""

    rows: int
    replaced: int
    dropped_effects: int
    ended_effects: int


def migrate(path: Path, series: Iterable[Series]) -> None:
    """Bring a checked archive to the versions of this modbot. Changes the file: give it a copy. Blocks."""
    with closing(apsw.Connection(str(path))) as connection:
        migrations.migrate(connection, series)


def bring_in(tx: Transaction, path: Path, manifest: Manifest, *, replace: bool) -> Imported:
    """Copy a checked and migrated archive into the shard file, in the transaction that the caller commits.

    Raises:
        GuildHasRowsError: the guild has rows and `replace` is false.
        ArchiveDamagedError: the rows break a rule of the tables.
    """
    guild_id = manifest.guild
    tables = guild_tables.find(tx.all)
    known = _count(tx, [table for table in tables if table.name in snapshot.TABLES], guild_id) > 0
    kept = _HEARD if known else frozenset()
    fresh = [table for table in tables if table.name not in kept | _UNITED]
    present = _count(tx, [table for table in fresh if table.name not in _HEARD], guild_id)
    if present and not replace:
        raise GuildHasRowsError(f"Guild {guild_id} has {present} rows here.")
    dropped = len(tx.all(_SQL["pending_keys"], (guild_id,)))
    remove(tx, fresh, guild_id)
    tx.attach(path, _ARCHIVE)
    _compare(tx, tables)
    try:
        rows = sum(_copy(tx, table) for table in tables if table.name not in kept)
    except apsw.ConstraintError as error:
        raise ArchiveDamagedError(f"The rows of the archive break a rule of the tables: {error}.") from error
    ended = tx.execute(_SQL["end_effects"], (tx.now_ms, guild_id)) if manifest.purpose is Purpose.PEOPLE else 0
    tx.execute(_SQL["adopt_effects"], (tx.epoch, guild_id))
    _notice_timer(tx, guild_id)
    return Imported(rows=rows, replaced=present, dropped_effects=dropped, ended_effects=ended)


def remove(tx: Transaction, tables: Iterable[GuildTable], guild_id: GuildId) -> int:
    """Delete the rows of a guild from these tables."""
    return sum(tx.execute(table.sql(_SQL["delete_rows"]), (guild_id,)) for table in tables)


def _count(tx: Transaction, tables: Iterable[GuildTable], guild_id: GuildId) -> int:
    return sum(tx.value(table.sql(_SQL["guild_rows"]), (guild_id,)) for table in tables)


def _compare(tx: Transaction, tables: list[GuildTable]) -> None:
    there = {table.name: table.columns for table in guild_tables.find(tx.all, _ARCHIVE)}
    different = [table.name for table in tables if there.get(table.name) != table.columns]
    if different or len(there) != len(tables):
        raise ArchiveDamagedError(f"The tables of the archive are not those of this modbot: {', '.join(different)}.")


def _copy(tx: Transaction, table: GuildTable) -> int:
    statement = _SQL["copy_in_missing" if table.name in _UNITED else "copy_in"]
    return tx.execute(table.sql(statement, columns=table.movable))


def _notice_timer(tx: Transaction, guild_id: GuildId) -> None:
    due_at = tx.value(_SQL["first_timer"], (guild_id,))
    if due_at is not None and (tx.next_timer is None or due_at < tx.next_timer):
        tx.next_timer = due_at
