"""I9: Discord refuses to resume while people talk and pods die; what it still has is applied once, and the rest is named."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modbot.cli import guilds as simulated
from modbot.cli.guilds import SimulatedGuild
from modbot.cli.stack import Plan, Stack
from modbot.shard import inspecting

_GATEWAYS = 2
_HISTORY = 1 << 16


@dataclass
class Found:
    """What people wrote, beside what the shard files hold."""

    written: int = 0
    live: int = 0
    recovered: int = 0
    lost: list[int] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)
    disordered: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.written} messages: {self.live} live, {self.recovered} read back, lost {len(self.lost)}, "
            f"doubled {len(self.doubled)}, out of order {len(self.disordered)}"
        )


def _plan(state_folder: Path, module: str) -> Plan:
    return Plan(
        state=state_folder / "state",
        gateways=_GATEWAYS,
        http=1,
        guilds=10,
        shard_count=4,
        chat_port=0,
        portal_port=0,
        config_port=0,
        gateway_port=0,
        gateway_module=module,
        python_path=str(Path(__file__).parent),
    )


async def _talk(stack: Stack, *, seconds: float, seed: int) -> None:
    mix = {"chat": 80, "reaction": 8, "edit": 6, "delete": 6, "join": 0, "leave": 0, "spam": 0, "raid": 0}
    await stack.control("POST", "traffic", {"seconds": seconds, "rate": 60, "seed": seed, "mix": mix})


async def _silent(stack: Stack) -> bool:
    return not (await stack.control("GET", "traffic"))["running"]


async def _refuse_to_resume(
    stack: Stack, chance: random.Random, *, deaths: int, write_to: str = "", writer: str = ""
) -> None:
    """End every session with op 9, then let pods die whose sessions remember hardly anything, also while they repair."""
    await asyncio.sleep(1.5)
    await stack.control("POST", "faults/sockets", {"action": "invalidate", "resumable": False})
    if write_to:
        await stack.control(
            "POST", "act", {"do": "send", "channel_id": int(write_to), "user_id": int(writer), "content": "hello"}
        )
    await asyncio.sleep(3.0)
    await stack.control("POST", "switches", {"buffer_events": 1})
    for _ in range(deaths):
        stack.gateway(chance.randrange(_GATEWAYS)).kill()
        await asyncio.sleep(chance.uniform(1.5, 4.0))
    await stack.until(lambda: _silent(stack), "the traffic to end")


async def _reached_the_end(stack: Stack) -> bool:
    repairs = [each for path in _files(stack) for each in inspecting.repairs(path)]
    sessions = {each["session_id"]: each["seq"] for each in await stack.control("GET", "sessions")}
    offsets = [inspecting.look(path).offset for path in _files(stack)]
    caught_up = all(each is not None and each.seq >= sessions.get(each.session_id, each.seq + 1) for each in offsets)
    return caught_up and bool(repairs)


async def _all_read(stack: Stack) -> bool:
    repairs = [each for path in _files(stack) for each in inspecting.repairs(path)]
    return await _reached_the_end(stack) and all(each.state == "done" for each in repairs)


def _files(stack: Stack) -> list[Path]:
    return [path for number in range(stack.plan.gateways) for path in inspecting.files(stack.volume(number))]


async def _compare(
    stack: Stack, people: list[SimulatedGuild], *, unreadable: frozenset[int] = frozenset(), holes: bool = False
) -> Found:
    """Compare everything that Discord delivered or still has with the ledgers of the shard files.

    With `holes` the log of deliveries also names what never left; then only what Discord still has is expected.
    """
    found = Found()
    expected = set[int]() if holes else set(await _delivered(stack))
    for guild in people:
        expected |= await _remembered(stack, guild, unreadable)
    entries = [row for path in _files(stack) for row in inspecting.rows(path, _LEDGER)]
    counted = Counter(message_id for _cause, message_id, _channel in entries)
    recovered = [row for row in entries if row[0].startswith("recovered/")]
    found.written, found.recovered, found.live = len(expected), len(recovered), len(entries) - len(recovered)
    found.lost = sorted(expected - counted.keys())
    found.doubled = sorted(message_id for message_id, times in counted.items() if times > 1)
    newest: dict[int, int] = {}
    for _cause, message_id, channel_id in recovered:
        if message_id < newest.get(channel_id, 0):
            found.disordered.append(message_id)
        newest[channel_id] = message_id
    return found


_LEDGER = "SELECT cause, message_id, channel_id FROM ledger WHERE name = 'MESSAGE_CREATE' ORDER BY entry_id"


async def _delivered(stack: Stack) -> list[int]:
    """Return the messages that sessions were given and took, also sessions that have ended meanwhile."""
    ids: list[int] = []
    last = {seq[0]: seq[1] for path in _files(stack) for seq in inspecting.rows(path, _LAST)}
    for session_id, seq in last.items():
        log = (await stack.control("GET", f"delivered?session_id={session_id}"))["log"]
        ids += [int(line["key"][0]) for line in log if line["name"] == "MESSAGE_CREATE" and line["seq"] <= seq]
    return ids


_LAST = "SELECT session_id, seq FROM shard WHERE session_id IS NOT NULL UNION SELECT session_id, last_seq FROM gaps WHERE kind = 'session'"


async def _remembered(stack: Stack, guild: SimulatedGuild, unreadable: frozenset[int]) -> set[int]:
    """Return the messages of a guild that Discord still has."""
    found: set[int] = set()
    for channel in await simulated.api(stack, "GET", f"guilds/{guild.guild_id}/channels"):
        if channel["type"] != 0 or int(channel["id"]) in unreadable:
            continue
        after, ids = 0, set[int]()
        while page := await simulated.api(stack, "GET", f"channels/{channel['id']}/messages?limit=100&after={after}"):
            ids |= {int(message["id"]) for message in page}
            after = max(ids)
        found |= ids
    return found


async def _hide_history(stack: Stack, guild: SimulatedGuild) -> str:
    """Take Read Message History from modbot in one channel; returns its id."""
    roles = await simulated.api(stack, "GET", f"guilds/{guild.guild_id}/roles")
    channels = await simulated.api(stack, "GET", f"guilds/{guild.guild_id}/channels")
    own = next(role["id"] for role in roles if role["managed"])
    place = next(each["id"] for each in channels if each["type"] == 0 and each["name"] not in {"general", "mod-log"})
    body = {"type": 0, "deny": str(_HISTORY), "allow": "0"}
    await simulated.api(stack, "PUT", f"channels/{place}/permissions/{own}", body)
    return str(place)


async def test_what_discord_still_has_is_applied_once_and_the_rest_is_named(state_folder: Path) -> None:
    async with Stack.prepare(_plan(state_folder, "witnessed_gateway")) as stack:
        people = await simulated.discover(stack)
        await simulated.set_up(stack, people)
        closed = await _hide_history(stack, people[0])
        await _talk(stack, seconds=16, seed=11)
        await _refuse_to_resume(stack, random.Random(5), deaths=3, write_to=closed, writer=people[0].owner_id)
        await stack.until(lambda: _all_read(stack), "every guild to be repaired")
        found = await _compare(stack, people, unreadable=frozenset({int(closed)}))
        repairs = [each for path in _files(stack) for each in inspecting.repairs(path)]
        losses = [each for path in _files(stack) for each in inspecting.losses(path)]
        lines = await asyncio.gather(*(_told(stack, guild) for guild in people))
        metrics = [await _exposed(stack, number) for number in range(_GATEWAYS)]
        findings = [inspecting.look(path) for path in _files(stack)]
        shown = [row for number in range(_GATEWAYS) for row in await _shards(stack, number)]

    gaps = {(each.guild_id, each.gap_id) for each in repairs}
    sys.stderr.write(f"{found}; {len(gaps)} repairs, {sum(each.gaps for each in findings)} gaps\n")
    assert found.recovered >= 100
    assert found.live >= 100
    assert (found.lost, found.doubled, found.disordered) == ([], [], []), str(found)
    assert [each.dead_letters for each in findings] == [0] * len(findings)
    assert sum(each.messages for each in repairs) == found.recovered, "the record counts what was read back"
    assert all(each.ended_at and each.began_at < each.ended_at for each in repairs)
    for kind in ("edits", "deletions", "reactions"):
        assert {(each.guild_id, each.gap_id) for each in losses if each.kind == kind and each.number is None} == gaps
    unread = {(each.guild_id, each.place_id, each.number) for each in losses if each.kind == "unreadable channels"}
    assert unread == {(int(people[0].guild_id), int(closed), 1)}
    assert sum(row["repaired"] == row["guilds"] for shard in shown for row in shard["gaps"]) >= 4
    assert all("modbot_gaps_total" in text for text in metrics)
    assert any("modbot_gap_recovered_total" in text for text in metrics)
    assert sum("1 channel could not be read" in line for line in lines[0]) >= 1
    told = [line for of_guild in lines for line in of_guild]
    assert len(told) >= 10
    assert all("edits, deletions, reactions and AutoMod" not in line for line in told), "nobody here wants AutoMod"


async def test_numbers_that_discord_skips_are_looked_for(state_folder: Path) -> None:
    """A hole: the session goes on, some of its events never came."""
    async with Stack.prepare(_plan(state_folder, "witnessed_gateway")) as stack:
        people = await simulated.discover(stack)
        await simulated.set_up(stack, people)
        await _talk(stack, seconds=6, seed=13)
        await asyncio.sleep(1.5)
        await stack.control("POST", "faults/dispatch", {"kind": "drop", "count": 5, "name": "MESSAGE_CREATE"})
        await stack.control("POST", "faults/dispatch", {"kind": "drop", "count": 2, "name": "MESSAGE_UPDATE"})
        await stack.until(lambda: _silent(stack), "the traffic to end")
        await stack.until(lambda: _all_read(stack), "every guild to be repaired")
        found = await _compare(stack, people, holes=True)
        repairs = [(path, each) for path in _files(stack) for each in inspecting.repairs(path)]
        faults = await stack.control("GET", "faults")
        counters = await stack.control("GET", "counters")
    missing = {(path, each.gap_id): each.missing for path, each in repairs}
    sys.stderr.write(f"{found}; {len(missing)} holes\n")
    assert (found.lost, found.doubled, found.disordered) == ([], [], []), str(found)
    assert {each.kind for _path, each in repairs} == {"hole"}
    assert sum(number or 0 for number in missing.values()) == sum(sum(fault["done"].values()) for fault in faults)
    assert sum(each.messages for _path, each in repairs) == found.recovered
    assert 0 < found.recovered <= 4 * 5, "the rest was deleted meanwhile"
    assert counters["identifies"] == 4, "a hole costs no session"


@pytest.mark.long
async def test_a_session_that_silently_stops_bringing_messages_is_given_up(state_folder: Path) -> None:
    """Heartbeats, reactions and edits go on; only messages stop. One session is replaced, the others stay."""
    async with Stack.prepare(_plan(state_folder, "impatient_gateway")) as stack:
        people = await simulated.discover(stack)
        await simulated.set_up(stack, people)
        await _talk(stack, seconds=14, seed=14)
        await asyncio.sleep(1.0)
        silent = next(each for each in await stack.control("GET", "sessions") if each["guilds"])
        fault = {"kind": "lose", "count": None, "name": "MESSAGE_CREATE", "session_id": silent["session_id"]}
        await stack.control("POST", "faults/dispatch", fault)
        await stack.until(lambda: _silent(stack), "the traffic to end")
        await stack.until(lambda: _all_read(stack), "every guild to be repaired")
        found = await _compare(stack, people)
        repairs = [each for path in _files(stack) for each in inspecting.repairs(path)]
        withheld = await stack.control("GET", "withheld")
        counters = await stack.control("GET", "counters")
        metrics = "".join([await _exposed(stack, number) for number in range(_GATEWAYS)])
    sys.stderr.write(f"{found}; {len(withheld)} withheld\n")
    assert len(withheld) > 10
    assert (found.lost, found.doubled, found.disordered) == ([], [], []), str(found)
    assert {each.kind for each in repairs} == {"silence"}
    assert sum(each.messages for each in repairs) == found.recovered > 0
    assert counters["identifies"] == 5
    assert 'modbot_gateway_silences_total{shard="' in metrics


async def test_a_pod_that_does_not_read_back_loses_messages(state_folder: Path) -> None:
    """The broken variant: if this one were clean, the test above could not fail."""
    async with Stack.prepare(_plan(state_folder, "unrepaired_gateway")) as stack:
        people = await simulated.discover(stack)
        await _talk(stack, seconds=8, seed=12)
        await _refuse_to_resume(stack, random.Random(6), deaths=1)
        await stack.until(lambda: _reached_the_end(stack), "every shard to catch up")
        found = await _compare(stack, people)
    sys.stderr.write(f"{found}\n")
    assert found.recovered == 0
    assert len(found.lost) > 50
    assert found.doubled == []


async def _told(stack: Stack, guild: SimulatedGuild) -> list[str]:
    messages = await simulated.api(stack, "GET", f"channels/{guild.mod_log_id}/messages?limit=100")
    return [each["content"] for each in messages if "Discord refused to resume" in each["content"]]


async def _exposed(stack: Stack, number: int) -> str:
    async with stack.session.get(f"http://127.0.0.1:{stack.ports.gateways[number]}/metrics") as answer:
        return await answer.text()


async def _shards(stack: Stack, number: int) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {stack.internal_token}"}
    url = f"http://127.0.0.1:{stack.ports.gateways[number]}/shards"
    async with stack.session.get(url, headers=headers) as answer:
        rows: list[dict[str, Any]] = await answer.json()
        return rows
