"""Looking into shard files from outside, read-only: for `modbot demo`, for tests and for people who want to be sure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modbot.domain.ids import GuildId, TransferId
from modbot.domain.offsets import Offset
from modbot.ops import statements
from modbot.shard import database, guild_tables

_SQL = statements.load("modbot.shard", "inspecting.sql")


@dataclass(frozen=True, slots=True)
class Findings:
    """What one shard file holds."""

    shard_id: str
    epoch: int
    offset: Offset | None
    pending_effects: int
    failed_effects: int
    dead_letters: int
    gaps: int


@dataclass(frozen=True, slots=True)
class Repair:
    """What the repair of one gap came to in one guild. Times in milliseconds since 1970; `ended_at` is None while the gap is open."""

    gap_id: int
    kind: str
    began_at: int
    ended_at: int | None
    missing: int | None
    guild_id: int
    state: str
    messages: int
    entries: int
    bans: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Something that a gap took from a guild for good. `number` is None where nobody can know it."""

    gap_id: int
    guild_id: int
    kind: str
    place_id: int
    reason: str | None
    number: int | None


def files(volume: Path) -> list[Path]:
    """Return the shard files on a pod's volume."""
    return sorted(volume.glob("*.sqlite3"))


def look(path: Path) -> Findings:
    """Read the state of one shard file."""
    shard_id, epoch, session_id, resume_url, seq, *counts = next(rows(path, _SQL["look"]))
    offset = Offset(session_id=session_id, resume_url=resume_url, seq=seq) if session_id is not None else None
    return Findings(shard_id, epoch, offset, *counts)


def repairs(path: Path) -> list[Repair]:
    """Read what the repair of each gap came to in each guild."""
    return [Repair(*row) for row in rows(path, _SQL["gaps"])]


def losses(path: Path) -> list[Lost]:
    """Read what gaps took for good."""
    return [Lost(*row) for row in rows(path, _SQL["losses"])]


def whereabouts(path: Path, guild_id: GuildId) -> tuple[str, TransferId] | None:
    """Read what a file says of a guild that it does not simply serve: its state and the transfer (`transfers.py`); None when it says nothing."""
    found = next(rows(path, _SQL["whereabouts"], (guild_id,)), None)
    return None if found is None else (str(found[0]), TransferId(found[1]))


def rows(path: Path, sql: str, bindings: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Run a query on a shard file that may be in use."""
    with closing(database.connect_reader(path)) as connection:
        yield from connection.execute(sql, bindings).fetchall()


def count_tables(path: Path) -> dict[str, int]:
    """Count the rows of every table of a shard file but Litestream's own, by name. Blocks like `count_rows`."""
    with closing(database.connect_reader(path)) as connection:
        found = guild_tables.tables(guild_tables.reader(connection))
        names = sorted(name for name, _ in found if not name.startswith("_litestream"))
        statements_of = {name: _SQL["rows"].format(table=guild_tables.quoted(name)) for name in names}
        return {name: int(connection.execute(sql).get) for name, sql in statements_of.items()}


def count_rows(path: Path) -> int:
    """Count the rows of guilds in a shard file that may be in use; a part of the shard's weight. Blocks, a second per few million rows."""
    with closing(database.connect_reader(path)) as connection:
        tables = guild_tables.find(guild_tables.reader(connection))
        counts = [_SQL["rows"].format(table=guild_tables.quoted(table.name)) for table in tables]
        return sum(int(connection.execute(statement).get) for statement in counts)
