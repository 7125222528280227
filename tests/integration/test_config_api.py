"""The config service over real HTTP and real PostgreSQL: every refusal changes nothing, every answer has its type."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import msgspec
import pytest
import structlog
from configkit import ID_1, ID_2, SHARDS, TOKEN, Caller, registration
from openapi_spec_validator import validate

import metricskit
from modbot.cluster import protocol
from modbot.ops.settings import ConfigSettings
from modbot.services.config import api, main

GUILD = 812_345_678_901_234_567
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "config-api.md"


@pytest.fixture
async def call(config_settings: ConfigSettings) -> AsyncIterator[Caller]:
    async with main.serving(config_settings) as (url, _service), aiohttp.ClientSession() as session:
        yield Caller(url, session)


async def contents(settings: ConfigSettings) -> dict[str, list[Any]]:
    connection = await asyncpg.connect(settings.database_url.reveal())
    names = ["pods", "incarnations", "shards", "shard_load", "identify_keys", "identify_budget", "inbox"]
    try:
        return {name: await connection.fetch(f"SELECT * FROM {name} ORDER BY 1") for name in names}
    finally:
        await connection.close()


async def test_a_pod_registers_renews_and_leaves(call: Caller) -> None:
    status, grant, _ = await call("POST", "/pods/gateway-0/register", registration())
    assert (status, grant["shard_count"], grant["rest_per_second"]) == (200, SHARDS, 40.5)
    while not grant["shards"]:
        status, grant, _ = await call("POST", "/pods/gateway-0/renew", {"incarnation": ID_1})
        assert status == 200
    assert [(each["epoch"], each["owner"]) for each in grant["shards"]] == [(1, "gateway-0")] * SHARDS
    status, body, _ = await call("POST", "/pods/gateway-0/leave", {"incarnation": ID_1, "keep": True})
    assert (status, body) == (204, b"")
    status, body, kind = await call("POST", "/pods/gateway-0/renew", {"incarnation": ID_1})
    assert (status, body["code"], kind) == (409, "stale_epoch", "application/problem+json")


ENTRY = {"interaction_id": 5, "shard_id": f"0-of-{SHARDS}", "payload": "{}"}
IDENTIFY = {
    "pod_id": "gateway-0",
    "incarnation": ID_1,
    "shard_id": f"0-of-{SHARDS}",
    "epoch": 1,
    "limits": {"max_concurrency": 1, "remaining": 1000, "reset_after": 1.0},
}
ACKNOWLEDGE = {"pod_id": "gateway-0", "incarnation": ID_1, "epoch": 9, "interaction_ids": [5]}
REFUSED = {
    "not json": ("POST", "/pods/gateway-1/register", b"{", 400),
    "no body": ("POST", "/pods/gateway-1/register", None, 400),
    "not utf-8": ("POST", "/pods/gateway-1/register", b'{"incarnation": "\xff"}', 400),
    "deeply nested": ("POST", "/pods/gateway-1/register", b"[" * 100_000, 400),
    "unknown field": ("POST", "/pods/gateway-1/register", registration(color="red"), 400),
    "missing field": ("POST", "/pods/gateway-1/register", {"incarnation": ID_1}, 400),
    "wrong type": ("POST", "/pods/gateway-1/register", registration(capacity="8"), 400),
    "no capacity": ("POST", "/pods/gateway-1/register", registration(capacity=0), 400),
    "huge capacity": ("POST", "/pods/gateway-1/register", registration(incarnation=ID_2, capacity=2**40), 400),
    "bad pod name": ("POST", "/pods/Gateway_1/register", registration(), 400),
    "bad incarnation": ("POST", "/pods/gateway-1/register", registration(incarnation="x"), 400),
    "upper-case incarnation": (
        "POST",
        "/pods/gateway-1/register",
        registration(incarnation="ABCDEFAB-0000-4000-8000-000000000000"),
        400,
    ),
    "bad address": ("POST", "/pods/gateway-1/register", registration(address="gateway-1:3000"), 400),
    "zero character": ("POST", "/pods/gateway-1/register", registration(incarnation=ID_2, replica_store="a\0b"), 400),
    "incarnation of another pod": ("POST", "/pods/gateway-1/register", registration(), 409),
    "old lease still runs": (
        "POST",
        "/pods/gateway-0/register",
        registration(incarnation=ID_2, owns_volume=False),
        409,
    ),
    "renewal of nobody": ("POST", "/pods/gateway-1/renew", {"incarnation": ID_1}, 409),
    "renewal of another incarnation": ("POST", "/pods/gateway-0/renew", {"incarnation": str(uuid.UUID(int=7))}, 409),
    "renewal with negative demand": ("POST", "/pods/gateway-0/renew", {"incarnation": ID_1, "rest_demand": -1}, 400),
    "leaving of nobody": ("POST", "/pods/gateway-1/leave", {"incarnation": ID_1, "keep": False}, 409),
    "permit for an unknown shard": ("POST", "/permits/identify", IDENTIFY | {"shard_id": "77-of-99"}, 404),
    "permit without concurrency": (
        "POST",
        "/permits/identify",
        IDENTIFY | {"limits": IDENTIFY["limits"] | {"max_concurrency": 0}},
        400,
    ),
    "permit with a huge epoch": ("POST", "/permits/identify", IDENTIFY | {"epoch": 2**63}, 400),
    "empty inbox call": ("POST", "/inbox", {"entries": []}, 400),
    "entry for an unknown shard": ("POST", "/inbox", {"entries": [ENTRY, ENTRY | {"shard_id": "5-of-9"}]}, 404),
    "entry with a bad shard name": ("POST", "/inbox", {"entries": [ENTRY, ENTRY | {"shard_id": "x"}]}, 400),
    "entry with a huge id": ("POST", "/inbox", {"entries": [ENTRY | {"interaction_id": 2**63}]}, 400),
    "entry with a zero character": ("POST", "/inbox", {"entries": [ENTRY | {"payload": "\0"}]}, 400),
    "deferral for an unknown shard": ("POST", "/inbox/deferred", {"entries": [ENTRY | {"shard_id": "5-of-9"}]}, 404),
    "reading without an owner": ("GET", f"/shards/0-of-{SHARDS}/inbox", None, 400),
    "reading by a stranger": (
        "GET",
        f"/shards/0-of-{SHARDS}/inbox?pod_id=gateway-0&incarnation={ID_1}&epoch=9",
        None,
        409,
    ),
    "reading an unknown shard": ("GET", f"/shards/5-of-9/inbox?pod_id=gateway-0&incarnation={ID_1}&epoch=1", None, 404),
    "acknowledging by a stranger": ("POST", f"/shards/0-of-{SHARDS}/inbox/acknowledge", ACKNOWLEDGE, 409),
    "acknowledging for an unknown shard": ("POST", "/shards/5-of-9/inbox/acknowledge", ACKNOWLEDGE, 404),
    "bad guild": ("GET", "/guild/abc/assignment", None, 400),
    "huge guild": ("GET", "/guild/99999999999999999999/assignment", None, 400),
    "bad guild in a list": ("GET", "/guild-assignments?guild_id=1&guild_id=-2", None, 400),
    "unknown parameter": ("GET", "/shards?color=red", None, 400),
    "unknown path": ("GET", "/nowhere", None, 404),
    "wrong method": ("GET", "/pods/gateway-0/renew", None, 405),
    "wrong method on a read": ("DELETE", "/shards", None, 405),
}


async def test_refused_calls_are_problems_and_change_nothing(config_settings: ConfigSettings) -> None:
    lasting = msgspec.structs.replace(config_settings, lease_ttl=60.0, placement_settle=100.0)
    async with main.serving(lasting) as (url, _service), aiohttp.ClientSession() as session:
        call = Caller(url, session)
        await call("POST", "/pods/gateway-0/register", registration())
        await call("POST", "/inbox", {"entries": [ENTRY | {"interaction_id": 1}]})
        before = await contents(lasting)
        for name, (method, path, body, expected) in REFUSED.items():
            status, answer, kind = await call(method, path, body)
            assert (status, kind) == (expected, "application/problem+json"), (name, answer)
            assert msgspec.convert(answer, protocol.Problem).status == expected, name
            assert await contents(lasting) == before, name


OPEN = {"/started", "/health", "/ready", "/metrics", "/guild-assignments"}


async def test_every_call_but_the_open_ones_needs_the_token(call: Caller) -> None:
    for operation in [*api.OPERATIONS, api.Operation("GET", "/openapi.json", api.operations.health)]:
        for token in (None, "", "wrong", TOKEN + "x", "ä"):
            status, body, _ = await call(operation.method, operation.path.format_map(Anything()), token=token)
            if operation.path in OPEN:
                assert status == 200, operation.path
            else:
                assert (status, body["code"]) == (401, "unauthorized"), operation.path


class Anything(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "1"


async def test_the_description_is_valid_openapi_and_lists_every_route(call: Caller) -> None:
    status, document, _ = await call("GET", "/openapi.json")
    assert status == 200
    validate(document)
    listed = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert listed == {(each.method, each.path) for each in api.OPERATIONS}
    without = {
        path for path, methods in document["paths"].items() for told in methods.values() if told.get("security") == []
    }
    assert without == OPEN


def test_the_reference_page_says_which_calls_are_open() -> None:
    rows = REFERENCE.read_text(encoding="utf-8").splitlines()
    marked = {row.split("`")[1].split()[1] for row in rows if row.startswith("| `") and "` (open) |" in row}
    assert marked == OPEN


def test_the_reference_page_lists_every_route() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    missing = [f"{each.method} {each.path}" for each in api.OPERATIONS if f"`{each.method} {each.path}`" not in text]
    assert missing == []


async def test_guilds_are_found_by_formula_and_by_question(call: Caller) -> None:
    _, grant, _ = await call("POST", "/pods/gateway-0/register", registration())
    while len(grant["shards"]) < SHARDS:
        _, grant, _ = await call("POST", "/pods/gateway-0/renew", {"incarnation": ID_1})
    guild = 7 << 22
    while True:
        _, found, _ = await call("GET", f"/guild/{guild}/assignment")
        if found["pod_id"] is not None:
            break
        await call("POST", "/pods/gateway-0/renew", {"incarnation": ID_1})
    assert found == {
        "guild_id": str(guild),
        "shard_id": f"3-of-{SHARDS}",
        "epoch": 1,
        "pod_id": "gateway-0",
        "address": "http://gateway-0:3000",
    }
    _, all_of_them, _ = await call("GET", f"/guild-assignments?guild_id={guild}&guild_id=1")
    assert all_of_them["shard_count"] == SHARDS
    assert all_of_them["guilds"][0] == found
    assert all_of_them["guilds"][1]["shard_id"] == f"0-of-{SHARDS}"
    assert len(all_of_them["shards"]) == SHARDS


async def test_people_see_pods_shards_and_metrics(call: Caller) -> None:
    _, listed, _ = await call("GET", "/shards")
    assert {each["waiting"] for each in listed["shards"]} == {"No pod is live."}
    _, grant, _ = await call("POST", "/pods/gateway-0/register", registration())
    while not grant["shards"]:
        _, grant, _ = await call("POST", "/pods/gateway-0/renew", {"incarnation": ID_1})
    load = {"shard_id": grant["shards"][0]["shard_id"], "epoch": 1, "guilds": 3, "events_per_second": 2.5}
    await call("POST", "/pods/gateway-0/renew", {"incarnation": ID_1, "shards": [load]})
    _, health, _ = await call("GET", "/pods/health")
    [pod] = health["pods"]
    assert (pod["state"], pod["shards"][0]["guilds"]) == ("live", 3)
    found: dict[str, Any] = {"pod_id": None}
    while found["pod_id"] is None:  # the board reads a moment after the grant
        _, found, _ = await call("GET", "/guild/1/assignment")
    _, text, kind = await call("GET", "/metrics")
    assert kind == "text/plain"
    for line in (
        f"modbot_config_grants_total {SHARDS}.0",
        "modbot_config_takeovers_total 0.0",
        'modbot_config_pods{state="live"} 1.0',
        "modbot_config_database_up 1.0",
        f'modbot_config_owner_shards{{owner="gateway-0"}} {SHARDS}.0',
        "modbot_config_unowned_shards 0.0",
    ):
        assert line in text.decode().splitlines(), text.decode()


async def test_guilds_bytes_and_events_are_counted_by_the_pod_that_owns_them(call: Caller) -> None:
    _, grant, _ = await call("POST", "/pods/gateway-0/register", registration())
    while len(grant["shards"]) < SHARDS:
        _, grant, _ = await call("POST", "/pods/gateway-0/renew", {"incarnation": ID_1})
    loads = [
        {
            "shard_id": shard["shard_id"],
            "epoch": shard["epoch"],
            "guilds": 3,
            "events_per_second": 2.5,
            "file_bytes": 1000,
        }
        for shard in grant["shards"]
    ]
    await call("POST", "/pods/gateway-0/renew", {"incarnation": ID_1, "shards": loads})
    await call("POST", "/pods/gateway-1/register", registration(incarnation=str(uuid.uuid4())))
    _, transfer, _ = await call("POST", "/reassign-guild", {"guild_id": str(GUILD), "pod": "gateway-1"})
    assert transfer["target"] == f"guild-{GUILD}"
    wanted = {
        f'modbot_config_owner_guilds{{owner="gateway-0"}} {3 * SHARDS}.0',
        f'modbot_config_owner_bytes{{owner="gateway-0"}} {1000 * SHARDS}.0',
        f'modbot_config_owner_events_per_second{{owner="gateway-0"}} {2.5 * SHARDS}',
        'modbot_config_owner_guilds{owner="gateway-1"} 0.0',
        'modbot_config_owner_shards{owner="gateway-1"} 1.0',
        "modbot_config_transfers 1.0",
    }
    async with asyncio.timeout(10):  # the board reads loads every two seconds
        text = ""
        while not wanted <= set(text.splitlines()):
            text = (await call("GET", "/metrics"))[1].decode()
    assert metricskit.ids_in(text, GUILD) == set()


async def test_a_budget_that_is_nearly_gone_is_seen_by_the_operator(call: Caller) -> None:
    _, grant, _ = await call("POST", "/pods/gateway-0/register", registration())
    while not grant["shards"]:
        _, grant, _ = await call("POST", "/pods/gateway-0/renew", {"incarnation": ID_1})
    asked = {
        "pod_id": "gateway-0",
        "incarnation": ID_1,
        "shard_id": grant["shards"][0]["shard_id"],
        "epoch": 1,
        "limits": {"max_concurrency": 1, "remaining": 50, "reset_after": 3600},
    }
    with structlog.testing.capture_logs() as lines:
        _, refused, _ = await call("POST", "/permits/identify", asked)
    assert (refused["granted"], refused["reason"]) == (False, "daily_reserve")
    [line] = [line for line in lines if line["event"] == "identify_reserve_reached"]
    assert (line["log_level"], line["remaining"], line["granted"]) == ("warning", 50, False)
    await call("POST", "/pods/gateway-0/renew", {"incarnation": ID_1, "invalid_requests": 5001})
    _, text, _ = await call("GET", "/metrics")
    for wanted in (
        'modbot_config_identify_permits_total{answer="daily_reserve"} 1.0',
        "modbot_config_identify_remaining 50.0",
        "modbot_config_breaker_refusals_total 1.0",
    ):
        assert wanted in text.decode().splitlines()


async def test_without_postgresql_calls_are_503_and_come_back(
    config_settings: ConfigSettings, postgres_admin: asyncpg.Connection
) -> None:
    async with main.serving(config_settings) as (url, _service), aiohttp.ClientSession() as session:
        call = Caller(url, session)
        database = config_settings.database_url.reveal().partition("?")[0].rpartition("/")[2]
        await postgres_admin.execute(f"ALTER DATABASE {database} WITH ALLOW_CONNECTIONS false")
        await postgres_admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database
        )
        for method, path, body in (
            ("POST", "/pods/gateway-0/register", registration()),
            ("POST", "/inbox", {"entries": [ENTRY]}),
            ("GET", "/shards", None),
            ("GET", "/ready", None),
        ):
            status, answer, kind = await call(method, path, body)
            assert (status, answer["code"], kind) == (503, "unavailable", "application/problem+json")
        assert (await call("GET", "/health"))[0] == 200
        assert (await call("GET", "/started"))[0] == 200, "it has started once"
        assert (await call("GET", "/metrics"))[0] == 200
        assert (await call("GET", "/guild/1/assignment"))[0] == 200, "the cached table is still fresh"
        await postgres_admin.execute(f"ALTER DATABASE {database} WITH ALLOW_CONNECTIONS true")
        assert (await call("POST", "/pods/gateway-0/register", registration()))[0] == 200


async def test_the_watch_stream_begins_with_the_table_and_tells_changes(config_settings: ConfigSettings) -> None:
    async with main.serving(config_settings) as (url, _service), aiohttp.ClientSession() as session:
        call = Caller(url, session)
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with session.get(url + "/watch", headers=headers) as stream, asyncio.timeout(10):
            first = msgspec.json.decode(await stream.content.readline(), type=protocol.WatchLine)
            assert isinstance(first, protocol.Table)
            assert [each.epoch for each in first.shards] == [0] * SHARDS
            await call("POST", "/pods/gateway-0/register", registration())
            owned: set[str] = set()
            while len(owned) < SHARDS:
                line = msgspec.json.decode(await stream.content.readline(), type=protocol.WatchLine)
                if isinstance(line, protocol.Change):
                    owned |= {each.shard_id for each in line.shards if each.owner == "gateway-0"}
            await call("POST", "/inbox/deferred", {"entries": [ENTRY]})
            while not isinstance(line, protocol.InboxNotice):
                line = msgspec.json.decode(await stream.content.readline(), type=protocol.WatchLine)
            assert line.shard_id == ENTRY["shard_id"]


async def test_what_was_deferred_while_the_board_was_offline_is_told_afterwards(
    config_settings: ConfigSettings, postgres_admin: asyncpg.Connection
) -> None:
    async with main.serving(config_settings) as (url, _service), aiohttp.ClientSession() as session:
        inside = await asyncpg.connect(config_settings.database_url.reveal())
        database = await inside.fetchval("SELECT current_database()")
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with session.get(url + "/watch", headers=headers) as stream, asyncio.timeout(15):
            await stream.content.readline()
            await postgres_admin.execute(f"ALTER DATABASE {database} WITH ALLOW_CONNECTIONS false")
            await inside.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
                database,
            )
            await inside.execute(
                "INSERT INTO inbox (shard_id, interaction_id, payload, deferred) VALUES ($1, 1, '{}', true)",
                ENTRY["shard_id"],
            )
            await postgres_admin.execute(f"ALTER DATABASE {database} WITH ALLOW_CONNECTIONS true")
            line = msgspec.json.decode(await stream.content.readline(), type=protocol.WatchLine)
            while not isinstance(line, protocol.InboxNotice):
                line = msgspec.json.decode(await stream.content.readline(), type=protocol.WatchLine)
            assert line.shard_id == ENTRY["shard_id"]
        await inside.close()
