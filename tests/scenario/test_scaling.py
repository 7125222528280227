"""`kubectl scale` as the pods see it: from 3 to 5 and back to 2, and a rolling restart, under load and without a command to anybody."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import witness

from modbot.cli import guilds as simulated
from modbot.cli.stack import Plan, Stack

_SHARDS = 16
_MIX = {"chat": 70, "reaction": 16, "edit": 8, "delete": 6, "join": 0, "leave": 0, "spam": 0, "raid": 0}


async def _owned(stack: Stack) -> dict[str, int]:
    """How many shards every pod has; a shard that nobody serves or that is on its way counts for nobody."""
    owned: dict[str, int] = {}
    for shard in (await stack.internal("/shards"))["shards"]:
        name = shard["owner"] if shard["target"] is None else None
        owned[name] = owned.get(name, 0) + 1
    return owned


async def _spread_over(stack: Stack, pods: int) -> None:
    """Wait until so many pods serve all shards, each at least half of its share."""

    async def spread() -> bool:
        owned = await _owned(stack)
        return len(owned) == pods and None not in owned and min(owned.values()) >= _SHARDS // pods // 2

    await stack.until(spread, f"the shards to be spread over {pods} pods")


async def _restart(stack: Stack, number: int) -> None:
    child = stack.gateway(number)
    restarts = child.restarts
    child.ask(signal.SIGTERM)

    async def back() -> bool:
        if child.restarts == restarts:
            return False
        url = f"http://127.0.0.1:{stack.ports.gateways[number]}/ready"
        async with stack.session.get(url) as answer:
            return answer.status == 200

    await stack.until(back, f"{child.name} to be back")


async def test_pods_come_and_go_under_load(state_folder: Path) -> None:
    plan = Plan(
        state=state_folder / "state",
        gateways=3,
        spare_gateways=2,
        guilds=48,
        shard_count=_SHARDS,
        chat_port=0,
        portal_port=0,
        config_port=0,
        gateway_port=0,
        gateway_module="witnessed_gateway",
        python_path=str(Path(__file__).parent),
    )
    async with Stack.prepare(plan) as stack:
        people = await simulated.discover(stack)
        await simulated.set_up(stack, people)
        await stack.control("POST", "traffic", {"count": 40_000, "rate": 300, "seed": 5, "mix": _MIX})
        await stack.grow()
        await stack.grow()
        await _spread_over(stack, 5)
        for _ in range(3):
            await stack.shrink()
        await _spread_over(stack, 2)
        for number in range(2):
            await _restart(stack, number)
            await _spread_over(stack, 2)
        await stack.control("POST", "traffic/stop")
        await stack.until(lambda: witness.caught_up(stack), "every shard to catch up")
        verdict = await witness.judge(stack)
        counters = await stack.control("GET", "counters")
        moves = (await stack.internal("/moves"))["moves"]
    done = [move for move in moves if move["state"] == "done"]
    sys.stderr.write(f"{len(done)} of {len(moves)} moves done, {verdict}, {counters['resumes']} resumes\n")
    assert verdict.clean, str(verdict)
    assert counters["identifies"] == _SHARDS
