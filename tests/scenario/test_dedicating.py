"""A guild gets a shard of its own under load and goes back, whatever is killed: each of its events is applied once, in order."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guildledger
import pytest

import metricskit
from modbot.cli import guilds as simulated
from modbot.cli.guilds import SimulatedGuild
from modbot.cli.stack import Plan, Stack
from modbot.domain import ids
from modbot.domain.ids import GuildId
from modbot.shard import inspecting

_SHARDS = 2
_GATEWAYS = 2
_SETTLED = frozenset({"cleared", "cancelled"})


def _plan(state_folder: Path, module: str, *, gateways: int = _GATEWAYS) -> Plan:
    return Plan(
        state=state_folder / "state",
        gateways=gateways,
        guilds=8,
        shard_count=_SHARDS,
        chat_port=0,
        portal_port=0,
        config_port=0,
        gateway_port=0,
        gateway_module=module,
        python_path=str(Path(__file__).parent),
    )


async def _traffic(stack: Stack, *, count: int, rate: float, seed: int) -> None:
    await stack.control("POST", "switches", {"buffer_events": 30_000, "buffer_seconds": 90, "delivered_limit": 100_000})
    mix = {"chat": 70, "reaction": 16, "edit": 8, "delete": 6, "join": 0, "leave": 0, "spam": 0, "raid": 0}
    await stack.control("POST", "traffic", {"count": count, "rate": rate, "seed": seed, "mix": mix})


async def _flowing(stack: Stack) -> bool:
    return bool((await stack.control("GET", "traffic"))["running"])


async def _ask(stack: Stack, method: str, path: str, body: Any = None) -> Any:
    """Call the config service as an operator; returns what it says."""
    url = f"{stack.config_url}{path}"
    headers = {"authorization": f"Bearer {stack._internal_token}"}
    async with stack.session.request(method, url, json=body, headers=headers) as answer:
        found = await answer.json(content_type=None)
        assert answer.status == 200, found
        return found


async def _settle(stack: Stack, transfer: dict[str, Any]) -> str:
    """Wait until a transfer is over, and say how."""
    async with asyncio.timeout(120):
        while True:
            found = await _ask(stack, "GET", f"/transfers/{transfer['transfer_id']}")
            if found["state"] in _SETTLED:
                return str(found["state"])
            await asyncio.sleep(0.2)


def _formula(guild: SimulatedGuild) -> str:
    return ids.shard_of_guild(GuildId(int(guild.guild_id)), _SHARDS)


def _files(stack: Stack) -> Iterator[Path]:
    for number in range(stack.plan.gateways):
        yield from inspecting.files(stack.volume(number))


async def _caught_up(stack: Stack) -> bool:
    """Whether the shards of the formula, and the dedicated ones that are served, have reached the end of their sessions."""
    seqs = {session["session_id"]: session["seq"] for session in await stack.control("GET", "sessions")}
    owned = {each["shard_id"] for each in (await _ask(stack, "GET", "/shards"))["shards"] if each["owner"]}
    found = [inspecting.look(path) for path in _files(stack)]
    served = [each for each in found if each.shard_id in owned]
    formula = {ids.formula_shard_id(number, _SHARDS) for number in range(_SHARDS)}
    return formula <= {each.shard_id for each in served} and all(
        each.offset is not None and each.offset.seq >= seqs.get(each.offset.session_id, 1 << 60) for each in served
    )


async def _judge(stack: Stack, people: list[SimulatedGuild]) -> dict[str, tuple[int, str]]:
    """Compare what Discord told the formula session of each guild with the guild's ledger; returns (events, difference) by guild."""
    told: dict[str, tuple[str, Any, str]] = {}
    logs: dict[str, list[str]] = {}
    for session in await stack.control("GET", "sessions"):
        log = (await stack.control("GET", f"delivered?session_id={session['session_id']}"))["log"]
        for line in log:
            cause = f"{session['session_id']}/{line['seq']}"
            told[cause] = (line["name"], line["key"], str(line["guild_id"]))
            if line["name"] in guildledger.NAMES:
                logs.setdefault(session["session_id"], []).append(cause)
    longest = sorted(logs.values(), key=len, reverse=True)[:_SHARDS]  # dedicated sessions begin late
    verdict = {}
    for guild in people:
        expected = [told[cause][:2] for log in longest for cause in log if told[cause][2] == guild.guild_id]
        found: list[Any] = []
        for path in _files(stack):
            sql = "SELECT cause FROM guildledger WHERE guild_id = ? ORDER BY entry_id"
            rows = [told[cause][:2] for (cause,) in inspecting.rows(path, sql, (int(guild.guild_id),))]
            assert not (rows and found), "the rows of a guild are in one file only"
            found += rows
        verdict[guild.guild_id] = (len(expected), _difference(expected, found))
    return verdict


def _difference(expected: list[Any], found: list[Any]) -> str:
    if expected == found:
        return ""
    place = next(
        (i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), min(len(expected), len(found))
    )
    return f"{len(found)} of {len(expected)} events, other from {place} on"


async def _identifies(stack: Stack) -> int:
    return int((await stack.control("GET", "counters"))["identifies"])


@pytest.mark.parametrize("module", ["guild_witnessed_gateway", "unaligned_gateway"])
async def test_a_guild_goes_to_its_own_shard_and_back_under_load(state_folder: Path, module: str) -> None:
    """With the broken variant the guild's events are doubled: otherwise this test could not fail."""
    async with Stack.prepare(_plan(state_folder, module)) as stack:
        people = await simulated.discover(stack)
        await simulated.set_up(stack, people)
        guild, quiet = people[0], people[1]
        still = await _ask(stack, "POST", "/reassign-guild", {"guild_id": quiet.guild_id, "pod": "gateway-0"})
        assert await _settle(stack, still) == "cleared", "nothing happens in it, which takes a little longer"
        before = await _identifies(stack)
        await _traffic(stack, count=20_000, rate=600, seed=7)
        pressing = asyncio.create_task(_press_buttons(stack, guild))
        await asyncio.sleep(2)
        there = await _ask(stack, "POST", "/reassign-guild", {"guild_id": guild.guild_id, "pod": "gateway-1"})
        assert await _settle(stack, there) == "cleared"
        assert (await _ask(stack, "GET", f"/guild/{guild.guild_id}/assignment"))[
            "shard_id"
        ] == f"guild-{guild.guild_id}"
        for number in range(_GATEWAYS):
            text = await metricskit.read(stack.session, f"http://127.0.0.1:{stack.ports.gateways[number]}")
            assert ("shard", "dedicated-1") in metricskit.labels(text)
            assert metricskit.ids_in(text, *(each.guild_id for each in people)) == set()
        spent = await _identifies(stack) - before
        assert await _flowing(stack)
        back = await _ask(stack, "DELETE", f"/reassign-guild/{guild.guild_id}")
        assert await _settle(stack, back) == "cleared"
        assert await _flowing(stack), "both ways were under load"
        await stack.until(lambda: _over(stack), "the traffic to end")
        await stack.until(lambda: _caught_up(stack), "every shard to catch up")
        presses = await pressing
        await stack.until(lambda: _all_interactions_complete(stack), "every deferred interaction to be completed")
        summary = (await stack.control("GET", "interactions"))["summary"]
        verdict = await _judge(stack, people)
        assignment = await _ask(stack, "GET", f"/guild/{guild.guild_id}/assignment")

        pauses = _pauses(stack)
    sys.stderr.write(f"{verdict}, {presses} interactions, {summary}, pauses {pauses} s\n")
    assert presses >= 20
    assert (summary["failed"], summary["answered_twice"]) == (0, 0)
    if module == "unaligned_gateway":
        assert verdict[guild.guild_id][1], "the broken pod should have doubled events"
        return
    assert {difference for _, difference in verdict.values()} == {""}, verdict
    assert verdict[guild.guild_id][0] > 1000
    assert spent == 1, "one IDENTIFY for one dedication"
    assert assignment["shard_id"] == _formula(guild)


def _pauses(stack: Stack) -> list[float]:
    """Seconds from each cut to the commit that brought the guild in, as the takers wrote them down."""
    lines = [line for n in range(stack.plan.gateways) for line in stack.gateway(n).log.read_text("utf-8").splitlines()]
    return [json.loads(line)["paused"] for line in lines if '"guild_arrived"' in line]


async def _press_buttons(stack: Stack, guild: SimulatedGuild) -> int:
    """Use `/setup` again and again while the guild is on its way; returns how often."""
    presses = 0
    while await _flowing(stack):
        body = {"user": guild.owner_id, "channel": guild.general_id, "kind": "command", "command": "setup"}
        await stack.control("POST", "interact", {**body, "wait": "answered"})
        presses += 1
        await asyncio.sleep(0.02)
    return presses


async def _all_interactions_complete(stack: Stack) -> bool:
    summary = (await stack.control("GET", "interactions"))["summary"]
    return bool(summary["pending"] == 0 and summary["unfinished"] == 0)


async def _over(stack: Stack) -> bool:
    return not await _flowing(stack)


async def _kill_now_and_then(stack: Stack, chance: random.Random, stop: asyncio.Event) -> int:
    kills = 0
    while not stop.is_set():
        await asyncio.sleep(chance.uniform(0.5, 2.5))
        child = stack.gateway(chance.randrange(_GATEWAYS))
        if child.pid is not None:
            child.kill()
            kills += 1
    return kills


@pytest.mark.long
async def test_killed_givers_and_takers_lose_and_double_nothing(state_folder: Path) -> None:
    chance = random.Random(20261124)
    async with Stack.prepare(_plan(state_folder, "guild_witnessed_gateway")) as stack:
        people = await simulated.discover(stack)
        await simulated.set_up(stack, people)
        guild = people[0]
        await _traffic(stack, count=20_000, rate=350, seed=9)
        stop = asyncio.Event()
        killing = asyncio.create_task(_kill_now_and_then(stack, chance, stop))
        ways = []
        while await _flowing(stack):
            away = (await _ask(stack, "GET", f"/guild/{guild.guild_id}/assignment"))["shard_id"].startswith("guild-")
            if away:
                begun = await _ask(stack, "DELETE", f"/reassign-guild/{guild.guild_id}")
            else:
                pod = f"gateway-{chance.randrange(_GATEWAYS)}"
                begun = await _begin(stack, guild, pod)
            if begun is not None:
                ways.append((begun["target"].partition("-")[0], await _settle(stack, begun)))
        stop.set()
        kills = await killing
        await stack.until(lambda: _caught_up(stack), "every shard to catch up")
        verdict = await _judge(stack, people)
    sys.stderr.write(f"{kills} kills, {ways}, {verdict}\n")
    assert kills >= 5
    assert "cleared" in {state for _, state in ways}
    assert {difference for _, difference in verdict.values()} == {""}, verdict


async def _begin(stack: Stack, guild: SimulatedGuild, pod: str) -> Any:
    """Dedicate a guild; None while the pod has just been killed."""
    try:
        return await _ask(stack, "POST", "/reassign-guild", {"guild_id": guild.guild_id, "pod": pod})
    except AssertionError:
        await asyncio.sleep(0.5)
        return None


@pytest.mark.long
@pytest.mark.parametrize("seconds", [1.4, 1.9])
@pytest.mark.parametrize("side", ["giver", "taker"])
async def test_a_machine_that_is_lost_in_the_middle_takes_nothing_along(
    state_folder: Path, side: str, seconds: float
) -> None:
    """With its volume: whoever restores the shard finds what was recorded, cut or held, or the transfer is given up."""
    async with Stack.prepare(_plan(state_folder, "guild_witnessed_gateway", gateways=3)) as stack:
        people = await simulated.discover(stack)
        await simulated.set_up(stack, people)
        guild = people[0]
        owners = {each["shard_id"]: each["owner"] for each in (await _ask(stack, "GET", "/shards"))["shards"]}
        giver = owners[_formula(guild)]
        taker = next(name for name in ("gateway-0", "gateway-1", "gateway-2") if name != giver)
        await _traffic(stack, count=12_000, rate=350, seed=5)
        await asyncio.sleep(2)
        begun = await _ask(stack, "POST", "/reassign-guild", {"guild_id": guild.guild_id, "pod": taker})
        await stack.until(lambda: _holds(stack, guild, taker), "the new shard's session")
        await asyncio.sleep(seconds)
        before = await _ask(stack, "GET", f"/transfers/{begun['transfer_id']}")
        lost = giver if side == "giver" else taker
        await stack.lose(int(lost.rpartition("-")[2]))
        end = await _settle(stack, begun)
        await stack.until(lambda: _over(stack), "the traffic to end")
        await stack.until(lambda: _caught_up(stack), "every shard to catch up")
        verdict = await _judge(stack, people)
    sys.stderr.write(f"{side} {seconds} {before['state']} {end} {verdict}\n")
    assert {difference for _, difference in verdict.values()} == {""}, verdict


async def _holds(stack: Stack, guild: SimulatedGuild, pod: str) -> bool:
    """Whether the session of the new shard is there."""
    pods = (await _ask(stack, "GET", "/pods/health"))["pods"]
    return any(
        load["shard_id"] == f"guild-{guild.guild_id}" and load["connected"]
        for each in pods
        if each["pod_id"] == pod
        for load in each["shards"]
    )
