"""The files of SQL: every statement named, described and used; malformed ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from modbot.cluster import protocol
from modbot.domain.ids import Epoch, PodId, ShardId
from modbot.services import config
from modbot.services.config import board, statements


def test_statements_are_split_by_name() -> None:
    assert dict(statements.parse("-- name: a\n-- One.\nSELECT 1\n\n-- name: b\n-- Two.\nSELECT\n 2\n")) == {
        "a": "SELECT 1",
        "b": "SELECT\n 2",
    }


@pytest.mark.parametrize(
    "text",
    [
        "-- name: a\nSELECT 1",
        "-- name: a\n-- Nothing follows.\n",
        "-- name: a\n-- One.\nSELECT 1\n-- name: a\n-- Again.\nSELECT 1",
    ],
)
def test_malformed_files_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'a'"):
        statements.parse(text)


def test_every_statement_is_used_and_every_used_one_exists() -> None:
    folder = Path(config.__path__[0])
    source = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    unused = [name for name in statements.load() if f'"{name}"' not in source]
    assert unused == []


def test_migrations_are_numbered_without_a_gap() -> None:
    found = statements.migrations()
    assert [step.version for step in found] == list(range(1, len(found) + 1))


def test_a_difference_names_only_what_changed() -> None:
    shards = [protocol.Shard(shard_id=ShardId(f"{number}-of-2"), epoch=Epoch(0)) for number in range(2)]
    moved = protocol.Shard(shard_id=ShardId("1-of-2"), epoch=Epoch(1), owner=PodId("a"))
    old = protocol.Table(shard_count=2, pods=[], shards=shards)
    new = protocol.Table(shard_count=2, pods=[], shards=[shards[0], moved])
    assert board.difference(old, new) == protocol.Change(shards=[moved])
