"""`python -m modbot.services.config` as a process: it starts from the environment, stays small, and stops when asked."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

import aiohttp
import psutil
import pytest
from configkit import SHARDS, TOKEN, new_incarnation, request

from modbot.cluster import protocol
from modbot.cluster.client import ConfigClient
from modbot.domain.errors import UnavailableError
from modbot.domain.ids import GuildId, PodId
from modbot.ops.settings import Secret

RSS_LIMIT = 128 * 1024 * 1024


async def start(url: Secret, port: int, **changes: str) -> asyncio.subprocess.Process:
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": url.reveal(),
        "MODBOT_INTERNAL_TOKEN": TOKEN,
        "MODBOT_CONFIG_HOST": "127.0.0.1",
        "MODBOT_CONFIG_PORT": str(port),
        "MODBOT_SHARD_COUNT": str(SHARDS),
    } | changes
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "modbot.services.config", env=environment, stderr=asyncio.subprocess.PIPE
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_starts_serves_stays_small_and_stops(database_url: Secret, number: signal.Signals) -> None:
    port = free_port()
    process = await start(database_url, port)
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            config = ConfigClient(f"http://127.0.0.1:{port}", Secret(TOKEN), session)
            await answering(config)
            await config.register(PodId("gateway-0"), request(new_incarnation()))
            for guild in range(200):
                await config.guild_assignments([GuildId(guild << 22)])
            assert psutil.Process(process.pid).memory_info().rss < RSS_LIMIT
            lines = config.watch()
            await anext(lines)
            process.send_signal(number)
            assert [line async for line in lines if isinstance(line, protocol.Table)] == [], "it ends in order"
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors
    assert b"config_stopped" in errors
    assert TOKEN.encode() not in errors


async def answering(config: ConfigClient) -> None:
    while True:
        try:
            await config.shards()
        except UnavailableError:
            await asyncio.sleep(0.05)
        else:
            return


async def test_another_shard_count_stops_the_start_with_one_sentence(database_url: Secret) -> None:
    process = await start(database_url, 0, MODBOT_SHARD_COUNT=str(SHARDS * 2))
    async with asyncio.timeout(30):
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert f"set it to {SHARDS}." in errors.decode()
    assert "Traceback" not in errors.decode()
