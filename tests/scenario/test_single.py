"""The way back to one pod and the way forward again, under traffic: nothing is lost or doubled, nobody serves beside another, no epoch is reused."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import guildledger
import msgspec
import psutil
import pytest
import singlekit
import witness
from singlekit import Single

from modbot.cli import drilling
from modbot.cli import guilds as simulated
from modbot.cli.adopting import Plan as Adoption
from modbot.cli.processes import python
from modbot.cli.stack import Plan, Stack
from modbot.domain import ids
from modbot.domain.ids import GuildId
from modbot.ops.replicas import Keys, ReplicaStore
from modbot.ops.settings import Secret
from modbot.shard import inspecting

_SHARDS = 4
_EVENTS, _LATER = 2_000, 500
_ALL = {ids.formula_shard_id(number, _SHARDS) for number in range(_SHARDS)}
_MIX = {"chat": 70, "reaction": 16, "edit": 8, "delete": 6, "join": 0, "leave": 0, "spam": 0, "raid": 0}


def _plan(state_folder: Path) -> Plan:
    return Plan(
        state=state_folder / "state",
        gateways=2,
        http=1,
        guilds=6,
        shard_count=_SHARDS,
        chat_port=0,
        portal_port=0,
        config_port=0,
        gateway_port=0,
        gateway_module="witnessed_gateway",
        python_path=str(Path(__file__).parent),
    )


async def _traffic(stack: Stack, *, count: int, rate: float, seed: int) -> None:
    await stack.control("POST", "traffic", {"count": count, "rate": rate, "seed": seed, "mix": _MIX})


async def _over(stack: Stack) -> bool:
    return not (await stack.control("GET", "traffic"))["running"]


async def _stop_the_gateways(stack: Stack) -> None:
    """As the deletion of the StatefulSet does: no pod has a peer that stays."""
    await asyncio.gather(*(stack.gateway(number).stop(asking=signal.SIGINT) for number in range(2)))
    await asyncio.gather(*(stack.sidecar(number).stop() for number in range(2)))


async def _epochs(stack: Stack) -> dict[str, list[int]]:
    """Return the epochs of each shard that the store has, newest first."""
    store = ReplicaStore(stack.replica_store, Keys(Secret(""), Secret("")))
    return {shard: list(await store.epochs(shard)) for shard in await store.shards()}


async def _adopt(stack: Stack, *arguments: str) -> tuple[int, Adoption, str]:
    """Run `modbot adopt` as an operator does who has the environment of a gateway pod."""
    environ = singlekit.of_stack(stack, stack.plan.state, [0, 0, 0], MODBOT_CONFIG_URL=stack.config_url)
    process = await asyncio.create_subprocess_exec(
        *python("modbot.cli", "adopt", "--json", *arguments),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    empty = Adoption(cluster=ids.NO_CLUSTER, holder=None, shards=[])
    assert process.returncode is not None
    return process.returncode, msgspec.json.decode(out, type=Adoption) if out else empty, errors.decode()


@pytest.mark.parametrize("forward", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_back_to_one_pod_and_forward_again(state_folder: Path, *, forward: bool) -> None:
    started = time.monotonic()
    async with Stack.prepare(_plan(state_folder)) as stack:
        people = await simulated.discover(stack)
        switches = {"buffer_events": 20_000, "buffer_seconds": 90, "trim_on_heartbeat": True, "heartbeat_interval": 1.0}
        await stack.control("POST", "switches", switches)
        await stack.control("POST", "faults/sockets", {"action": "reconnect"})
        await _traffic(stack, count=_EVENTS, rate=130, seed=3)
        folder = stack.plan.state / "gateway-single"
        environ = singlekit.of_stack(stack, folder, singlekit.free_ports(3))
        async with singlekit.running(environ, state_folder / "single.log") as single:
            await _every_replica_is_proven(stack)
            await _it_waits_while_others_serve(stack, single)
            await _people_are_answered(stack, single, people)
            before = await _epochs(stack)
            await _stop_the_gateways(stack)
            await _it_takes_over(stack, single, before)
            await stack.until(lambda: _completed(stack), "what was answered while it waited to be completed")
            await stack.until(lambda: _over(stack), "the traffic to end")
            await stack.until(lambda: witness.caught_up(stack), "every shard to catch up")
            back = await witness.judge(stack)
            assert await single.stop() < 55
            assert single.process.returncode == 0
        counters = await stack.control("GET", "counters")
        there = await _and_forward(stack) if forward else back
    sys.stderr.write(f"{time.monotonic() - started:.0f} s; back: {back}; forward: {there}\n")
    assert back.expected >= _EVENTS
    assert back.clean, str(back)
    assert counters["identifies"] == _SHARDS, "whoever takes over resumes, it never identifies"
    assert there.clean, str(there)
    assert there.expected >= back.expected + _LATER * forward


async def _and_forward(stack: Stack) -> witness.Verdict:
    before = await _epochs(stack)
    await _traffic(stack, count=_LATER, rate=100, seed=4)
    await _forward_with_a_new_database(stack, before)
    await stack.until(lambda: _over(stack), "the traffic to end")
    await stack.until(lambda: witness.caught_up(stack), "every shard to catch up")
    assert (await stack.control("GET", "counters"))["identifies"] == _SHARDS
    return await witness.judge(stack)


async def _every_replica_is_proven(stack: Stack) -> None:
    """`modbot restore-drill` in the folder of a running system, under traffic."""

    async def proven() -> bool:
        return await asyncio.to_thread(drilling.run, state=stack.plan.state, to=None, keep=False, as_json=True) == 0

    await stack.until(proven, "every replica to be proven")


async def _it_waits_while_others_serve(stack: Stack, single: Single) -> None:
    async def waits() -> bool:
        assert single.process.returncode is None, single.log.read_text("utf-8")[-2000:]
        return bool(single.said("adoption_waits"))

    await stack.until(waits, "the pod to say why it waits")
    assert "gateway-0 and gateway-1 serve from this store" in single.said("adoption_waits")[0]["reason"]
    await stack._until_answers(f"{single.url}/health", "the pod to be well although it waits")
    assert await single.served() == set()
    code, _, errors = await _adopt(stack, "--yes")
    assert (code, errors) == (0, ""), "the system that serves knows all that the store does"


async def _it_takes_over(stack: Stack, single: Single, before: dict[str, list[int]]) -> None:
    async def served() -> bool:
        return await single.served() == _ALL

    await stack.until(served, "the pod to serve all shards")
    assert [line["from_epoch"] for line in single.said("shard_restored")] == [
        before[shard][0] for shard in sorted(_ALL)
    ]
    after = await _epochs(stack)
    assert all(after[shard][0] > before[shard][0] for shard in _ALL), "no epoch of the other cluster is used again"
    assert single.said("store_adopted")[0]["shards"] == _SHARDS


async def _people_are_answered(stack: Stack, single: Single, people: list[simulated.SimulatedGuild]) -> None:
    """Interactions go to the pod's http service, which answers although nobody of this pod serves the guild yet."""
    headers = {"Authorization": f"Bot {stack.discord['bot_token']}"}
    url, body = (
        f"{stack.discord['api_url']}/applications/@me",
        {"interactions_endpoint_url": f"{single.url}/interactions"},
    )
    async with stack.session.patch(url, json=body, headers=headers) as answer:
        assert answer.status == 200
    guild = people[0]
    press = {"user": guild.owner_id, "channel": guild.general_id, "kind": "command", "command": "setup"}
    await stack.control("POST", "interact", {**press, "wait": "answered"})
    summary = (await stack.control("GET", "interactions"))["summary"]
    assert (summary["failed"], summary["answered_twice"]) == (0, 0)


async def _completed(stack: Stack) -> bool:
    summary = (await stack.control("GET", "interactions"))["summary"]
    return bool(summary["pending"] == 0 and summary["unfinished"] == 0 and summary["failed"] == 0)


async def _forward_with_a_new_database(stack: Stack, before: dict[str, list[int]]) -> None:
    """The load-balanced system comes back: with its old volumes, whose files have gone on elsewhere, and PostgreSQL made anew."""
    connection = await asyncpg.connect(stack.database_url)
    await connection.execute("CREATE DATABASE anew")
    await connection.close()
    config = stack.children["config-0"]
    await config.stop()
    config.environment = {**config.environment, "DATABASE_URL": stack.database_url.replace("/postgres?", "/anew?")}
    await config.start()

    async def answers() -> bool:
        return bool((await stack.internal("/shards"))["shards"])

    await stack.until(answers, "the config service")
    await stack._start_gateway(0)
    assert await _refusing(stack), "without an adoption nothing is served"
    code, _, errors = await _adopt(stack, "--yes")
    assert (code, "gateway-0 has a valid lease in this database" in errors) == (2, True)
    await stack.gateway(0).stop(asking=signal.SIGINT)
    await stack.sidecar(0).stop()

    async def quiet() -> bool:
        code, plan, _ = await _adopt(stack)
        assert (code, plan.done, {line.shard_id for line in plan.shards}) == (0, False, _ALL)
        return not plan.waits

    await stack.until(quiet, "the store to be quiet")
    code, plan, errors = await _adopt(stack, "--yes")
    assert (code, plan.done) == (0, True), errors
    code, plan, _ = await _adopt(stack, "--yes")
    assert (code, plan.empty) == (0, True), "a second time there is nothing to do"
    await asyncio.gather(*(stack._start_gateway(number) for number in range(2)))
    await stack.until(stack._all_served, "every shard to be served")
    after = await _epochs(stack)
    assert all(after[shard][0] > before[shard][0] for shard in _ALL)


async def _refusing(stack: Stack) -> bool:
    """Wait until the pod says of every shard that the store is another's."""

    async def refused() -> bool:
        rows: list[dict[str, Any]] = await stack.gateway_shards(0)
        problems = [row["problem"] or "" for row in rows]
        return len(problems) == _SHARDS and all("in the service of cluster" in problem for problem in problems)

    await stack.until(refused, "the pod to refuse every shard")
    return True


@pytest.mark.long
async def test_alone_it_starts_again_with_what_it_had_and_ends_when_a_child_cannot_be_kept(state_folder: Path) -> None:
    """Without any store: PostgreSQL and the shard files are in the volume."""
    async with Stack.prepare(_plan(state_folder)) as stack:
        await _stop_the_gateways(stack)
        folder, log = stack.plan.state / "gateway-single", state_folder / "single.log"
        environ = singlekit.of_stack(stack, folder, singlekit.free_ports(3))
        del environ["MODBOT_REPLICA_STORE"]
        async with singlekit.running(environ, log) as single:
            await stack.until(lambda: _serves_all(single), "the pod to serve all shards")
            children = psutil.Process(single.process.pid).children()
            assert {os.getpgid(child.pid) for child in children} == {single.process.pid}, "one process group"
            _of(children, "modbot.services.config").kill()
            _of(children, "bin/postgres").kill()
            await stack.until(lambda: _said_often(single, "config_started", 2), "the config service to be back")
            await stack.until(lambda: _serves_all(single), "the pod to serve all shards")
            os.killpg(single.process.pid, signal.SIGKILL)  # as a container ends whose memory is up
            await single.process.wait()
        async with singlekit.running(environ, log) as single:
            await stack.until(lambda: _said_often(single, "single_started", 2), "the pod to be back")
            await stack.until(lambda: _owned_again(single), "the next epoch of all shards")
            await stack.until(lambda: _serves_all(single), "the pod to serve all shards")
            (folder / "pod.lock").rename(folder / "somebody.lock")
            (folder / "pod.lock").mkdir()
            _of(psutil.Process(single.process.pid).children(), "witnessed_gateway").kill()
            assert await asyncio.wait_for(single.process.wait(), 60) == 1
            assert "gateway does not stay up. Its last words:" in log.read_text("utf-8")
        assert {path.name for path in folder.glob("*.log")} == set(), "logs go to the pod's stderr"


async def _serves_all(single: Single) -> bool:
    assert single.process.returncode is None, single.log.read_text("utf-8")[-3000:]
    return await single.served() == _ALL


async def _owned_again(single: Single) -> bool:
    """Whether every shard is owned in its second epoch: the pod has found what PostgreSQL knew, and its files."""
    shards = (await single.ask("/shards"))["shards"]
    return {(shard["epoch"], shard["owner"]) for shard in shards} == {(2, "single-0")}


async def _said_often(single: Single, event: str, times: int) -> bool:
    return len(single.said(event)) >= times


def _of(children: list[psutil.Process], word: str) -> psutil.Process:
    return next(child for child in children if word in " ".join(child.cmdline()))


@pytest.mark.long
async def test_guilds_with_a_shard_of_their_own_are_where_they_were(state_folder: Path) -> None:
    """Only PostgreSQL knew it; the files tell. One guild has its own shard, one had one and went back, one never had one."""
    plan = dataclasses.replace(_plan(state_folder), gateway_module="guild_witnessed_gateway")
    async with Stack.prepare(plan) as stack:
        own, returned, other = [int(guild.guild_id) for guild in (await simulated.discover(stack))[:3]]
        for guild_id in (own, returned):
            await _settle(
                stack, await _ask(stack, "POST", "/reassign-guild", {"guild_id": str(guild_id), "pod": "gateway-0"})
            )
        await _settle(stack, await _ask(stack, "DELETE", f"/reassign-guild/{returned}"))
        before = await _epochs(stack)
        assert {f"guild-{own}", f"guild-{returned}"} < set(before)
        await _stop_the_gateways(stack)
        folder = stack.plan.state / "gateway-single"
        environ = singlekit.of_stack(stack, folder, singlekit.free_ports(3))
        async with singlekit.running(environ, state_folder / "single.log", "guild_witnessed_single") as single:
            expected = _ALL | {f"guild-{own}"}
            await stack.until(lambda: _serves(single, expected), "the pod to serve the right shards")
            homes = {
                each: (await single.ask(f"/guild/{each}/assignment"))["shard_id"] for each in (own, returned, other)
            }
            await _traffic(stack, count=600, rate=150, seed=5)
            await stack.until(lambda: _over(stack), "the traffic to end")
            told = {guild_id: await _told(stack, guild_id) for guild_id in homes}
            await stack.until(lambda: _has(folder, homes, told), "every event to be in the file of its guild's shard")
            await single.stop()
        found = {path.stem: _ledger(path) for path in inspecting.files(folder)}
        after = await _epochs(stack)
    assert homes == {
        own: f"guild-{own}",
        **{each: ids.shard_of_guild(GuildId(each), _SHARDS) for each in (returned, other)},
    }
    assert set(found) == expected
    assert own not in found[ids.shard_of_guild(GuildId(own), _SHARDS)], "nobody else handles its events"
    assert after[f"guild-{returned}"] == before[f"guild-{returned}"]


async def _ask(stack: Stack, method: str, path: str, body: Any = None) -> Any:
    headers = {"authorization": f"Bearer {stack.internal_token}"}
    async with stack.session.request(method, stack.config_url + path, json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json(content_type=None)


async def _settle(stack: Stack, transfer: Any) -> None:
    async def cleared() -> bool:
        state = (await _ask(stack, "GET", f"/transfers/{transfer['transfer_id']}"))["state"]
        assert state != "cancelled"
        return bool(state == "cleared")

    await stack.until(cleared, "the transfer to be over")


async def _serves(single: Single, shards: set[str]) -> bool:
    assert single.process.returncode is None, single.log.read_text("utf-8")[-3000:]
    return await single.served() == shards


async def _told(stack: Stack, guild_id: int) -> int:
    """Return how many events of a guild the session of its formula shard was told."""
    most = 0
    for session in await stack.control("GET", "sessions"):
        log = (await stack.control("GET", f"delivered?session_id={session['session_id']}"))["log"]
        most = max(
            most, sum(line["name"] in guildledger.NAMES and str(line["guild_id"]) == str(guild_id) for line in log)
        )
    return most


async def _has(folder: Path, homes: dict[int, str], told: dict[int, int]) -> bool:
    return all(_ledger(folder / f"{homes[each]}.sqlite3").get(each, 0) == number for each, number in told.items())


def _ledger(path: Path) -> dict[int, int]:
    return dict(inspecting.rows(path, "SELECT guild_id, count(*) FROM guildledger GROUP BY guild_id"))
