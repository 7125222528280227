"""PostgreSQL, the config pods, or one pod's way to them is away: what goes on, what waits, and that nobody is second (F7, F13)."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import owning
import witness
from proxying import Proxy

from modbot.cli import guilds as simulated
from modbot.cli.guilds import SimulatedGuild
from modbot.cli.stack import Plan, Stack
from modbot.domain import ids
from modbot.domain.ids import GuildId

_SHARDS = 6
_TTL = 6.0


def _plan(state_folder: Path, *, gateways: int, config: int = 1) -> Plan:
    return Plan(
        state=state_folder / "state",
        gateways=gateways,
        config=config,
        guilds=18,
        shard_count=_SHARDS,
        lease_ttl=_TTL,
        chat_port=0,
        portal_port=0,
        config_port=0,
        gateway_port=0,
        gateway_module="witnessed_gateway",
        python_path=str(Path(__file__).parent),
    )


class People:
    """Members who go on using the bot, whatever is away."""

    def __init__(self, stack: Stack, guilds: list[SimulatedGuild]) -> None:
        self.stack = stack
        self.guilds = guilds
        self.presses = 0
        self._chance = random.Random(11)

    async def traffic(self) -> None:
        await self.stack.control("POST", "switches", {"buffer_events": 10_000, "buffer_seconds": 300})
        mix = {"chat": 70, "reaction": 16, "edit": 8, "delete": 6, "join": 0, "leave": 0, "spam": 0, "raid": 0}
        await self.stack.control("POST", "traffic", {"count": 100_000, "rate": 100, "seed": 5, "mix": mix})

    async def press(self) -> None:
        """Use `/setup` again and again, until cancelled."""
        while True:
            guild = self._chance.choice(self.guilds)
            body = {"user": guild.owner_id, "channel": guild.general_id, "kind": "command", "command": "setup"}
            await self.stack.control("POST", "interact", {**body, "wait": "answered"})
            self.presses += 1
            await asyncio.sleep(0.2)

    async def track(self, guild: SimulatedGuild) -> None:
        """Ask for an effect: a thread about somebody."""
        act = {"do": "send", "user_id": int(guild.member_ids[0]), "channel_id": int(guild.general_id)}
        message = await self.stack.control("POST", "act", act | {"content": "look at this"})
        body = {"user": guild.moderator_id, "channel": guild.general_id, "kind": "message", "command": "Track"}
        await self.stack.control("POST", "interact", {**body, "target": str(message["id"]), "wait": "answered"})

    async def threads(self, guild: SimulatedGuild) -> int:
        active = await simulated.api(self.stack, "GET", f"guilds/{guild.guild_id}/threads/active")
        return sum(each["parent_id"] == guild.mod_log_id for each in active["threads"])

    async def has_a_thread(self, guild: SimulatedGuild) -> bool:
        return await self.threads(guild) == 1

    async def all_answered(self) -> bool:
        summary = (await self.stack.control("GET", "interactions"))["summary"]
        return summary["pending"] == 0 and summary["unfinished"] == 0


async def _all_act_by(stack: Stack, why: str) -> bool:
    rows = [row for number in range(stack.plan.gateways) for row in await stack.gateway_shards(number)]
    return len(rows) == _SHARDS and all(row["acting"] == why for row in rows)


async def _epochs(stack: Stack) -> dict[str, tuple[str | None, int]]:
    return {row["shard_id"]: (row["owner"], row["epoch"]) for row in (await stack.internal("/shards"))["shards"]}


async def _judged(stack: Stack, people: People) -> witness.Verdict:
    await stack.control("POST", "traffic/stop")
    await stack.until(lambda: witness.caught_up(stack), "every shard to catch up")
    await stack.until(people.all_answered, "every interaction to be completed")
    return await witness.judge(stack)


async def test_while_postgresql_or_all_config_pods_are_away_everything_goes_on(state_folder: Path) -> None:
    async with Stack.prepare(_plan(state_folder, gateways=2, config=2)) as stack:
        people = People(stack, await simulated.discover(stack))
        await simulated.set_up(stack, people.guilds)
        before, identifies = await _epochs(stack), (await stack.control("GET", "counters"))["identifies"]
        await people.traffic()
        pressing = asyncio.create_task(people.press())
        configs = [child for name, child in stack.children.items() if name.startswith("config")]
        for number, (away, back) in enumerate(
            [(stack.stop_postgres, stack.start_postgres), (lambda: _hold(configs), lambda: _release(configs))]
        ):
            started = time.monotonic()
            await away()
            await stack.until(lambda: _all_act_by(stack, "failsafe"), "failsafe mode")
            guild = people.guilds[number]
            await people.track(guild)
            await stack.until(lambda guild=guild: people.has_a_thread(guild), "an effect in failsafe mode")
            await asyncio.sleep(max(0.0, started + 2.5 * _TTL - time.monotonic()))
            assert await _all_act_by(stack, "failsafe")
            await back()
            await stack.until(lambda: _all_act_by(stack, "lease"), "renewed leases")
            await asyncio.sleep(1.5 * _TTL)  # a sweep that held the outage against a pod would have ended it by now
            assert await _epochs(stack) == before, "nobody lost anything"
        pressing.cancel()
        await asyncio.gather(pressing, return_exceptions=True)
        verdict = await _judged(stack, people)
        counters = await stack.control("GET", "counters")
        summary = (await stack.control("GET", "interactions"))["summary"]
        restarts = [stack.gateway(number).restarts for number in range(stack.plan.gateways)]
    sys.stderr.write(f"{verdict}, {people.presses} interactions, {counters}, {summary}\n")
    assert verdict.clean, str(verdict)
    assert verdict.expected > 1000
    assert counters["identifies"] == identifies
    assert restarts == [0, 0]
    assert people.presses > 20
    assert summary["failed"] == 0
    assert summary["answered_twice"] == 0


async def _hold(children: list[Any]) -> None:
    for child in children:
        child.hold(held=True)
        child.kill()


async def _release(children: list[Any]) -> None:
    for child in children:
        child.hold(held=False)


async def test_a_pod_that_alone_is_cut_off_stops_acting_and_comes_back_clean(state_folder: Path) -> None:
    prepared = Stack.prepare(_plan(state_folder, gateways=2))
    async with Proxy(prepared.ports.config[0]).serving() as proxy:
        prepared.detours[0] = proxy.address
        async with prepared as stack:
            people = People(stack, await simulated.discover(stack))
            await simulated.set_up(stack, people.guilds)
            mine = await _guild_of(stack, people)
            identifies = (await stack.control("GET", "counters"))["identifies"]
            await people.traffic()
            proxy.swallow()

            async def stopped() -> bool:
                return {row["acting"] for row in await stack.gateway_shards(0)} == {"no"}

            await stack.until(stopped, "gateway-0 to stop acting")
            await people.track(mine)
            await stack.until(lambda: people.has_a_thread(mine), "the other pod to do what gateway-0 must not do")
            await stack.until(lambda: _all_owned_by(stack, "gateway-1"), "the other pod to take over")
            assert {row["acting"] for row in await stack.gateway_shards(0)} == {"no"}, "a peer refused"
            proxy.cut()
            proxy.mend()
            await stack.until(lambda: _is_back(stack, restarts=1), "gateway-0 to be back as a new incarnation")
            again = await _frozen_and_thawed(stack, people)
            verdict = await _judged(stack, people)
            counters = await stack.control("GET", "counters")
            summary = (await stack.control("GET", "interactions"))["summary"]
            threads = [await people.threads(guild) for guild in (mine, again)]
    assert threads == [1, 1], "what was done by the new owner was not done again by the old one"
    assert verdict.clean, str(verdict)
    assert counters["identifies"] == identifies
    assert summary["failed"] == 0
    assert summary["answered_twice"] == 0


async def _guild_of(stack: Stack, people: People, *, but: SimulatedGuild | None = None) -> SimulatedGuild:
    """Return a guild that gateway-0 serves; waits until it has got one."""
    found: list[SimulatedGuild] = []

    async def has_one() -> bool:
        owners = await _epochs(stack)
        for guild in people.guilds:
            shard_id = ids.shard_of_guild(GuildId(int(guild.guild_id)), stack.plan.shard_count)
            if guild is not but and owners[shard_id][0] == "gateway-0":
                found.append(guild)
                return True
        return False

    await stack.until(has_one, "gateway-0 to have a guild")
    return found[0]


async def _all_owned_by(stack: Stack, pod_id: str) -> bool:
    return {owner for owner, _ in (await _epochs(stack)).values()} == {pod_id}


async def _is_back(stack: Stack, *, restarts: int) -> bool:
    states = {pod["pod_id"]: pod["state"] for pod in (await stack.internal("/pods/health"))["pods"]}
    return set(states.values()) == {"live"} and stack.gateway(0).restarts == restarts


async def _frozen_and_thawed(stack: Stack, people: People) -> SimulatedGuild:
    """Stop the pod's time until it has lost everything: what it does afterwards must be nothing, until it has started anew."""
    guild = await _guild_of(stack, people)
    await stack.until(lambda: _all_act_by(stack, "lease"), "all shards to be served again")
    while await people.has_a_thread(guild):  # the one that was cut off before
        guild = await _guild_of(stack, people, but=guild)
    stack.gateway(0).freeze(frozen=True)
    await people.track(guild)
    await stack.until(lambda: _all_owned_by(stack, "gateway-1"), "the other pod to take over")
    await stack.until(lambda: people.has_a_thread(guild), "the other pod to do what the frozen one was asked")
    stack.gateway(0).freeze(frozen=False)
    await stack.until(lambda: _is_back(stack, restarts=2), "gateway-0 to be back as a new incarnation")
    await stack.until(lambda: _all_act_by(stack, "lease"), "all shards to be served again")
    return guild


async def test_what_starts_in_an_outage_waits_or_makes_do(state_folder: Path) -> None:
    """http pods start with the last known table. A gateway pod waits, and nobody goes on without its confirmation."""
    async with Stack.prepare(_plan(state_folder, gateways=2)) as stack:
        people = People(stack, await simulated.discover(stack))
        await simulated.set_up(stack, people.guilds)
        identifies = (await stack.control("GET", "counters"))["identifies"]
        mine = [guild for guild in people.guilds if await owning.owner_of(stack, guild) == "gateway-0"]
        await people.traffic()
        await stack.stop_postgres()
        await stack.until(lambda: _all_act_by(stack, "failsafe"), "failsafe mode")
        for name in ("http-0", "http-1"):
            stack.children[name].kill()
        await stack.until(lambda: _http_pods_are_back(stack), "http pods that know where to route")
        await people.track(mine[0])
        await stack.until(lambda: people.has_a_thread(mine[0]), "an effect in failsafe mode")
        stack.gateway(1).kill()

        async def stopped() -> bool:
            return {row["acting"] for row in await stack.gateway_shards(0)} == {"no"}

        await stack.until(stopped, "gateway-0 to stop acting")
        await people.track(mine[1])
        await asyncio.sleep(_TTL)
        assert await stopped()
        assert await stack.gateway_shards(1) == [], "it runs, and has registered nowhere"
        assert await people.threads(mine[1]) == 0
        await stack.start_postgres()
        await stack.until(lambda: _all_act_by(stack, "lease"), "renewed leases")
        await stack.until(lambda: people.has_a_thread(mine[1]), "what waited to be done")
        verdict = await _judged(stack, people)
        counters = await stack.control("GET", "counters")
        summary = (await stack.control("GET", "interactions"))["summary"]
        restarts = [stack.gateway(number).restarts for number in range(2)]
    assert restarts == [0, 1]
    assert verdict.clean, str(verdict)
    assert counters["identifies"] == identifies
    assert summary["failed"] == 0
    assert summary["answered_twice"] == 0


async def _http_pods_are_back(stack: Stack) -> bool:
    if any(stack.children[name].restarts < 1 for name in ("http-0", "http-1")):
        return False
    for _ in range(20):  # the kernel spreads connections over both
        async with aiohttp.ClientSession() as session, session.get(f"{stack.portal_url}/ready") as answer:
            if answer.status != 200:
                return False
    return True
