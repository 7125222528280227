"""The processes of `modbot single` together: what is started when, and what ends the pod."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from configkit import SHARDS, TOKEN

from modbot.cli import single
from modbot.cli.single import NotStayingUpError, Pod
from modbot.ops import settings
from modbot.ops.settings import Secret, SingleSettings

_PATIENCE = 60


@pytest.fixture
def environ(database_url: Secret, tmp_path: Path) -> dict[str, str]:
    ports = []
    for _ in range(3):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ports.append(str(listener.getsockname()[1]))
    given = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parent / "single_parts"),
        "DATABASE_URL": database_url.reveal(),
        "MODBOT_SHARD_COUNT": str(SHARDS),
        "MODBOT_INTERNAL_TOKEN": TOKEN,
        "SESSION_SECRET": "a-session-secret-for-tests",
        "DISCORD_HASH": "bot-token",
        "DISCORD_SECRET": "client-secret",
        "DISCORD_APP_ID": "42",
        "DISCORD_PUBLIC_KEY": "ab" * 32,
        "MODBOT_DATA_DIR": str(tmp_path),
        "MODBOT_HTTP_HOST": "127.0.0.1",
    }
    names = ("MODBOT_HTTP_PORT", "MODBOT_CONFIG_PORT", "MODBOT_GATEWAY_PORT")
    return single.environment(given | dict(zip(names, ports, strict=True)))


def _pod(environ: dict[str, str]) -> Pod:
    return Pod(settings.load(SingleSettings, environ), environ)


async def test_a_child_that_does_not_stay_up_ends_the_pod_with_its_last_words(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(single.MODULES, "gateway", "failing_part")
    monkeypatch.setattr(single, "_MOST_DEATHS", 2)
    pod = _pod(environ)
    with pytest.raises(NotStayingUpError, match=r"gateway does not stay up. Its last words:\nno volume"):
        await asyncio.wait_for(pod.run(asyncio.Event()), _PATIENCE)
    assert pod.children == {}, "nothing is left running"


async def test_a_child_that_is_needed_first_ends_the_pod_as_well(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(single.MODULES, "config", "failing_part")
    monkeypatch.setattr(single, "_MOST_DEATHS", 2)
    with pytest.raises(NotStayingUpError, match="config does not stay up"):
        await asyncio.wait_for(_pod(environ).run(asyncio.Event()), _PATIENCE)


async def test_the_gateway_is_asked_to_keep_its_shards_and_the_rest_ends_in_order(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(single.MODULES, "gateway", "waiting_part")
    pod, stop = _pod(environ), asyncio.Event()
    running = asyncio.create_task(pod.run(stop))
    async with asyncio.timeout(_PATIENCE):
        while True:
            said = {name: child.last_words() for name, child in pod.children.items()}
            if "waiting" in said.get("gateway", "") and "http_started" in said.get("http", ""):
                break
            await asyncio.sleep(0.05)
    assert set(pod.children) == {"config", "http", "gateway"}, "with a DATABASE_URL there is no PostgreSQL of ours"
    assert not (tmp_path / "postgres").exists()
    stop.set()
    await asyncio.wait_for(running, _PATIENCE)
    log = capfd.readouterr().err
    places = [log.find(event) for event in ("http_stopped", "asked to end by SIGINT", "config_stopped")]
    assert -1 not in places
    assert places == sorted(places)
