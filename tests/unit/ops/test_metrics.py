"""What a label may say, and what becomes of the series of a shard that goes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics import MetricWrapperBase

import metricskit
from modbot.domain.ids import GuildId, ShardId, dedicated_shard_id
from modbot.ops import metrics, resources

GUILD = GuildId(812_345_678_901_234_567)
OTHER = GuildId(812_345_678_901_234_568)
FORMULA = ShardId("3-of-16")


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    for shard in (FORMULA, dedicated_shard_id(GUILD), dedicated_shard_id(OTHER)):
        metrics.forget_shard(shard)


def test_a_dedicated_shard_is_called_by_a_number_that_is_not_its_guilds() -> None:
    names = [metrics.shard_label(dedicated_shard_id(guild)) for guild in (GUILD, OTHER, GUILD)]
    assert names[0] == names[2] != names[1]
    assert all(re.fullmatch(r"dedicated-\d{1,3}", name) for name in names)
    assert metrics.shard_label(FORMULA) == "3-of-16"


def test_no_series_of_a_dedicated_shard_names_its_guild() -> None:
    shard = dedicated_shard_id(GUILD)
    for each in _per_shard():
        each.of(shard, *["x"] * (len(each.family._labelnames) - 1))
    text = metrics.exposition().decode()
    assert f'modbot_gateway_connected{{shard="{metrics.shard_label(shard)}"}} 0.0' in text
    assert metricskit.ids_in(text, GUILD) == set()


def test_every_metric_with_a_shard_is_made_where_labels_are_made() -> None:
    families = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    assert len(families) > 10
    assert [family._name for family in families if "shard" in family._labelnames] == []
    assert {each.family._labelnames[0] for each in _per_shard()} == {"shard"}
    assert len(_per_shard()) > 10


def test_nobody_goes_round_it() -> None:
    sources = sorted((Path(metrics.__file__).parents[1]).rglob("*.py"))
    passed = [
        f"{path.name}: {line.strip()}"
        for path in sources
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"\.labels\([^)]*shard", line) and path.name != "metrics.py"
    ]
    assert passed == []


def test_gauges_of_a_shard_go_with_it_and_counters_stay() -> None:
    shard = dedicated_shard_id(GuildId(GUILD + 2))
    label = f'shard="{metrics.shard_label(shard)}"'
    metrics.CONNECTED.of(shard).set(1)
    metrics.REPLICA_LAG.of(shard).set(3)
    metrics.CONNECTED.of(FORMULA).set(1)
    metrics.EVENTS.of(shard).inc(5)
    metrics.forget_shard(shard)
    lines = metrics.exposition().decode().splitlines()
    assert [line for line in lines if label in line and "modbot_events_" not in line] == []
    assert f"modbot_events_total{{{label}}} 5.0" in lines
    assert f'modbot_gateway_connected{{shard="{FORMULA}"}} 1.0' in lines
    metrics.forget_shard(shard)  # a second time is nothing


def test_what_alarms_look_at_begins_at_nothing_and_not_with_the_first_loss() -> None:
    lines = metrics.exposition().decode()
    for name in (
        'modbot_restores_total{outcome="behind"}',
        'modbot_restores_total{outcome="damaged"}',
        'modbot_handoffs_total{outcome="failed"}',
        'modbot_rest_requests_total{outcome="denied"}',
        'modbot_rest_limited_total{scope="global"}',
    ):
        assert f"{name} " in lines


@pytest.mark.parametrize(
    ("content", "expected"), [("536870912\n", "5.36870912e+08"), ("max\n", None), ("9223372036854771712\n", None)]
)
def test_the_memory_limit_is_told_when_there_is_one(tmp_path: Path, content: str, expected: str | None) -> None:
    (tmp_path / "memory.max").write_text(content, "ascii")
    registry = CollectorRegistry()
    registry.register(resources.MemoryLimit((tmp_path / "absent", tmp_path / "memory.max")))
    lines = generate_latest(registry).decode().splitlines()
    found = [line.split()[1] for line in lines if line.startswith("modbot_memory_limit_bytes ")]
    assert found == ([] if expected is None else [expected])


def _per_shard() -> list[metrics.PerShard[MetricWrapperBase]]:
    return [value for value in vars(metrics).values() if isinstance(value, metrics.PerShard)]
