"""The files of SQL: every statement named, described and used; malformed ones are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import modbot
from modbot.cluster import protocol
from modbot.domain.errors import SettingsError
from modbot.domain.ids import Epoch, PodId, ShardId
from modbot.ops import statements
from modbot.services.config import board, migrating

FILES = [path for path in Path(modbot.__path__[0]).rglob("*.sql") if path.parent.name != "migrations"]


def test_statements_are_split_by_name() -> None:
    text = "-- name: a\n-- One.\nSELECT 1\n\n-- name: b\n-- Two.\nSELECT\n 2\n"
    assert dict(statements.parse(text, source="here")) == {"a": "SELECT 1", "b": "SELECT\n 2"}


@pytest.mark.parametrize(
    "text",
    [
        "-- name: a\nSELECT 1",
        "-- name: a\n-- Nothing follows.\n",
        "-- name: a\n-- One.\nSELECT 1\n-- name: a\n-- Again.\nSELECT 1",
    ],
)
def test_malformed_files_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="here: the statement a "):
        statements.parse(text, source="here")


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_statement_is_used_and_every_used_one_exists(path: Path) -> None:
    sources = [each.read_text("utf-8") for each in path.parent.glob("*.py")]
    users = sources if path.name == "queries.sql" else [source for source in sources if path.name in source]
    text = "".join(users)
    known = set(statements.parse(path.read_text("utf-8"), source=path.name))
    assert [name for name in known if f'"{name}"' not in text] == []
    others = {
        other for each in path.parent.glob("*.sql") for other in statements.parse(each.read_text("utf-8"), source="")
    }
    assert set(re.findall(r'_SQL\["(\w+)"\]', text)) <= known | others


def test_migrations_are_numbered_without_a_gap() -> None:
    found = migrating.migrations()
    assert [step.version for step in found] == list(range(1, len(found) + 1))


def test_a_difference_names_only_what_changed() -> None:
    shards = [protocol.Shard(shard_id=ShardId(f"{number}-of-2"), epoch=Epoch(0)) for number in range(2)]
    moved = protocol.Shard(shard_id=ShardId("1-of-2"), epoch=Epoch(1), owner=PodId("a"))
    old = protocol.Table(shard_count=2, pods=[], shards=shards)
    new = protocol.Table(shard_count=2, pods=[], shards=[shards[0], moved])
    assert board.difference(old, new) == protocol.Change(shards=[moved])
