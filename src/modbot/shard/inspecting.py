"""Looking into shard files from outside, read-only: for `modbot demo`, for tests and for people who want to be sure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modbot.domain.offsets import Offset
from modbot.ops import statements
from modbot.shard import database

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


def files(volume: Path) -> list[Path]:
    """Return the shard files on a pod's volume."""
    return sorted(volume.glob("*.sqlite3"))


def look(path: Path) -> Findings:
    """Read the state of one shard file."""
    shard_id, epoch, session_id, resume_url, seq, *counts = next(rows(path, _SQL["look"]))
    offset = Offset(session_id=session_id, resume_url=resume_url, seq=seq) if session_id is not None else None
    return Findings(shard_id, epoch, offset, *counts)


def rows(path: Path, sql: str, bindings: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Run a query on a shard file that may be in use."""
    with closing(database.connect_reader(path)) as connection:
        yield from connection.execute(sql, bindings).fetchall()
