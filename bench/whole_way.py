"""Interactions the whole way: http pod, inbox in PostgreSQL, gateway pod, transaction in the shard file, answer.

Everything runs for real on the cores of this machine: one http, one config and one gateway pod, PostgreSQL, and the sender.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from nacl.signing import SigningKey

from bench.interactions import interaction, push, row, signed
from modbot.cli import guilds as simulated
from modbot.cli.stack import Plan, Stack

_WARM_UP = 400
_COUNT = 6_000


def run() -> list[dict[str, object]]:
    times, seconds = asyncio.run(_measure())
    times.sort()
    return [
        row("interactions the whole way, all processes on these cores", round(len(times) / seconds), "1/s", None),
        row("interaction the whole way, median", statistics.median(times) * 1000, "ms", None),
        row("interaction the whole way, p99", times[int(len(times) * 0.99)] * 1000, "ms", 20.0),
    ]


async def _measure() -> tuple[list[float], float]:
    with tempfile.TemporaryDirectory(prefix="modbot-bench-", ignore_cleanup_errors=True) as folder:
        plan = Plan(
            state=Path(folder) / "state",
            gateways=1,
            http=1,
            guilds=20,
            log_level="warning",
            chat_port=0,
            portal_port=0,
            config_port=0,
            gateway_port=0,
        )
        async with Stack.prepare(plan) as stack:
            guilds = await simulated.discover(stack)
            await simulated.set_up(stack, guilds)
            key = SigningKey(bytes.fromhex(stack.discord["signing_key"]))
            bodies = [
                {**interaction(n), "guild_id": guilds[n % len(guilds)].guild_id} for n in range(_WARM_UP + _COUNT)
            ]
            requests = [signed(body, key) for body in bodies]
            await push(stack.ports.portal, requests[:_WARM_UP], answers=b'{"type":4')
            started = time.perf_counter()
            times = await push(stack.ports.portal, requests[_WARM_UP:], answers=b'{"type":4')
            return times, time.perf_counter() - started
