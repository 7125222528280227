"""Every check finds its fault, names what it is about, and says nothing when all is well or only nearly wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from doctorkit import (
    APPLICATION,
    EXPECTED,
    GIB,
    STORE,
    clustered,
    healthy,
    load,
    look,
    metrics,
    plan,
    pod,
    shard,
)

from modbot.cli.doctor import checks
from modbot.cli.doctor.checks import config
from modbot.cli.doctor.facts import (
    ConfigService,
    Discord,
    Environment,
    Facts,
    PodShard,
    Programs,
    Service,
    Store,
    Volume,
)
from modbot.cli.doctor.findings import Level
from modbot.cluster import protocol
from modbot.domain.ids import ShardId

_URL = "http://config-service:3001"
_HELD = protocol.HeldShard(shard_id=ShardId("1-of-2"), reason="gateway-1 is full.")
_LEFT = {"state": protocol.PodState.LEFT, "lease_seconds": -5.0}


def _config(**changes: Any) -> Facts:
    refused = changes.pop("token_refused", False)
    return healthy(config=ConfigService(dataclasses.replace(Service(_URL), **changes), token_refused=refused))


def _volume(**changes: Any) -> Facts:
    return healthy(
        volumes=(dataclasses.replace(Volume("/data", size=GIB, free=GIB // 2, largest=0), **changes),),
        before_start=changes.get("locked", False),
    )


def _programs(**changes: Any) -> Facts:
    return healthy(programs=dataclasses.replace(Programs(litestream_version="0.5.17"), **changes))


def _pod(*lines: tuple[str, float], **labels: str) -> Facts:
    return healthy(pods=(look(0, of=metrics(*lines, **labels)),))


def _discord(**changes: Any) -> Facts:
    application = dataclasses.replace(APPLICATION, **changes)
    return healthy(discord=Discord(remaining=900, application=application, expected=EXPECTED))


def _served(**changes: Any) -> Facts:
    return clustered(pods=(pod(0, load("0-of-2", **changes)), pod(1, load("1-of-2"))))


def _acting(word: str) -> Facts:
    return healthy(pods=(look(0, shards=(PodShard("0-of-2", True, "", word),)),))


FOUND: list[tuple[str, str, Facts]] = [
    ("settings", "", healthy(environment=Environment(problems=("DISCORD_HASH is not set.",)))),
    ("variable_empty", "LITESTREAM_BUCKET", healthy(environment=Environment(empty=("LITESTREAM_BUCKET",)))),
    ("variable_unexpanded", "POD_NAME", healthy(environment=Environment(unexpanded=("POD_NAME",)))),
    ("sqlite_too_old", "", _programs(sqlite="SQLite 3.40.1 is too old.")),
    ("litestream_missing", "", _programs(litestream_version="")),
    ("litestream_too_old", "", _programs(litestream_version="0.5.9")),
    ("litestream_too_old", "", _programs(litestream_version="(development build)")),
    ("store_away", STORE, healthy(store=Store(STORE, "403 AccessDenied"))),
    ("no_store", "this pod", healthy(store=Store())),
    ("no_store", "gateway-1", clustered(shards=(shard("0-of-2", 0), shard("1-of-2", 1, replica_store=None)))),
    ("volume_not_writable", "/data", _volume(problem="/data: Read-only file system.")),
    ("volume_locked", "/data", _volume(locked=True)),
    ("volume_full", "/data", _volume(free=63 * 1024**2)),
    ("volume_nearly_full", "/data", _volume(free=GIB // 4, largest=GIB // 4)),
    ("volume_nearly_full", "/data", _volume(free=GIB // 8)),
    ("not_ready", "gateway", healthy(itself=Service("http://127.0.0.1:3000", unready="answers 503: draining"))),
    ("not_ready", "gateway", healthy(itself=Service("http://127.0.0.1:3000", problem="Connection refused"))),
    ("config_unreachable", "config", _config(problem="Connection refused")),
    ("internal_token_refused", "MODBOT_INTERNAL_TOKEN", _config(token_refused=True)),
    ("config_not_ready", "config", _config(unready="answers 503: PostgreSQL does not answer.")),
    ("pool_exhausted", "config", _config(metrics=metrics(("modbot_config_pool_connections", 5.0), use="busy"))),
    ("clock_differs", "config", _config(clock_ahead=31.0)),
    ("clock_differs", "gateway-1", healthy(pods=(look(1, clock_ahead=-11.0),))),
    ("identify_budget_low", "", healthy(discord=Discord(remaining=199))),
    (
        "identify_budget_low",
        "",
        healthy(
            discord=None,
            config=ConfigService(Service(_URL, metrics=metrics(("modbot_config_identify_remaining", 12.0)))),
        ),
    ),
    ("no_live_pod", "", clustered(pods=(pod(0, **_LEFT),), shards=())),
    (
        "pod_lost",
        "gateway-1",
        clustered(pods=(pod(0), pod(1, state=protocol.PodState.LOST, lease_seconds=-40.0), pod(2))),
    ),
    ("shard_unowned", "1-of-2", clustered(shards=(shard("0-of-2", 0), shard("1-of-2", None, waiting="All are full.")))),
    ("session_not_connected", "gateway-0", _served(connected=False)),
    ("event_lag", "gateway-0", _served(lag_seconds=2.5)),
    ("replica_behind", "gateway-0", _served(replica_lag=11.0)),
    (
        "stores_differ",
        "",
        clustered(shards=(shard("0-of-2", 0), shard("1-of-2", 1, replica_store="s3://bucket/other"))),
    ),
    ("too_little_room", "", clustered(pods=(pod(0, capacity=2), pod(1, capacity=1)))),
    ("too_little_room", "", clustered(pods=(pod(0),))),
    ("uneven", "", clustered(plan=plan(imbalance=1.3))),
    ("moves_held", "1-of-2", clustered(plan=plan(held=[_HELD]))),
    ("moves_paused", "", clustered(plan=plan(paused=True))),
    ("pod_drained", "gateway-1", clustered(pods=(pod(0), pod(1, cordoned=True), pod(2)))),
    ("pod_unreachable", "gateway-1", healthy(pods=(look(1, problem="Connection refused"),))),
    (
        "shard_not_open",
        "gateway-0",
        healthy(pods=(look(0, shards=(PodShard("0-of-2", False, "no_sound_replica", "lease"),)),)),
    ),
    ("not_acting", "gateway-0", _acting("no")),
    ("failsafe_mode", "gateway-0", _acting("failsafe")),
    ("sidecar_away", "gateway-0", _pod(("modbot_litestream_up", 0.0))),
    ("breaker_open", "gateway-0", _pod(("modbot_rest_open", 0.0))),
    ("large_log", "gateway-0", _pod(("modbot_wal_bytes", 501.0 * 1024**2), shard="0-of-2")),
    ("dead_letters", "gateway-0", _pod(("modbot_dead_letters_total", 2.0), handler="reports.track")),
    ("gaps_being_repaired", "gateway-0", _pod(("modbot_gap_guilds", 3.0))),
    ("gap_unreadable", "gateway-0", _pod(("modbot_gap_unreadable_total", 1.0), kind="channel")),
    (
        "versions_differ",
        "",
        healthy(pods=tuple(look(n, of=metrics(("modbot_build_info", 1.0), version=f"0.{n}.0")) for n in (1, 2))),
    ),
    ("http_unreachable", "http", healthy(http=Service("http://http-service", problem="Connection refused"))),
    ("http_not_ready", "http", healthy(http=Service("http://http-service", unready="answers 503: no routing table"))),
    (
        "deferrals_pending",
        "http",
        healthy(http=Service("http://http-service", metrics=metrics(("modbot_http_deferrals_pending", 4.0)))),
    ),
    (
        "deferrals_lost",
        "http",
        healthy(http=Service("http://http-service", metrics=metrics(("modbot_http_deferrals_lost_total", 1.0)))),
    ),
    ("discord_unreachable", "Discord", healthy(discord=Discord(problem="GET /gateway/bot TimeoutError"))),
    ("bot_token_refused", "DISCORD_HASH", healthy(discord=Discord(token_refused=True))),
    ("intent_missing", "Message Content Intent", _discord(flags=1 << 15)),
    ("application_differs", "DISCORD_APP_ID", _discord(application_id=43)),
    ("public_key_differs", "DISCORD_PUBLIC_KEY", _discord(verify_key="cd" * 32)),
    ("no_interactions_endpoint", "interactions", _discord(interactions_url="")),
    (
        "interactions_endpoint_elsewhere",
        "interactions",
        _discord(interactions_url="https://other.example/interactions"),
    ),
    ("interactions_endpoint_elsewhere", "interactions", _discord(interactions_url="https://modbot.example.org/bot")),
]

SILENT: list[tuple[str, Facts]] = [
    ("nothing was looked at", Facts(healthy().place)),
    ("without a store no program is needed", dataclasses.replace(_programs(litestream_version=""), store=None)),
    ("the lock of a pod that runs is its own", healthy(volumes=(Volume("/data", locked=True, size=GIB, free=GIB),))),
    ("just room enough", _volume(free=GIB // 2, largest=GIB // 2 - 64 * 1024**2)),
    ("Litestream with a letter in front", _programs(litestream_version="v0.6.0")),
    ("a pool that breathes", _config(metrics=metrics(("modbot_config_pool_connections", 4.0), use="busy"))),
    ("a clock within a second or two", _config(clock_ahead=9.0)),
    ("just enough IDENTIFYs", healthy(discord=Discord(remaining=200))),
    ("a pod that was removed long ago", clustered(pods=(pod(0), pod(1), pod(2, state=protocol.PodState.LOST, lease_seconds=-90_000.0)))),
    ("a pod that left in order", clustered(pods=(pod(0), pod(1), pod(2, **_LEFT)))),
    ("a replica a little behind", _served(replica_lag=9.0)),
    ("no replica at all", _served(replica_lag=None)),
    ("a little uneven", clustered(plan=plan(imbalance=1.2))),
    ("one pod has the whole load", clustered(pods=(pod(0, capacity=2), pod(1, capacity=2)), plan=plan(imbalance=1.0))),
    ("a shard that is opening", healthy(pods=(look(0, shards=(PodShard("0-of-2", False, "", "lease"),)),))),
    ("a pod that acts by its lease", _acting("lease")),
    ("a log that grows a little", _pod(("modbot_wal_bytes", 60.0 * 1024**2), shard="0-of-2")),
    ("no version is told", healthy(pods=(look(0), look(1)))),
    ("the limited form of an intent or the full one", _discord(flags=1 << 18)),
    ("the other path of interactions", _discord(interactions_url="https://modbot.example.org/webhooks/discord")),
    ("our own address is not known", healthy(discord=Discord(remaining=900, application=APPLICATION))),
]  # fmt: skip


@pytest.mark.parametrize(("code", "subject", "facts"), FOUND, ids=[f"{code} {n}" for n, (code, *_) in enumerate(FOUND)])
def test_a_fault_is_found_and_nothing_else(code: str, subject: str, facts: Facts) -> None:
    assert [(each.kind.code, each.subject) for each in checks.decide_findings(facts)] == [(code, subject)]


@pytest.mark.parametrize(("_why", "facts"), SILENT, ids=[why for why, _ in SILENT])
def test_nothing_is_said_about_what_is_well(_why: str, facts: Facts) -> None:
    assert checks.decide_findings(facts) == []


def test_healthy_facts_have_no_findings() -> None:
    assert checks.decide_findings(healthy()) == []


def test_every_kind_has_a_case() -> None:
    assert {kind.code for kind in checks.KINDS} == {code for code, _, _ in FOUND}
    assert len({kind.code for kind in checks.KINDS}) == len(checks.KINDS)


def test_what_is_wrong_comes_before_the_warnings() -> None:
    facts = clustered(plan=plan(paused=True), shards=(shard("0-of-2", None), shard("1-of-2", 1)))
    assert [each.kind.level for each in checks.decide_findings(facts)] == [Level.WRONG, Level.WARNING]


def test_a_lag_that_the_sidecar_explains_is_not_told_twice() -> None:
    facts = dataclasses.replace(_served(replica_lag=60.0), pods=(look(0, of=metrics(("modbot_litestream_up", 0.0))),))
    assert [each.kind.code for each in checks.decide_findings(facts)] == ["sidecar_away"]


def test_before_a_start_postgresql_may_be_away() -> None:
    assert checks.decide_findings(dataclasses.replace(_config(unready="answers 503"), before_start=True)) == []


def test_the_pool_is_as_large_as_the_services() -> None:
    source = (Path(checks.__file__).parents[3] / "services/config/database.py").read_text("utf-8")
    assert f"_POOL_SIZE = {config.POOL}\n" in source


@pytest.mark.parametrize("kind", checks.KINDS, ids=lambda kind: kind.code)
def test_every_kind_speaks_in_sentences(kind: Any) -> None:
    assert [
        text for text in (kind.means, kind.effect, kind.fix) if not text[:1].isupper() and text[:1] not in "`*{"
    ] == []
    assert [text for text in (kind.means, kind.effect, kind.fix) if not text.endswith((".", "`."))] == []
