"""What the doctor sees around a process: its variables, its volume, its programs, its store; and that it leaves nothing behind."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from modbot.cli.doctor import around
from modbot.cli.doctor.facts import Environment, Place, Programs, Store, Volume
from modbot.ops import settings
from modbot.ops.settings import ReplicaSettings

GATEWAY = {
    "MODBOT_INTERNAL_TOKEN": "0123456789abcdef-internal",
    "DISCORD_HASH": "bot-token-value",
    "DISCORD_APP_ID": "42",
    "POD_NAME": "gateway-0",
}
HTTP = {
    "MODBOT_INTERNAL_TOKEN": "0123456789abcdef-internal",
    "DISCORD_APP_ID": "42",
    "DISCORD_PUBLIC_KEY": "ab" * 32,
    "DISCORD_SECRET": "client-secret-value",
    "SESSION_SECRET": "0123456789abcdef-session",
}


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, Place.DESK),
        ({"MODBOT_CONFIG_URL": "http://127.0.0.1:3001", "MODBOT_INTERNAL_TOKEN": "x"}, Place.DESK),
        (GATEWAY, Place.GATEWAY),
        (HTTP, Place.HTTP),
        ({**HTTP, **GATEWAY}, Place.SINGLE),
        ({**HTTP, **GATEWAY, "DATABASE_URL": "postgresql://"}, Place.SINGLE),
        ({**HTTP, **GATEWAY, "MODBOT_CONFIG_URL": "http://config-service:3001"}, Place.GATEWAY),
        ({**GATEWAY, "DATABASE_URL": "postgresql://"}, Place.CONFIG),
        ({**GATEWAY, "SERVICE_MODE": "single"}, Place.SINGLE),
        ({**GATEWAY, "SERVICE_MODE": ""}, Place.GATEWAY),
    ],
)
def test_the_variables_say_whose_environment_it_is(variables: dict[str, str], place: Place) -> None:
    assert around.place_of(variables) is place


@pytest.mark.parametrize(("place", "variables"), [(Place.GATEWAY, GATEWAY), (Place.HTTP, HTTP)])
def test_a_right_environment_is_right(place: Place, variables: dict[str, str]) -> None:
    assert around.environment(place, variables) == Environment()


def test_everything_that_is_wrong_is_named_at_once_and_no_secret_is() -> None:
    variables = {
        "MODBOT_INTERNAL_TOKEN": "short-one",
        "MODBOT_CAPACITY": "many",
        "MODBOT_CAPACTIY": "7",
        "DISCORD_APP_ID": "",
        "POD_NAME": "$(HOSTNAME)",
        "LITESTREAM_BUCKET": "",
    }
    found = around.environment(Place.GATEWAY, variables)
    assert found is not None
    assert [problem.split()[0] for problem in found.problems] == [
        "MODBOT_CAPACTIY",
        "MODBOT_INTERNAL_TOKEN",
        "DISCORD_HASH",
        "MODBOT_CAPACITY",
    ]
    assert (found.empty, found.unexpanded) == (("DISCORD_APP_ID", "LITESTREAM_BUCKET"), ("POD_NAME",))
    assert "short-one" not in str(found)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"POD_NAME": "Gateway 0"}, "POD_NAME"),
        ({"MODBOT_POD_LABELS": "zone"}, "MODBOT_POD_LABELS"),
        ({"MODBOT_GATEWAY_COMPRESSION": "gzip"}, "MODBOT_GATEWAY_COMPRESSION"),
        ({"LITESTREAM_BUCKET": "b"}, "LITESTREAM_ENDPOINT"),
        ({"LITESTREAM_ACCESS_KEY_ID": "a"}, "LITESTREAM_ACCESS_KEY_ID"),
        ({"MODBOT_REPLICA_STORE": "file:///not/there"}, "MODBOT_REPLICA_STORE:"),
    ],
)
def test_what_a_gateway_pod_refuses_besides_is_named_too(variables: dict[str, str], named: str) -> None:
    found = around.environment(Place.GATEWAY, {**GATEWAY, **variables})
    assert found is not None
    assert [problem.split()[0] for problem in found.problems] == [named]


def test_a_public_key_that_is_none_is_named() -> None:
    found = around.environment(Place.HTTP, {**HTTP, "DISCORD_PUBLIC_KEY": "abc"})
    assert found is not None
    assert found.problems == ("DISCORD_PUBLIC_KEY is not valid: expected 64 hexadecimal digits.",)


def test_a_single_pod_brings_a_name_and_a_database_and_nothing_else() -> None:
    given = {name: value for name, value in {**HTTP, **GATEWAY}.items() if name != "POD_NAME"}
    assert around.environment(Place.SINGLE, given) == Environment()
    found = around.environment(Place.SINGLE, {**given, "MODBOT_INTERNAL_TOKEN": "", "MODBOT_SHARD_COUNT": "many"})
    assert found is not None
    assert (found.empty, [problem.split()[0] for problem in found.problems]) == (
        ("MODBOT_INTERNAL_TOKEN",),
        ["MODBOT_SHARD_COUNT"],
    )


def test_a_volume_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "3-of-16.sqlite3").write_bytes(b"x" * 5000)
    before = sorted(tmp_path.iterdir())
    found = around.volume(tmp_path)
    assert (found.problem, found.locked, found.largest) == ("", False, 5000)
    assert 0 < found.free <= found.size
    assert sorted(tmp_path.iterdir()) == before


def test_a_volume_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "data"
    assert around.volume(missing) == Volume(str(missing), problem=f"{missing}: No such file or directory.")
    assert not missing.exists()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    with (tmp_path / "pod.lock").open("w") as lock:
        lock.write("123\n")
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield tmp_path


def test_a_held_lock_is_seen_and_not_disturbed(held: Path) -> None:
    assert around.volume(held).locked
    assert around.volume(held).locked


def test_a_lock_that_nobody_holds_is_free(tmp_path: Path) -> None:
    (tmp_path / "pod.lock").write_text("123\n")
    assert not around.volume(tmp_path).locked
    assert (tmp_path / "pod.lock").read_text() == "123\n"


async def test_programs_tell_their_versions(tmp_path: Path) -> None:
    program = tmp_path / "litestream"
    program.write_text("#!/bin/sh\necho v0.5.17\n")
    program.chmod(0o755)
    assert await around.programs(str(program)) == Programs(litestream=str(program), litestream_version="v0.5.17")
    assert (await around.programs(str(tmp_path / "none"))).litestream_version == ""


def _settings(**variables: str) -> ReplicaSettings:
    return settings.load(ReplicaSettings, variables)


async def test_a_store_is_listed_and_read(tmp_path: Path) -> None:
    assert await around.store(_settings()) == Store()
    url = tmp_path.as_uri()
    assert await around.store(_settings(MODBOT_REPLICA_STORE=url)) == Store(url)
    (tmp_path / "0-of-16" / "e1").mkdir(parents=True)
    (tmp_path / "0-of-16" / "e1" / "file").write_bytes(b"1234")
    assert await around.store(_settings(MODBOT_REPLICA_STORE=url)) == Store(url)
    assert await around.store(_settings(MODBOT_REPLICA_STORE="nonsense")) is None


async def test_a_store_that_does_not_answer_is_a_problem(unused_tcp_port: int) -> None:
    found = await around.store(
        _settings(
            LITESTREAM_BUCKET="b",
            LITESTREAM_ENDPOINT=f"http://127.0.0.1:{unused_tcp_port}",
            LITESTREAM_REGION="eu-1",
            LITESTREAM_ACCESS_KEY_ID="key",
            LITESTREAM_SECRET_ACCESS_KEY="a-secret-of-the-store",
        )
    )
    assert found is not None
    assert found.problem.startswith("The store cannot be listed and read")
    assert "a-secret-of-the-store" not in str(found)
