"""How much memory the processes hold: a gateway pod with 1,000 guilds of 30 channels and 20 roles, and the config and http pods beside it.

`resident.json` beside this file has what was measured last. The memory limits in `cluster/` are tested against it, so write it anew when
a figure here goes past its target.
"""

from __future__ import annotations

import asyncio
import functools
import json
import tempfile
from pathlib import Path

import psutil

from modbot.cli.stack import Plan, Stack

_GUILDS = 1000
_MIB = 1024 * 1024
_RECORDED = Path(__file__).with_name("resident.json")
_ROOM = 1.15
_SETTLE = 5.0


def run() -> list[dict[str, object]]:
    return asyncio.run(_measure())


async def _measure() -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory(prefix="modbot-bench-", ignore_cleanup_errors=True) as folder:
        plan = Plan(
            state=Path(folder) / "state",
            gateways=1,
            http=1,
            guilds=_GUILDS,
            channels=30,
            roles=20,
            members=5,
            chat_port=0,
            portal_port=0,
            config_port=0,
            gateway_port=0,
        )
        async with Stack.prepare(plan) as stack:
            await stack.until(functools.partial(_holds_all, stack), "the pod to hold every guild")
            await asyncio.sleep(_SETTLE)
            return [
                _row(stack, "gateway-0", "gateway pod, 1,000 guilds"),
                _row(stack, "config-0", "config pod"),
                _row(stack, "http-0", "http pod"),
            ]


async def _holds_all(stack: Stack) -> bool:
    pods = await stack.internal("/pods/health")
    return sum(load["guilds"] for pod in pods["pods"] for load in pod["shards"]) == _GUILDS


def _row(stack: Stack, child: str, name: str) -> dict[str, object]:
    pid = stack.children[child].pid
    if pid is None:
        raise AssertionError(f"{child} is not running")
    resident = psutil.Process(pid).memory_info().rss / _MIB
    recorded = json.loads(_RECORDED.read_text("utf-8"))[child.partition("-")[0]]
    return {
        "name": f"memory of a {name}",
        "value": round(resident, 1),
        "unit": "MiB",
        "target": round(recorded * _ROOM),
        "better": "lower",
    }
