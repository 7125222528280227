"""A machine is lost with its volume: another pod restores the shards, and nothing is lost, doubled or out of order (I3, I4, I8).

And the proof that this could fail: pods that break one of the two rules.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import witness

from modbot.cli import guilds as simulated
from modbot.cli.stack import Plan, Stack
from modbot.shard import inspecting

_GATEWAYS = 3
_SHARDS = 16
_LOST = 1
_MIX = {"chat": 70, "reaction": 16, "edit": 8, "delete": 6, "join": 0, "leave": 0, "spam": 0, "raid": 0}


def _plan(state_folder: Path, module: str) -> Plan:
    return Plan(
        state=state_folder / "state",
        gateways=_GATEWAYS,
        guilds=40,
        shard_count=_SHARDS,
        chat_port=0,
        portal_port=0,
        config_port=0,
        gateway_port=0,
        gateway_module=module,
        python_path=str(Path(__file__).parent),
    )


@dataclass
class Takeover:
    """Seconds after the last renewal of the lost pod: until its shards had new owners, and until the first event there."""

    shards: int
    owned: float
    first_event: float
    last_event: float


async def _begin(stack: Stack, *, count: int, rate: float) -> None:
    """Start traffic on a Discord that forgets what heartbeats acknowledge, once a second."""
    switches = {"buffer_events": 20_000, "buffer_seconds": 90, "trim_on_heartbeat": True, "heartbeat_interval": 1.0}
    await stack.control("POST", "switches", switches)
    await stack.control(
        "POST", "faults/sockets", {"action": "reconnect"}
    )  # the interval is told at the beginning of a connection
    await stack.control("POST", "traffic", {"count": count, "rate": rate, "seed": 11, "mix": _MIX})


async def _traffic_is_over(stack: Stack) -> bool:
    return not (await stack.control("GET", "traffic"))["running"]


async def _traffic_is_over_and_gone(stack: Stack) -> bool:
    return await _traffic_is_over(stack) and await _owned_by(stack, f"gateway-{_LOST}") == []


async def _press_buttons(stack: Stack, people: list[simulated.SimulatedGuild], chance: random.Random) -> int:
    presses = 0
    while not await _traffic_is_over(stack):
        guild = chance.choice(people)
        body = {"user": guild.owner_id, "channel": guild.general_id, "kind": "command", "command": "setup"}
        await stack.control("POST", "interact", {**body, "wait": "answered"})
        presses += 1
        await asyncio.sleep(0.05)
    return presses


async def _owned_by(stack: Stack, pod_id: str) -> list[str]:
    return [row["shard_id"] for row in (await stack.internal("/shards"))["shards"] if row["owner"] == pod_id]


async def _lose_one(stack: Stack) -> Takeover:
    """Lose a pod with everything it has, and watch its shards come back elsewhere."""
    name = f"gateway-{_LOST}"
    shards = await _owned_by(stack, name)
    assert shards
    pods = (await stack.internal("/pods/health"))["pods"]
    left = next(pod["lease_seconds"] for pod in pods if pod["pod_id"] == name)
    renewed = time.monotonic() - (stack.plan.lease_ttl - left)
    await stack.lose(_LOST)

    async def owned() -> bool:
        rows = (await stack.internal("/shards"))["shards"]
        owners = {row["shard_id"]: row["owner"] for row in rows}
        return all(owners[shard] not in {None, name} for shard in shards)

    await stack.until(owned, "new owners of the lost shards")
    at = time.monotonic() - renewed
    others = [stack.volume(number) for number in range(_GATEWAYS) if number != _LOST]
    started: dict[str, int] = {}
    moved: dict[str, float] = {}

    async def flowing() -> bool:
        for shard in shards:
            seq = next((s for volume in others if (s := _ledger_rows(volume / f"{shard}.sqlite3")) is not None), None)
            if seq is None or shard in moved:
                continue
            if seq > started.setdefault(shard, seq):
                moved[shard] = time.monotonic() - renewed
        return len(moved) == len(shards)

    await stack.until(flowing, "events in the shards that were taken over")
    return Takeover(len(shards), at, min(moved.values()), max(moved.values()))


def _ledger_rows(path: Path) -> int | None:
    if not path.exists():
        return None
    return next(inspecting.rows(path, "SELECT count(*) FROM ledger"))[0]


async def _all_interactions_complete(stack: Stack) -> bool:
    summary = (await stack.control("GET", "interactions"))["summary"]
    return summary["pending"] == 0 and summary["unfinished"] == 0


async def test_a_lost_machine_loses_nothing(state_folder: Path) -> None:
    async with Stack.prepare(_plan(state_folder, "witnessed_gateway")) as stack:
        people = await simulated.discover(stack)
        await simulated.set_up(stack, people)
        await _begin(stack, count=15_000, rate=500)
        pressing = asyncio.create_task(_press_buttons(stack, people, random.Random(1)))
        await asyncio.sleep(6)
        takeover = await _lose_one(stack)
        presses = await pressing
        await stack.until(lambda: witness.caught_up(stack), "every shard to catch up")
        await stack.until(lambda: _all_interactions_complete(stack), "every deferred interaction to be completed")
        verdict = await witness.judge(stack)
        counters = await stack.control("GET", "counters")
        summary = (await stack.control("GET", "interactions"))["summary"]

    sys.stderr.write(f"{takeover}, {presses} interactions, {verdict}, {counters['resumes']} resumes, {summary}\n")
    assert verdict.expected >= 15_000
    assert verdict.clean, str(verdict)
    assert counters["identifies"] == _SHARDS, "a takeover resumes, it never identifies"
    assert presses >= 20
    assert summary["failed"] == 0, "every interaction gets a valid first answer within 3 s"
    assert summary["answered_twice"] == 0


@pytest.mark.parametrize("module", [pytest.param("acknowledging_gateway", marks=pytest.mark.long), "trusting_gateway"])
async def test_pods_that_break_a_rule_lose_events(state_folder: Path, module: str) -> None:
    """The broken variants: if these were clean, the test above could not fail.

    One acknowledges to Discord what only its volume holds, so that Discord has nothing to send again. One starts empty where it has
    no file, so that what the shard was is gone.
    """
    async with Stack.prepare(_plan(state_folder, module)) as stack:
        await _begin(stack, count=8_000, rate=500)
        await asyncio.sleep(6)
        await stack.lose(_LOST)
        await stack.until(lambda: _traffic_is_over_and_gone(stack), "the end of the traffic")
        verdict, before = await witness.judge(stack), ""
        while str(verdict) != before:  # until nothing comes any more
            before = str(verdict)
            await asyncio.sleep(4)
            verdict = await witness.judge(stack)
    sys.stderr.write(f"{module}: {verdict}\n")
    assert verdict.lost or verdict.gaps, "the broken pods should have lost events"
