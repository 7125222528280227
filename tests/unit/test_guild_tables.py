"""What archives rely on in the schema that all features make together, and how guild tables are found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import apsw
import pytest

from modbot.features import all_features
from modbot.shard import database, guild_tables, migrations, snapshot
from modbot.shard.feature import Feature
from modbot.shard.migrations import Series
from modbot.shard.registry import Registry

OF_NO_GUILD = {"shard", "migrations", "gaps"}
STAYING = {"transfers", "recorded_events", "held_events", "repairs", "repair_sources", "noted", "gap_losses"}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    connection = database.connect(tmp_path / "file.sqlite3")
    migrations.migrate(connection, Registry(all_features()).series)
    yield connection
    connection.close()


def test_every_table_is_a_guilds_or_known_to_be_nobodys(connection: apsw.Connection) -> None:
    assert set(guild_tables.others(guild_tables.reader(connection))) == OF_NO_GUILD | STAYING


def test_nothing_but_tables_and_indexes(connection: apsw.Connection) -> None:
    kinds = connection.execute("SELECT DISTINCT type FROM sqlite_schema ORDER BY type").fetchall()
    assert kinds == [("index",), ("table",)]


def test_nothing_refers_to_a_row_id(connection: apsw.Connection) -> None:
    tables = guild_tables.find(guild_tables.reader(connection))
    assert {table.row_id for table in tables} == {None, "effect_id", "dead_letter_id"}
    for table in tables:
        assert connection.execute("SELECT * FROM pragma_foreign_key_list(?)", (table.name,)).fetchall() == []


def test_withheld_columns_exist_and_may_be_empty(connection: apsw.Connection) -> None:
    for table, columns in Registry(all_features()).withheld.items():
        required = dict(connection.execute('SELECT name, "notnull" FROM pragma_table_info(?)', (table,)))
        assert [column for column in columns if required.get(column, 1)] == []


def test_the_snapshot_is_what_its_statements_write() -> None:
    text = resources.files("modbot.shard").joinpath("snapshot.sql").read_text("utf-8")
    assert set(re.findall(r"INSERT INTO (\w+)", text)) == snapshot.TABLES


def test_the_table_of_a_new_feature_is_found(connection: apsw.Connection) -> None:
    series = Series("new", ('CREATE TABLE "odd ""name" (guild_id INTEGER, a TEXT, b, PRIMARY KEY (b, guild_id))',))
    migrations.migrate(connection, [*Registry(all_features()).series, series])
    found = {table.name: table for table in guild_tables.find(guild_tables.reader(connection))}
    table = found['odd "name']
    assert (table.columns, table.order, table.row_id) == (("guild_id", "a", "b"), ("b", "guild_id"), None)
    assert connection.execute(table.sql("SELECT count(*) FROM {table}")).fetchall() == [(0,)]


def test_two_features_cannot_withhold_for_one_table() -> None:
    from modbot.domain.errors import SettingsError

    with pytest.raises(SettingsError):
        Registry([Feature("a", withheld={"t": ("x",)}), Feature("b", withheld={"t": ("y",)})])
