"""`modbot migrate`: the database has this version's schema afterwards, and the operator reads what was done."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest
from click.testing import CliRunner, Result
from configkit import SHARDS

from modbot.cli.main import main as command_line
from modbot.ops.settings import Secret
from modbot.services.config import migrating


async def _migrate(url: Secret, *arguments: str, shards: int = SHARDS) -> Result:
    environment = {"DATABASE_URL": url.reveal(), "MODBOT_SHARD_COUNT": str(shards)}
    return await asyncio.to_thread(CliRunner().invoke, command_line, ["migrate", *arguments], env=environment)


async def test_an_empty_database_gets_everything_and_the_second_time_nothing(empty_database_url: Secret) -> None:
    last = migrating.migrations()[-1]
    result = await _migrate(empty_database_url)
    assert result.exit_code == 0
    assert f"from schema 0 to {last.version}" in result.stdout
    assert last.name in result.stdout
    again = await _migrate(empty_database_url, "--json")
    expected = {"before": last.version, "after": last.version, "applied": [], "shard_count": SHARDS}
    assert (again.exit_code, json.loads(again.stdout)) == (0, expected)
    assert f"has schema {last.version} already" in (await _migrate(empty_database_url)).stdout


async def test_only_what_is_missing_is_done(empty_database_url: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    known = migrating.migrations()
    with monkeypatch.context() as older:
        older.setattr(migrating, "migrations", lambda: known[:-1])
        await _migrate(empty_database_url)
    done = json.loads((await _migrate(empty_database_url, "--json")).stdout)
    assert done == {
        "before": known[-1].version - 1,
        "after": known[-1].version,
        "applied": [known[-1].name],
        "shard_count": SHARDS,
    }


async def test_what_does_not_fit_is_refused_and_changes_nothing(
    database_url: Secret, empty_database_url: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await _migrate(database_url, shards=SHARDS + 1)
    assert (other.exit_code, f"set it to {SHARDS}." in other.stderr) == (2, True)
    connection = await asyncpg.connect(empty_database_url.reveal())
    await connection.execute(f"{migrating._VERSIONS}; INSERT INTO schema_migrations VALUES (9000, 'later')")
    newer = await _migrate(empty_database_url)
    assert (newer.exit_code, "update modbot" in newer.stderr) == (2, True)
    assert await connection.fetchval("SELECT count(*) FROM schema_migrations") == 1
    await connection.close()


async def test_a_database_that_does_not_come_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrating.patiently, "__kwdefaults__", {"patience": 0.0})
    result = await _migrate(Secret("postgresql://u:a-password@127.0.0.1:1/none"))
    assert result.exit_code == 2
    assert "PostgreSQL does not answer" in result.stderr
    assert "a-password" not in result.output
