"""The scripted day of `modbot demo`: what people do in the simulated guilds, and what must be there in the evening.

Everybody acts the way people do: messages are written, menus are opened, forms are filled in, buttons are pressed. While reports are
being made a gateway pod is killed. What is expected is counted here, from the script alone; what is found is read from the simulated
Discord's REST API and from the shard files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modbot.cli import guilds as simulated
from modbot.cli.guilds import SimulatedGuild
from modbot.cli.stack import Stack
from modbot.shard import inspecting

_KILLED = 1
_REPORTED_GUILDS = 20
_TRACKED_GUILDS = 10
_TWICE_GUILDS = 5
_TRAFFIC_EVENTS = 3000
_TRAFFIC_RATE = 300
_SIDE_BY_SIDE = 6
_DEFAULT_MESSAGE = 0


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the evening's table."""

    what: str
    expected: int
    found: int

    @property
    def right(self) -> bool:
        """Whether both are the same."""
        return self.expected == self.found


@dataclass(slots=True)
class Day:
    """The script's own count of what it did."""

    stack: Stack
    guilds: list[SimulatedGuild]
    messages: int = 0
    entries: set[str] = field(default_factory=set)
    people: set[tuple[str, str]] = field(default_factory=set)
    reports: int = 0
    tracks: int = 0
    actions: int = 0
    deletions: int = 0
    tell: Callable[[str], None] = lambda _line: None
    _half_reported: asyncio.Event = field(default_factory=asyncio.Event)

    async def play(self) -> None:
        """Live through the day."""
        self.tell(f"morning: messages in {len(self.guilds)} guilds")
        first = await self._each(self.guilds, self._write)
        busy = [int(guild.guild_id) for guild in self.guilds[_REPORTED_GUILDS:]]
        await self._start_traffic(busy)
        self.tell(
            f"noon: {_REPORTED_GUILDS} reports, {_TWICE_GUILDS} of them twice; gateway-{_KILLED} is killed meanwhile"
        )
        reporting = asyncio.create_task(self._report_everywhere(first))
        await self._half_reported.wait()
        self.stack.gateway(_KILLED).kill()
        await reporting
        self.tell("afternoon: moderators track messages, time out, kick, ban and delete")
        await self._each(list(zip(self.guilds[:_TRACKED_GUILDS], first, strict=False)), self._track)
        await self._moderate()
        await self.stack.until(self._quiet, "the day to end")

    async def evening(self) -> list[Check]:
        """Compare what was expected with what is found."""
        traffic = (await self.stack.control("GET", "traffic"))["by_kind"]
        found = await _Found.read(self.stack, self.guilds[:_REPORTED_GUILDS])
        counters = await self.stack.control("GET", "counters")
        answers = (await self.stack.control("GET", "interactions"))["summary"]
        rows = self.messages + traffic.get("chat", 0) - traffic.get("delete", 0) - self.deletions
        return [
            Check("messages of people, as activity rows", rows, found.activity),
            Check("threads, one per reported member", len(self.people), found.threads),
            Check("entries in them, one per reported message", len(self.entries), found.entries),
            Check("lines in the mod logs", self.reports + self.tracks + self.actions, found.lines),
            Check("reports in the shard files", self.reports + self.tracks, found.reports),
            Check("actions carried out, in the shard files", 4, found.actions),
            Check("  … timed out in Discord", 1, found.timed_out),
            Check("  … banned in Discord", 2, found.banned),
            Check("  … kicked in Discord", 1, found.kicked),
            Check("interactions without a valid first answer", 0, answers["failed"]),
            Check("interactions answered twice", 0, answers["answered_twice"]),
            Check("deferred interactions not completed", 0, answers["unfinished"]),
            Check("IDENTIFYs, one per shard in spite of the kill", self.stack.plan.shard_count, counters["identifies"]),
            Check("effects failed or forgotten", 0, found.unfinished_effects),
            Check("events that a handler could not apply", 0, found.dead_letters),
            Check("gaps in the stream of events", 0, found.gaps),
        ]

    async def _each(self, items: list[Any], act: Callable[[Any], Any]) -> list[Any]:
        places = asyncio.Semaphore(_SIDE_BY_SIDE)

        async def one(item: Any) -> Any:
            async with places:
                return await act(item)

        return list(await asyncio.gather(*(one(item) for item in items)))

    async def _write(self, guild: SimulatedGuild) -> list[dict[str, Any]]:
        lines = (
            "Good morning everyone!",
            "Buy cheap followers at https://scam.example/now",
            "Does anybody have a minute?",
        )
        written = [await self._say(guild, member, text) for member, text in zip(guild.member_ids, lines, strict=False)]
        self.messages += len(written)
        return written

    async def _say(self, guild: SimulatedGuild, member_id: str, text: str) -> dict[str, Any]:
        body = {"do": "send", "user_id": int(member_id), "channel_id": int(guild.general_id), "content": text}
        message: dict[str, Any] = await self.stack.control("POST", "act", body)
        return message

    async def _start_traffic(self, guild_ids: list[int]) -> None:
        mix = {"chat": 80, "reaction": 12, "edit": 4, "delete": 4, "join": 0, "leave": 0, "spam": 0, "raid": 0}
        body = {"count": _TRAFFIC_EVENTS, "rate": _TRAFFIC_RATE, "seed": 1, "mix": mix, "guilds": guild_ids}
        await self.stack.control("POST", "traffic", body)

    async def _report_everywhere(self, first: list[list[dict[str, Any]]]) -> None:
        pairs = list(zip(self.guilds[:_REPORTED_GUILDS], first, strict=False))
        await self._each(pairs, lambda pair: self._report(pair[0], pair[1][1], reporter=2))
        await self._each(pairs[:_TWICE_GUILDS], lambda pair: self._report(pair[0], pair[1][1], reporter=3))

    async def _report(self, guild: SimulatedGuild, message: dict[str, Any], *, reporter: int) -> None:
        member = guild.member_ids[reporter]
        opened = await simulated.interact(
            self.stack, member, guild.general_id, kind="message", command="Report", target=message["id"]
        )
        values = {"category": ["spam"], "words": "This is a scam."}
        await simulated.interact(
            self.stack, member, guild.general_id, kind="modal", interaction=opened["record"]["id"], values=values
        )
        self.reports += 1
        if self.reports == _REPORTED_GUILDS // 2:
            self._half_reported.set()
        self._expect_entry(guild, message)

    async def _track(self, pair: tuple[SimulatedGuild, list[dict[str, Any]]]) -> None:
        guild, messages = pair
        await simulated.interact(
            self.stack, guild.moderator_id, guild.general_id, kind="message", command="Track", target=messages[0]["id"]
        )
        self.tracks += 1
        self._expect_entry(guild, messages[0])

    def _expect_entry(self, guild: SimulatedGuild, message: dict[str, Any]) -> None:
        self.entries.add(message["id"])
        self.people.add((guild.guild_id, message["author"]["id"]))

    async def _moderate(self) -> None:
        pressed: tuple[tuple[str, dict[str, Any]], ...] = (
            ("Timeout", {"seconds": ["3600"], "reason": "advertising"}),
            ("Kick", {"reason": "advertising again"}),
            ("Ban", {"reason": "scam"}),
            ("Ban + delete 7 days", {"reason": "scam"}),
            ("Delete all reported messages", {"reason": "clean-up"}),
        )
        for guild, (label, values) in zip(self.guilds, pressed, strict=False):
            await self._press(guild, guild.member_ids[1], label, values)
            self.actions += 1
        self.deletions += 2  # the banned member's message in one guild, the reported one in another

    async def _press(self, guild: SimulatedGuild, target_id: str, label: str, values: dict[str, Any]) -> None:
        message, button = await _find_button(self.stack, guild, target_id, label)
        opened = await simulated.interact(
            self.stack,
            guild.moderator_id,
            message["channel_id"],
            kind="component",
            message=message["id"],
            custom_id=button["custom_id"],
        )
        await simulated.interact(
            self.stack,
            guild.moderator_id,
            message["channel_id"],
            kind="modal",
            interaction=opened["record"]["id"],
            values=values,
        )

    async def _quiet(self) -> bool:
        """Whether nothing is under way: no traffic, every shard caught up, no effect pending, no answer owed."""
        if (await self.stack.control("GET", "traffic"))["running"]:
            return False
        answers = (await self.stack.control("GET", "interactions"))["summary"]
        sessions = {each["session_id"]: each["seq"] for each in await self.stack.control("GET", "sessions")}
        for found in _look_everywhere(self.stack):
            behind = found.offset is None or found.offset.seq < sessions.get(found.offset.session_id, 0)
            if behind or found.pending_effects:
                return False
        return not answers["pending"] and not answers["unfinished"]


@dataclass(slots=True)
class _Found:
    """What the simulated Discord and the shard files hold."""

    activity: int = 0
    reports: int = 0
    actions: int = 0
    threads: int = 0
    entries: int = 0
    lines: int = 0
    timed_out: int = 0
    banned: int = 0
    kicked: int = 0
    unfinished_effects: int = 0
    dead_letters: int = 0
    gaps: int = 0

    @classmethod
    async def read(cls, stack: Stack, guilds: list[SimulatedGuild]) -> _Found:
        """Look into every shard file and into the guilds where something happened."""
        found = cls()
        found._read_files(stack)
        for guild in guilds:
            await found._read_guild(stack, guild)
        return found

    def _read_files(self, stack: Stack) -> None:
        for path in _files(stack):
            self.activity += _count(path, "SELECT count(*) FROM activity")
            self.reports += _count(path, "SELECT count(*) FROM reports")
            self.actions += _count(path, "SELECT count(*) FROM actions WHERE state = 'done'")
        for each in _look_everywhere(stack):
            self.unfinished_effects += each.pending_effects + each.failed_effects
            self.dead_letters += each.dead_letters
            self.gaps += each.gaps

    async def _read_guild(self, stack: Stack, guild: SimulatedGuild) -> None:
        for thread in await _threads(stack, guild):
            self.threads += 1
            messages = await simulated.api(stack, "GET", f"channels/{thread['id']}/messages?limit=100")
            self.entries += sum(message["content"].startswith(("🚩", "📌")) for message in messages)
        log = await simulated.api(stack, "GET", f"channels/{guild.mod_log_id}/messages?limit=100")
        self.lines += sum(message["type"] == _DEFAULT_MESSAGE for message in log)
        members = await simulated.api(stack, "GET", f"guilds/{guild.guild_id}/members?limit=1000")
        banned = len(await simulated.api(stack, "GET", f"guilds/{guild.guild_id}/bans"))
        self.timed_out += sum(bool(member["communication_disabled_until"]) for member in members)
        self.banned += banned
        present = {member["user"]["id"] for member in members}
        self.kicked += sum(member not in present for member in guild.member_ids) - banned


async def _find_button(
    stack: Stack, guild: SimulatedGuild, target_id: str, label: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    for thread in await _threads(stack, guild):
        for message in await simulated.api(stack, "GET", f"channels/{thread['id']}/messages?limit=100"):
            for button in _buttons(message["components"]):
                if button["label"] == label and button["custom_id"].endswith(f":{target_id}"):
                    return message, button
    raise AssertionError(f"no button {label!r} for {target_id} in {guild.name}")


def _buttons(components: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [each for each in components if each["type"] == 2]
    for each in components:
        found += _buttons(each.get("components", []))
    return found


async def _threads(stack: Stack, guild: SimulatedGuild) -> list[dict[str, Any]]:
    active = await simulated.api(stack, "GET", f"guilds/{guild.guild_id}/threads/active")
    return [thread for thread in active["threads"] if thread["parent_id"] == guild.mod_log_id]


def _files(stack: Stack) -> list[Any]:
    return [path for number in range(stack.plan.gateways) for path in inspecting.files(stack.volume(number))]


def _look_everywhere(stack: Stack) -> list[inspecting.Findings]:
    return [inspecting.look(path) for path in _files(stack)]


def _count(path: Any, sql: str) -> int:
    return int(next(inspecting.rows(path, sql))[0])
