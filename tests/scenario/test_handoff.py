"""Shards move between live pods under load: nothing is lost, doubled or out of order, and no session is begun anew."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
from pathlib import Path
from typing import Any

import aiohttp
import witness

from modbot.cli import guilds as simulated
from modbot.cli.stack import Plan, Stack

_GATEWAYS = 3
_SHARDS = 16
_MIX = {"chat": 70, "reaction": 16, "edit": 8, "delete": 6, "join": 0, "leave": 0, "spam": 0, "raid": 0}


def _plan(state_folder: Path, module: str = "witnessed_gateway") -> Plan:
    return Plan(
        state=state_folder / "state",
        gateways=_GATEWAYS,
        guilds=48,
        shard_count=_SHARDS,
        chat_port=0,
        portal_port=0,
        config_port=0,
        gateway_port=0,
        gateway_module=module,
        python_path=str(Path(__file__).parent),
    )


async def _post(stack: Stack, path: str, body: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {stack.internal_token}"}
    async with stack.session.post(f"{stack.config_url}{path}", json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def _traffic_is_over(stack: Stack) -> bool:
    return not (await stack.control("GET", "traffic"))["running"]


async def _move_about(stack: Stack, chance: random.Random) -> list[dict[str, Any]]:
    """Move random shards to random pods, one after the other, while there is traffic; return the records of the moves."""
    while not await _traffic_is_over(stack):
        try:
            await _move(stack, chance)
        except aiohttp.ClientError:  # the config service is being killed as well
            await asyncio.sleep(0.1)
    await stack.until(lambda: _over(stack, None), "every handoff to be over")
    return (await stack.internal("/moves"))["moves"]


async def _move(stack: Stack, chance: random.Random) -> None:
    shard = chance.choice((await stack.internal("/shards"))["shards"])
    target = chance.choice([f"gateway-{n}" for n in range(_GATEWAYS) if f"gateway-{n}" != shard["owner"]])
    status, told = await _post(stack, f"/shards/{shard['shard_id']}/move", {"target": target})
    if status != 200:  # a pod is away just now
        await asyncio.sleep(0.1)
        return
    await stack.until(lambda: _over(stack, told["move_id"]), "the handoff to be over")


async def _over(stack: Stack, move_id: int | None) -> bool:
    moves = (await stack.internal("/moves"))["moves"]
    return not any(each["state"] == "moving" for each in moves if move_id in {None, each["move_id"]})


def _pauses(stack: Stack) -> list[float]:
    """The pauses that the targets logged, in seconds."""
    lines = [
        line for path in (stack.plan.state / "logs").glob("gateway-*") for line in path.read_text("utf-8").splitlines()
    ]
    return [json.loads(line)["paused"] for line in lines if '"handoff_flows"' in line]


async def test_shards_move_under_load(state_folder: Path) -> None:
    chance = random.Random(7)
    async with Stack.prepare(_plan(state_folder)) as stack:
        people = await simulated.discover(stack)
        await simulated.set_up(stack, people)
        await stack.control("POST", "traffic", {"count": 8_000, "rate": 600, "seed": 7, "mix": _MIX})
        moves = await _move_about(stack, chance)
        await stack.until(lambda: witness.caught_up(stack), "every shard to catch up")
        verdict = await witness.judge(stack)
        counters = await stack.control("GET", "counters")
        pauses = sorted(_pauses(stack))
    told = f"pauses p50 {statistics.median(pauses):.3f} s, p99 {pauses[int(len(pauses) * 0.99)]:.3f} s"
    sys.stderr.write(f"{len(pauses)} moves, {told}, {verdict}, {counters['resumes']} resumes\n")
    assert {move["state"] for move in moves} == {"done"}, moves
    assert verdict.clean, str(verdict)
    assert counters["identifies"] == _SHARDS


async def _kill_at_random(stack: Stack, chance: random.Random) -> int:
    """Kill gateway and config pods while shards move; returns how often."""
    kills = 0
    while not await _traffic_is_over(stack):
        await asyncio.sleep(chance.uniform(0.3, 1.5))
        child = stack.children[chance.choice(["gateway-0", "gateway-1", "gateway-2", "config-0"])]
        if child.pid is not None:
            child.kill()
            kills += 1
    return kills


async def _moved_and_killed(
    state_folder: Path, module: str, *, seed: int, count: int
) -> tuple[witness.Verdict, dict[str, int]]:
    chance = random.Random(seed)
    async with Stack.prepare(_plan(state_folder, module)) as stack:
        await stack.control("POST", "switches", {"buffer_events": 10_000, "buffer_seconds": 90})
        await stack.control("POST", "traffic", {"count": count, "rate": 400, "seed": seed, "mix": _MIX})
        kills, moves = await asyncio.gather(_kill_at_random(stack, chance), _move_about(stack, random.Random(seed)))
        await stack.until(lambda: witness.caught_up(stack), "every shard to catch up")
        verdict = await witness.judge(stack)
        counters = await stack.control("GET", "counters")
    done = sum(move["state"] == "done" for move in moves)
    sys.stderr.write(f"{kills} kills, {done} of {len(moves)} moves done, {verdict}, {counters['resumes']} resumes\n")
    return verdict, counters


async def test_a_handoff_may_be_killed_at_any_step(state_folder: Path) -> None:
    verdict, counters = await _moved_and_killed(state_folder, "witnessed_gateway", seed=11, count=10_000)
    assert verdict.clean, str(verdict)
    assert counters["identifies"] == _SHARDS


async def test_a_target_that_leaves_out_the_tail_loses_events(state_folder: Path) -> None:
    """The broken variant: if this one were clean, the tests above could not fail."""
    verdict, _ = await _moved_and_killed(state_folder, "careless_gateway", seed=11, count=4_000)
    assert verdict.lost or verdict.doubled, str(verdict)
