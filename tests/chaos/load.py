"""People: they write, react, edit and delete, and use `/note` so many times per second, until they are told to be quiet."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import aiohttp

from modbot.cli.guilds import SimulatedGuild
from modbot.cli.stack import Stack, StartError

MIX = {"chat": 70, "reaction": 16, "edit": 8, "delete": 6, "join": 0, "leave": 0, "spam": 0, "raid": 0}


@dataclass(slots=True)
class Load:
    """`events` and `interactions` per second, over all guilds."""

    stack: Stack
    people: list[SimulatedGuild]
    events: float
    interactions: float
    chance: random.Random
    used: int = 0
    troubles: list[str] = field(default_factory=list)
    """What the simulator said when it could not take an interaction; an interaction that fails is no trouble but a record."""
    _asking: asyncio.Task[None] | None = None
    _uses: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Begin to write and to ask."""
        plan = {"rate": self.events, "seed": self.chance.randrange(2**31), "mix": MIX}
        await self.stack.control("POST", "traffic", plan)
        self._asking = asyncio.create_task(self._ask())

    async def stop(self) -> None:
        """Be quiet; returns when nobody has a question open on the way to the simulator."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
            self._asking = None
        await self.stack.control("POST", "traffic/stop")
        await asyncio.gather(*self._uses)

    async def flood(self, count: int) -> None:
        """Ask many things at once."""
        for _ in range(count):
            self._use()
        await asyncio.sleep(0)

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        start, asked = loop.time(), 0
        while True:
            while asked < (loop.time() - start) * self.interactions:
                self._use()
                asked += 1
            await asyncio.sleep(0.02)

    def _use(self) -> None:
        task = asyncio.create_task(self._note(self.chance.choice(self.people)))
        self._uses.add(task)
        task.add_done_callback(self._uses.discard)

    async def _note(self, guild: SimulatedGuild) -> None:
        body = {
            "user": guild.owner_id,
            "channel": guild.general_id,
            "kind": "command",
            "command": "note",
            "wait": "answered",
        }
        self.used += 1
        try:
            await self.stack.control("POST", "interact", body)
        except (StartError, aiohttp.ClientError, TimeoutError) as error:
            self.troubles.append(str(error))
