"""Migrations: forward only, several components, all or nothing."""

import apsw
import pytest

from modbot.shard import database, migrations
from modbot.shard.migrations import NewerFileError, Series

_A1, _A2 = "CREATE TABLE a (x INTEGER)", "ALTER TABLE a ADD COLUMN y INTEGER; INSERT INTO a VALUES (1, 2)"
_B1 = "CREATE TABLE b (x INTEGER)"


@pytest.fixture
def connection(tmp_path):
    connection = database.connect(tmp_path / "file.sqlite3")
    yield connection
    connection.close()


def versions(connection):
    return dict(connection.execute("SELECT component, version FROM migrations"))


def test_components_go_forward_on_their_own(connection):
    migrations.migrate(connection, [Series("a", (_A1,))])
    migrations.migrate(connection, [Series("a", (_A1, _A2)), Series("b", (_B1,))])
    migrations.migrate(connection, [Series("a", (_A1, _A2)), Series("b", (_B1,))])
    assert versions(connection) == {"a": 2, "b": 1}
    assert connection.execute("SELECT * FROM a").fetchall() == [(1, 2)]


def test_a_newer_file_is_refused_and_left_alone(connection):
    migrations.migrate(connection, [Series("a", (_A1, _A2))])
    with pytest.raises(NewerFileError):
        migrations.migrate(connection, [Series("b", (_B1,)), Series("a", (_A1,))])
    assert versions(connection) == {"a": 2}
    assert not connection.in_transaction


def test_a_migration_that_fails_undoes_all_components(connection):
    with pytest.raises(apsw.SQLError):
        migrations.migrate(connection, [Series("a", (_A1,)), Series("b", ("CREATE NONSENSE",))])
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == []


def test_a_full_disk_is_told_as_such(connection):
    connection.execute("PRAGMA max_page_count = 4")
    fill = "CREATE TABLE c (x); INSERT INTO c SELECT randomblob(9000) FROM (VALUES (1), (2), (3))"
    single = "CREATE TABLE c (x); INSERT INTO c VALUES (randomblob(90000))"
    for script in (fill, single):
        with pytest.raises(apsw.FullError):
            migrations.migrate(connection, [Series("c", (script,))])
        assert not connection.in_transaction
