"""The full pipeline on one core: compressed frame -> decode -> batch -> handlers -> committed activity row with its seq."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from modbot.discord.budgets import Budget
from modbot.discord.frames import FrameReader
from modbot.discord.intake import Intake, Stats
from modbot.discord.rest import RestClient
from modbot.discord.transports import Compression
from modbot.domain.ids import Epoch, ShardId
from modbot.features import all_features
from modbot.ops.settings import Secret
from modbot.shard.engine import Engine, Tools
from modbot.shard.registry import Registry
from modbot.shard.writer import Writer

_EVENTS = 60_000
_CHUNK = 200
_TARGET = 20_000
_TEXT = "I had the same problem yesterday, have you tried turning the cache off and on again? It worked for me."


def run() -> list[dict[str, object]]:
    rate = max(asyncio.run(_measure()) for _ in range(3))
    return [
        {
            "name": "full pipeline: decode to committed activity row, zlib",
            "value": round(rate),
            "unit": "events/s",
            "target": _TARGET,
            "better": "higher",
        }
    ]


async def _measure() -> float:
    with tempfile.TemporaryDirectory() as folder:
        async with aiohttp.ClientSession() as http:
            registry = Registry(all_features())
            rest = RestClient(http=http, base_url="http://127.0.0.1:9", token=Secret("unused"), budget=Budget())
            writer = Writer(now=lambda: datetime.now(UTC))
            tools = Tools(writer=writer, registry=registry, rest=rest, application_id=1, now=lambda: datetime.now(UTC))
            path = Path(folder) / "bench.sqlite3"
            engine = await Engine.open(tools, path, ShardId("0-of-1"), Epoch(1), expected=False)
            frames = list(_frames())
            rate = await _push(engine, registry, frames)
            rows = await engine.commit(lambda tx: tx.value("SELECT count(*) FROM activity"))
            if rows != _EVENTS:
                raise AssertionError(f"{rows} of {_EVENTS} rows were written")
            await engine.close()
            await writer.close()
            return rate


async def _push(engine: Engine, registry: Registry, frames: list[bytes]) -> float:
    class Sink:
        async def put(self, batch: object) -> None:
            await engine.apply(batch)

    intake = Intake(sink=Sink(), offset=None, stats=Stats(), capacity=512)
    delivering = asyncio.create_task(intake.deliver())
    reader = FrameReader(wanted=frozenset(registry.handlers) | {"READY"}, compression=Compression.ZLIB)
    started = time.perf_counter()
    for frame in frames:
        await intake.room()
        intake.take(reader.read(frame))
    intake.finish()
    await delivering
    return _EVENTS / (time.perf_counter() - started)


def _frames() -> Iterator[bytes]:
    import zlib

    packer = zlib.compressobj()
    for body in itertools.chain([_ready()], (_message(number) for number in range(_EVENTS))):
        yield packer.compress(json.dumps(body, separators=(",", ":")).encode()) + packer.flush(zlib.Z_SYNC_FLUSH)


def _ready() -> dict[str, object]:
    user = {"id": "1", "username": "modbot", "bot": True}
    data = {"v": 10, "session_id": "bench", "resume_gateway_url": "ws://127.0.0.1:9", "user": user, "guilds": []}
    return {"t": "READY", "s": 1, "op": 0, "d": data}


def _message(number: int) -> dict[str, object]:
    guild = 1_000_000_000_000_000_000 + number % 50
    data = {
        "type": 0,
        "id": str(1_100_000_000_000_000_000 + number),
        "channel_id": str(guild + 1000),
        "guild_id": str(guild),
        "author": {"id": str(2_000_000 + number % 500), "username": f"member{number % 500}", "discriminator": "0"},
        "member": {"roles": [str(guild + 5), str(guild + 6)], "joined_at": "2024-01-01T00:00:00+00:00", "flags": 0},
        "content": _TEXT,
        "timestamp": "2026-11-23T12:00:00.000000+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": False,
        "flags": 0,
        "components": [],
        "nonce": str(number),
    }
    return {"t": "MESSAGE_CREATE", "s": number + 2, "op": 0, "d": data}
