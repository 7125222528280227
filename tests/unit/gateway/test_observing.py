"""The gauges of a pod say how it is when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import metricskit
from modbot.domain.ids import ShardId
from modbot.features import all_features
from modbot.ops import metrics
from modbot.services.gateway.observing import Observer
from modbot.shard.registry import Registry

OPEN, WAITING = ShardId("0-of-2"), ShardId("guild-812345678901234567")


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "0-of-2.sqlite3"
    path.write_bytes(b"x" * 4096)
    engine = SimpleNamespace(effects_waiting=lambda: (3, 7.5))
    there = SimpleNamespace(engine=engine, connected=True, guilds=40, path=path)
    away = SimpleNamespace(engine=None, connected=False, guilds=0, path=tmp_path / "nothing.sqlite3")
    tools = SimpleNamespace(registry=Registry(all_features()))
    grant = SimpleNamespace(rest_per_second=12.5, rest_open=False)
    yield SimpleNamespace(
        surroundings=SimpleNamespace(data_dir=tmp_path, tools=tools),
        lease=SimpleNamespace(grant=grant, seconds_left=lambda: 4.5),
        shards={OPEN: there, WAITING: away},
    )
    metrics.forget_shard(OPEN)
    metrics.forget_shard(WAITING)


def test_a_look_says_what_is(pod: Any) -> None:
    Observer(pod).look()
    text = metrics.exposition().decode()
    dedicated = metrics.shard_label(WAITING)
    for line in (
        'modbot_shard_open{shard="0-of-2"} 1.0',
        'modbot_gateway_connected{shard="0-of-2"} 1.0',
        'modbot_shard_guilds{shard="0-of-2"} 40.0',
        'modbot_shard_bytes{shard="0-of-2"} 4096.0',
        'modbot_effects_pending{shard="0-of-2"} 3.0',
        'modbot_effect_oldest_seconds{shard="0-of-2"} 7.5',
        f'modbot_shard_open{{shard="{dedicated}"}} 0.0',
        f'modbot_gateway_connected{{shard="{dedicated}"}} 0.0',
        f'modbot_shard_bytes{{shard="{dedicated}"}} 0.0',
        "modbot_lease_seconds 4.5",
        "modbot_rest_share_per_second 12.5",
        "modbot_rest_open 0.0",
        'modbot_dead_letters_total{handler="setup"} 0.0',
        'modbot_dead_letters_total{handler="snapshot.take_guild"} 0.0',
    ):
        assert line in text.splitlines(), line
    assert 0 < _value(text, "modbot_volume_free_bytes") <= _value(text, "modbot_volume_bytes")
    assert metricskit.ids_in(text) == set()


def _value(text: str, name: str) -> float:
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))
