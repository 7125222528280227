"""Interactions through one http pod: verify, decode, journal and hop to the owner, at 4 connections.

Three processes share the machine: the http pod that is measured, a minimal scripted cluster (owner and config service in one), and
this one, which sends distinct bodies that were signed beforehand over keep-alive connections of its own.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import uvloop
from nacl.signing import SigningKey

_CONNECTIONS = 4
_WARM_UP = 400
_COUNT = 8_000
_TARGET_RATE, _TARGET_P99 = 2_000, 20.0
_GUILDS = 500
_TOKEN = "an-internal-token-for-benches"
_SIGNING = SigningKey(bytes(range(32)))
_ANSWER = b'{"type":4,"data":{"content":"done","flags":64,"allowed_mentions":{"parse":[]}}}'


def run() -> list[dict[str, object]]:
    ports = multiprocessing.get_context("spawn").Queue()
    cluster = multiprocessing.get_context("spawn").Process(target=_cluster, args=(ports,), daemon=True)
    cluster.start()
    cluster_port = ports.get(timeout=20)
    pod = subprocess.Popen(
        [sys.executable, "-m", "modbot.services.http"],
        env=_environment(cluster_port),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            times, seconds = runner.run(_load(_port_of(pod)))
    finally:
        pod.terminate()
        pod.wait(30)
        cluster.terminate()
    times.sort()
    return [
        row("interactions: verify, journal, hop; 4 connections", round(len(times) / seconds), "1/s", _TARGET_RATE),
        row("interaction, median", statistics.median(times) * 1000, "ms", None),
        row("interaction, p99", times[int(len(times) * 0.99)] * 1000, "ms", _TARGET_P99),
    ]


def row(name: str, value: float, unit: str, target: float | None) -> dict[str, object]:
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "target": target,
        "better": "higher" if unit == "1/s" else "lower",
    }


def _environment(cluster_port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "MODBOT_INTERNAL_TOKEN": _TOKEN,
        "DISCORD_APP_ID": "1",
        "DISCORD_PUBLIC_KEY": _SIGNING.verify_key.encode().hex(),
        "DISCORD_SECRET": "a-client-secret-for-benches",
        "SESSION_SECRET": "a-session-secret-for-benches",
        "MODBOT_CONFIG_URL": f"http://127.0.0.1:{cluster_port}",
        "MODBOT_HTTP_HOST": "127.0.0.1",
        "MODBOT_HTTP_PORT": "0",
    }


def _port_of(pod: subprocess.Popen[str]) -> int:
    assert pod.stderr is not None
    for line in pod.stderr:
        if '"http_started"' in line:
            return int(json.loads(line)["url"].rsplit(":", 1)[1])
    raise RuntimeError("the http pod did not start")


async def _load(port: int) -> tuple[list[float], float]:
    requests = [signed(interaction(number)) for number in range(_WARM_UP + _COUNT)]
    await _until_ready(port)
    await push(port, requests[:_WARM_UP], answers=_ANSWER)
    started = time.perf_counter()
    times = await push(port, requests[_WARM_UP:], answers=_ANSWER)
    return times, time.perf_counter() - started


def signed(interaction: dict[str, Any], key: SigningKey = _SIGNING) -> bytes:
    """Return the bytes of a signed request."""
    body = json.dumps(interaction, separators=(",", ":")).encode()
    timestamp = "1790000000"
    signature = key.sign(timestamp.encode() + body).signature.hex()
    head = (
        f"POST /interactions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        f"x-signature-ed25519: {signature}\r\nx-signature-timestamp: {timestamp}\r\n\r\n"
    )
    return head.encode() + body


def interaction(number: int) -> dict[str, Any]:
    """Return one `/setup` in one of many guilds."""
    user = {"id": str(9_000_000 + number), "username": "somebody", "discriminator": "0", "global_name": "Some Body"}
    return {
        "id": str((1 << 60) + number),
        "application_id": "1",
        "type": 2,
        "token": "aW50ZXJhY3Rpb24" * 12,
        "version": 1,
        "guild_id": str((number % _GUILDS + 1) << 22),
        "channel_id": "77",
        "channel": {"id": "77", "type": 0, "name": "general", "permissions": "2248473465835073"},
        "member": {
            "user": user,
            "roles": ["31", "32"],
            "permissions": "2248473465835073",
            "joined_at": "2024-01-01T00:00:00+00:00",
        },
        "locale": "en-US",
        "guild_locale": "en-US",
        "app_permissions": "2248473465835073",
        "data": {"id": "9", "name": "setup", "type": 1},
    }


async def _until_ready(port: int) -> None:
    for _ in range(200):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /ready HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")
        status = await reader.readline()
        writer.close()
        if b" 200 " in status:
            return
        await asyncio.sleep(0.05)
    raise RuntimeError("the http pod does not become ready")


async def push(port: int, requests: list[bytes], *, answers: bytes) -> list[float]:
    """Send all requests over the connections, one under way on each; returns the time of each in seconds.

    Every answer must begin with `answers`.
    """
    times: list[float] = []
    waiting = iter(requests)

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in waiting:
            started = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if not (await reader.readexactly(length)).startswith(answers):
                raise RuntimeError("an interaction was not answered by the owner")
            times.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(one_connection() for _ in range(_CONNECTIONS)))
    return times


def _cluster(ports: Any) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_cluster(ports))


async def _serve_cluster(ports: Any) -> None:
    server = await asyncio.start_server(_connection, "127.0.0.1", 0)
    ports.put(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


async def _connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak just enough HTTP to be owner and config service at the least cost."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0]) if b"content-length" in head else 0
            await reader.readexactly(length)
            if head.startswith(b"get /watch"):
                await _watch(writer)
            writer.write(_scripted(head))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _scripted(head: bytes) -> bytes:
    if head.startswith(b"post /shards/"):
        return (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_ANSWER) + _ANSWER
        )
    if head.startswith(b"get /anonymity-key"):
        body = json.dumps({"day": "2026-11-23", "key": "5a" * 32, "seconds_left": 3600.0}).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    return b"HTTP/1.1 204 No Content\r\n\r\n"


async def _watch(writer: asyncio.StreamWriter) -> None:
    host, port = writer.get_extra_info("sockname")
    pod = {"pod_id": "gateway-0", "incarnation": "i", "address": f"http://{host}:{port}", "state": "live"}
    shards = [
        {"shard_id": f"{number}-of-16", "epoch": 1, "owner": "gateway-0", "incarnation": "i"} for number in range(16)
    ]
    table = json.dumps({"type": "table", "shard_count": 16, "pods": [pod], "shards": shards}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + _chunk(table + b"\n"))
    while True:
        await writer.drain()
        await asyncio.sleep(1.0)
        writer.write(_chunk(b'{"type":"tick"}\n'))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
