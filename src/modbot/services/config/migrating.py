"""Bringing the database to the schema of this version, and fixing the shard count at the first start.

Several replicas may start at once: an advisory lock lets one migrate while the others wait and then find nothing to do. Migrations
only go forward; a database that is newer than this program is refused, and so is a shard count that differs from the first one,
because the shard of every guild would change under its data.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, TypeVar

import structlog

from modbot.domain import ids
from modbot.domain.errors import SettingsError, UnavailableError
from modbot.ops.settings import Secret
from modbot.services.config import database

PATIENCE = 30.0
"""Seconds that a start waits for PostgreSQL, which may be starting as well."""
_RETRY = 0.5
_LOCK = 7214000
_MIGRATION = re.compile(r"(?P<version>\d{4})_[a-z0-9_]+\.sql")
_HERE = resources.files("modbot.services.config")
_log = structlog.get_logger(__name__)
_T = TypeVar("_T")
_VERSIONS = """CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One forward step of the schema."""

    version: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """Return the migrations in order; `ValueError` when a number is missing or a file has another form of name."""
    found: list[Migration] = []
    for entry in sorted((_HERE / "migrations").iterdir(), key=lambda each: each.name):
        match = _MIGRATION.fullmatch(entry.name)
        if match is None or int(match["version"]) != len(found) + 1:
            raise ValueError(f"{entry.name} is not the next migration.")
        found.append(Migration(len(found) + 1, entry.name, entry.read_text(encoding="utf-8")))
    return found


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was done: the schema before and now, and the names of the migrations between them."""

    before: int
    after: int
    applied: tuple[str, ...]
    shard_count: int


async def prepare(url: Secret, *, shard_count: int, queries: Mapping[str, str]) -> Prepared:
    """Migrate and set up; `SettingsError` when this program does not fit the database, `UnavailableError` when it is away."""
    connection = await database.connect(url)
    try:
        with database.translated():
            async with connection.transaction():
                await connection.execute("SET LOCAL lock_timeout = '20s'; SET LOCAL statement_timeout = '30s'")
                await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
                done = await _migrate(connection)
                await _set_up(connection, shard_count, queries)
        last = done[-1].version if done else len(migrations())
        return Prepared(last - len(done), last, tuple(step.name for step in done), shard_count)
    finally:
        await connection.close()


async def patiently(work: Callable[[], Awaitable[_T]], *, patience: float = PATIENCE) -> _T:
    """Do something with PostgreSQL as soon as it answers; `UnavailableError` when it does not within `patience` seconds."""
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            return await work()
        except UnavailableError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            _log.warning("waiting_for_postgresql", error=str(error))
            await asyncio.sleep(_RETRY)


async def _migrate(connection: Any) -> list[Migration]:
    await connection.execute(_VERSIONS)
    current = await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_migrations")
    known = migrations()
    if current > len(known):
        raise SettingsError(
            f"The database has schema {current}, this version of modbot knows {len(known)}: update modbot."
        )
    await connection.execute("SET LOCAL lock_timeout = '2s'")
    for step in known[current:]:
        await connection.execute(step.sql)
        await connection.execute(
            "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)", step.version, step.name
        )
    return known[current:]


async def _set_up(connection: Any, shard_count: int, queries: Mapping[str, str]) -> None:
    await connection.execute(queries["set_up"], shard_count)
    fixed = await connection.fetchval(queries["shard_count"])
    if fixed != shard_count:
        raise SettingsError(
            f"MODBOT_SHARD_COUNT is {shard_count}, but this database was set up with {fixed} shards, which cannot change: "
            f"set it to {fixed}."
        )
    numbers = list(range(shard_count))
    names = [ids.formula_shard_id(number, shard_count) for number in numbers]
    await connection.execute(queries["add_shards"], names, numbers)
