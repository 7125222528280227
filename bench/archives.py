"""Export and import of a guild with a million rows: speed, memory, and how long the writer is held.

The import is one transaction of the pod's one writer; what it takes is what other guilds of the pod wait, so it is a row of its own.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modbot.discord.budgets import Budget
from modbot.discord.rest import RestClient
from modbot.domain.ids import Epoch, GuildId, ShardId
from modbot.features import all_features
from modbot.ops.settings import Secret
from modbot.shard import archives
from modbot.shard.archive import Purpose
from modbot.shard.engine import Engine, Tools
from modbot.shard.registry import Registry
from modbot.shard.writer import Writer

_ROWS = 1_000_000
_GUILD = GuildId(1 << 60)
_SERIES = (
    "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?3) SELECT value FROM n)"
)
_FILL = (
    f"INSERT INTO activity SELECT ?1, ?2 + value, 7, value % 5000, value, 80, 15, NULL, NULL, 0, NULL, 1 FROM {_SERIES}",
    f"INSERT INTO activity_reactions SELECT ?1, ?2 + value, 'x', value % 5000 FROM {_SERIES}",
)


def run() -> list[dict[str, object]]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:  # a process of its own, for the memory
        export, bring_in, held, grown, size = pool.submit(_child).result()
    return [
        _row("export of a guild with 1,000,000 rows", round(_ROWS / export), "rows/s", 200_000, "higher"),
        _row("import of it, checks included", round(_ROWS / bring_in), "rows/s", 100_000, "higher"),
        _row("longest wait of another shard's commit meanwhile", held * 1000, "ms", None, "lower"),
        _row("memory grown by both", round(grown / 1024, 1), "MiB", 64, "lower"),
        _row("size of the archive", round(size / 2**20, 1), "MiB", None, "lower"),
    ]


def _row(name: str, value: float, unit: str, target: float | None, better: str) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "target": target, "better": better}


def _child() -> tuple[float, float, float, int, int]:
    return asyncio.run(_measure())


async def _measure() -> tuple[float, float, float, int, int]:
    import aiohttp

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with aiohttp.ClientSession() as http:
            rest = RestClient(http=http, base_url="http://127.0.0.1:9", token=Secret("unused"), budget=Budget())
            writer = Writer(now=_now)
            tools = Tools(writer=writer, registry=Registry(all_features()), rest=rest, application_id=1, now=_now)
            source, target, other = [
                await Engine.open(tools, folder / f"{n}-of-3.sqlite3", ShardId(f"{n}-of-3"), Epoch(1), expected=False)
                for n in range(3)
            ]
            await source.commit(_fill)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            began = time.perf_counter()
            await archives.export_guild(source, _GUILD, folder / "cut", purpose=Purpose.TRANSFER)
            export = time.perf_counter() - began
            size = (folder / "cut").stat().st_size
            waiting = asyncio.create_task(_longest_wait(other))
            began = time.perf_counter()
            await archives.import_guild(target, _GUILD, folder / "cut", replace=False)
            bring_in = time.perf_counter() - began
            waiting.cancel()
            longest = await waiting
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            rows = await target.commit(lambda tx: tx.value("SELECT count(*) FROM activity"))
            if rows != _ROWS // 2:
                raise AssertionError(f"{rows} rows arrived")
            for engine in (source, target, other):
                await engine.close()
            await writer.close()
    return export, bring_in, longest, grown, size


async def _longest_wait(other: Engine) -> float:
    longest = 0.0
    while True:
        began = time.perf_counter()
        try:
            await asyncio.shield(other.commit(lambda _tx: None))
            await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            return max(longest, time.perf_counter() - began)
        longest = max(longest, time.perf_counter() - began)


def _fill(tx: Any) -> None:
    for sql in _FILL:
        tx.execute(sql, (_GUILD, 1 << 60, _ROWS // 2))


def _now() -> datetime:
    return datetime.now(UTC)
