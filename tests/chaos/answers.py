"""What people asked beside what they got: first answers, completions, notes and the messages that notes ask for (I5, I7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from chaos.files import Snapshot
from chaos.notes import MARK
from modbot.cli import guilds as simulated
from modbot.cli.guilds import SimulatedGuild
from modbot.cli.stack import Stack

_FIRST_ANSWER_MS = 3000
EXCUSE = 0.4
"""Seconds of its own standstill after which the simulator may be wrong: pods answer after 2 s at the latest, it waits for 3 s."""


async def complete(stack: Stack) -> bool:
    """Whether nobody waits for anything any more."""
    summary = (await stack.control("GET", "interactions"))["summary"]
    return summary["pending"] == 0 and summary["unfinished"] == 0


async def records(stack: Stack) -> list[dict[str, Any]]:
    """Return every use of `/note`."""
    found: list[dict[str, Any]] = (await stack.control("GET", "interactions"))["interactions"]
    return [each for each in found if each["name"] == "note"]


async def late_judge(stack: Stack, asked: Iterable[dict[str, Any]]) -> set[str]:
    """Return the uses that seem to be answered too late while the simulator itself stood still: it cannot tell.

    The simulator and all pods share few cores. What it did not read in time is no proof against who has written it.
    """
    stalls = (await stack.control("GET", "stalls"))["stalls"]
    return {
        each["id"]
        for each in asked
        if each["problem"] is not None
        and stalled(stalls, each["created"], each["created"] + _FIRST_ANSWER_MS / 1000 + 1.0) >= EXCUSE
    }


def stalled(stalls: Iterable[dict[str, float]], since: float, until: float) -> float:
    """Return for how many seconds between two moments the simulator stood still."""
    overlaps = (min(until, each["until"]) - max(since, each["until"] - each["seconds"]) for each in stalls)
    return sum(overlap for overlap in overlaps if overlap > 0)


def refused(asked: Iterable[dict[str, Any]]) -> set[str]:
    """Check the first answers: there is one, in time, and only one."""
    wrong: set[str] = set()
    for each in asked:
        if each["problem"] is not None:
            wrong.add(f"I7 interaction {each['id']}: {each['problem']}")
        elif each["answered_twice"]:
            wrong.add(f"I7 interaction {each['id']}: answered twice")
        elif each["first_response_ms"] is not None and each["first_response_ms"] > _FIRST_ANSWER_MS:
            wrong.add(f"I7 interaction {each['id']}: first answer after {each['first_response_ms']:.0f} ms")
    return wrong


def misapplied(asked: Iterable[dict[str, Any]], snapshots: Iterable[Snapshot]) -> set[str]:
    """Check, when all is quiet, that each answered use is one row."""
    rows = Counter(note for each in snapshots for note in each.notes)
    answered = {int(each["id"]) for each in asked if each["problem"] is None}
    wrong = {f"I7 interaction {key}: applied {times} times" for key, times in rows.items() if times > 1}
    return wrong | {f"I7 interaction {key}: answered, and not in the shard file" for key in answered - rows.keys()}


async def misposted(stack: Stack, people: Iterable[SimulatedGuild], asked: Iterable[dict[str, Any]]) -> set[str]:
    """Check, when all is quiet, that each answered use has led to exactly one message."""
    posted: Counter[int] = Counter()
    for guild in people:
        posted.update(await _posted(stack, guild.general_id))
    answered = {int(each["id"]) for each in asked if each["problem"] is None}
    wrong = {f"I5 interaction {key}: posted {times} times" for key, times in posted.items() if times > 1}
    return wrong | {f"I5 interaction {key}: its message was never posted" for key in answered - posted.keys()}


async def _posted(stack: Stack, channel_id: str) -> list[int]:
    found: list[int] = []
    after = 0
    while page := await simulated.api(stack, "GET", f"channels/{channel_id}/messages?limit=100&after={after}"):
        found += [int(each["content"][len(MARK) :]) for each in page if _is_note(each)]
        after = max(int(each["id"]) for each in page)
    return found


def _is_note(message: dict[str, Any]) -> bool:
    return bool(message["author"].get("bot")) and message["content"].startswith(MARK)
