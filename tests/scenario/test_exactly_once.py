"""I3: whatever is killed, every event is applied once, in order. And the proof that this test could fail."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import witness

from modbot.cli import guilds as simulated
from modbot.cli.stack import Plan, Stack

_GATEWAYS = 3
_SHARDS = 16


def _plan(tmp_path: Path, module: str, guilds: int) -> Plan:
    return Plan(
        state=tmp_path / "state",
        gateways=_GATEWAYS,
        guilds=guilds,
        shard_count=_SHARDS,
        chat_port=0,
        portal_port=0,
        config_port=0,
        gateway_port=0,
        gateway_module=module,
        python_path=str(Path(__file__).parent),
    )


async def _traffic(stack: Stack, *, count: int, rate: float, seed: int) -> None:
    """Start traffic; the replay window is wide, because what lies outside of it is not promised."""
    await stack.control("POST", "switches", {"buffer_events": 10_000, "buffer_seconds": 90})
    mix = {"chat": 70, "reaction": 16, "edit": 8, "delete": 6, "join": 0, "leave": 0, "spam": 0, "raid": 0}
    await stack.control("POST", "traffic", {"count": count, "rate": rate, "seed": seed, "mix": mix})


async def _traffic_is_over(stack: Stack) -> bool:
    return not (await stack.control("GET", "traffic"))["running"]


async def _kill_at_random(stack: Stack, chance: random.Random) -> int:
    """Kill pods until the traffic is over; returns how often."""
    kills = 0
    while not await _traffic_is_over(stack):
        await asyncio.sleep(chance.uniform(0.7, 2.5))
        child = stack.gateway(chance.randrange(_GATEWAYS))
        if child.pid is not None:
            child.kill()
            kills += 1
    return kills


async def _press_buttons(stack: Stack, people: list[simulated.SimulatedGuild], chance: random.Random) -> int:
    """Use `/setup` again and again in random guilds while pods die; returns how often."""
    presses = 0
    while not await _traffic_is_over(stack):
        guild = chance.choice(people)
        body = {"user": guild.owner_id, "channel": guild.general_id, "kind": "command", "command": "setup"}
        await stack.control("POST", "interact", {**body, "wait": "answered"})
        presses += 1
        await asyncio.sleep(0.05)
    return presses


async def _all_interactions_complete(stack: Stack) -> bool:
    summary = (await stack.control("GET", "interactions"))["summary"]
    return summary["pending"] == 0 and summary["unfinished"] == 0


async def test_killed_pods_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(20261123)
    async with Stack.prepare(_plan(tmp_path, "witnessed_gateway", guilds=60)) as stack:
        people = await simulated.discover(stack)
        await simulated.set_up(stack, people)
        await _traffic(stack, count=20_000, rate=900, seed=7)
        kills, presses = await asyncio.gather(
            _kill_at_random(stack, chance), _press_buttons(stack, people, random.Random(1))
        )
        await stack.until(lambda: witness.caught_up(stack), "every shard to catch up")
        await stack.until(lambda: _all_interactions_complete(stack), "every deferred interaction to be completed")
        verdict = await witness.judge(stack)
        counters = await stack.control("GET", "counters")
        summary = (await stack.control("GET", "interactions"))["summary"]

    sys.stderr.write(f"{kills} kills, {presses} interactions, {verdict}, {counters['resumes']} resumes, {summary}\n")
    assert kills >= 5
    assert verdict.expected >= 20_000
    assert verdict.clean, str(verdict)
    assert counters["identifies"] == _SHARDS, "a restart resumes, it never identifies"
    assert presses >= 20
    assert summary["failed"] == 0, "every interaction gets a valid first answer within 3 s"
    assert summary["answered_twice"] == 0


async def test_a_pod_that_stores_the_seq_at_receipt_loses_events(tmp_path: Path) -> None:
    """The broken variant: if this one were clean, the test above could not fail."""
    chance = random.Random(3)
    async with Stack.prepare(_plan(tmp_path, "forgetful_gateway", guilds=16)) as stack:
        verdict = witness.Verdict()
        for attempt in range(6):
            await _traffic(stack, count=4000, rate=1500, seed=attempt)
            await _kill_at_random(stack, chance)
            await stack.until(lambda: witness.caught_up(stack), "every shard to catch up")
            verdict = await witness.judge(stack)
            if verdict.lost or verdict.doubled:
                break
    assert verdict.lost or verdict.doubled, "the broken pod should have lost events"
