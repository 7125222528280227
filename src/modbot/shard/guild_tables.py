"""Which tables of a file hold rows of guilds: found in the schema, so that a new feature's tables are never forgotten.

A table belongs to guilds when it has a column `guild_id`. Its rows are ordered by the primary key. An integer row id (SQLite's own
number of the row, such as `effects.effect_id`) belongs to the file and not to the guild: another file gives new ones, so nothing may
refer to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from modbot.ops import statements

_SQL = statements.load("modbot.shard", "archive.sql")
GUILD_COLUMN = "guild_id"
# They stay with the file: the whereabouts of a guild, and what concerns gaps in the file's own session.
_STAYING = frozenset(
    {"transfers", "recorded_events", "held_events", "repairs", "repair_sources", "noted", "gap_losses"}
)
Query = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class GuildTable:
    """One table with rows of guilds. `columns` in the order of the schema; `row_id` names the file's own number of the row."""

    name: str
    columns: tuple[str, ...]
    order: tuple[str, ...]
    row_id: str | None

    @property
    def movable(self) -> tuple[str, ...]:
        """Return the columns that mean the same in every file."""
        return tuple(column for column in self.columns if column != self.row_id)

    def sql(self, statement: str, *, columns: Sequence[str] = (), values: Sequence[str] = ()) -> str:
        """Return a statement of `archive.sql` for this table; `values` are SQL expressions."""
        return statement.format(
            table=quoted(self.name),
            columns=", ".join(map(quoted, columns)),
            values=", ".join(values),
            order=", ".join(map(quoted, self.order)),
        )


def reader(connection: apsw.Connection) -> Query:
    """Return how the functions of this module ask a connection; `Transaction.all` is such a query as well."""
    return lambda sql, bindings: connection.execute(sql, bindings).fetchall()


def find(query: Query, schema: str = "main") -> list[GuildTable]:
    """Return the guild tables of an open file (or of one attached to it) by name."""
    found = (_read(query, schema, name, without_rowid=bool(wr)) for name, wr in tables(query, schema))
    return [table for table in found if GUILD_COLUMN in table.columns and table.name not in _STAYING]


def others(query: Query) -> list[str]:
    """Return the tables whose rows belong to no guild."""
    return sorted({name for name, _ in tables(query)} - {table.name for table in find(query)})


def tables(query: Query, schema: str = "main") -> list[tuple[Any, ...]]:
    """Return the name of every ordinary table, and whether it is WITHOUT ROWID."""
    return query(_SQL["tables"], (schema,))


def quoted(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.replace('"', '""') + '"'


def _read(query: Query, schema: str, name: str, *, without_rowid: bool) -> GuildTable:
    columns = query(_SQL["columns"], (name, schema))
    key = [column for column, _, place in sorted(columns, key=lambda each: each[2]) if place]
    integer = [column for column, kind, place in columns if place and kind.upper() == "INTEGER"]
    row_id = key[0] if not without_rowid and len(key) == 1 and key == integer and key[0] != GUILD_COLUMN else None
    return GuildTable(name, tuple(column for column, _, _ in columns), tuple(key) or ("rowid",), row_id)
