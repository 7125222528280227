"""The system under test: all processes, people who use it, and what watches it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from proxying import Proxy

from chaos.load import Load
from chaos.oracle import Oracle
from chaos.owners import History
from chaos.watching import Watcher
from modbot.cli import guilds as simulated
from modbot.cli.guilds import SimulatedGuild
from modbot.cli.stack import Plan, Stack, StartError
from modbot.domain import ids
from modbot.domain.ids import GuildId

_FOLDER = Path(__file__).parent
SWITCHES = {
    "buffer_events": 50_000,
    "buffer_seconds": 90,
    "trim_on_heartbeat": True,
    "heartbeat_interval": 2.0,
    "heartbeat_patience": 10.0,
    "delivered_data": True,
}
"""A Discord that forgets at once what a heartbeat acknowledges. What lies outside of its window is not promised, so that is wide;
and a pod that stands still for seconds is not thrown out of its session (4009), as it would not be with Discord's own interval of 41 s."""
REST = {"limits_scale": 10.0, "global_per_second": 500}
"""The harness asks with the bot's token too."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How large the system is and how much it has to do; rates are per second, over all shards."""

    state: Path
    gateways: int = 3
    guilds: int = 24
    shards: int = 6
    events: float = 240.0
    interactions: float = 20.0
    module: str = "chaos.gateway"
    seed: int = 0

    def plan(self) -> Plan:
        """Return what to start."""
        return Plan(
            state=self.state,
            gateways=self.gateways,
            guilds=self.guilds,
            shard_count=self.shards,
            chat_port=0,
            portal_port=0,
            config_port=0,
            gateway_port=0,
            gateway_module=self.module,
            http_module="chaos.http",
            python_path=f"{_FOLDER.parent}:{_FOLDER.parent / 'scenario'}",
        )


@dataclass(slots=True)
class System:
    """A running system with people in it."""

    setup: Setup
    stack: Stack
    people: list[SimulatedGuild]
    load: Load
    oracle: Oracle
    history: History
    watcher: Watcher
    chance: random.Random
    proxies: list[Proxy] = field(default_factory=list)
    """The way of each gateway pod to the config service."""
    rolled_back: list[tuple[float, float]] = field(default_factory=list)
    """Times of which a damaged replica has taken what was applied: no promise covers that, so it is counted, not judged."""
    identifies: int = 0
    """How many were counted when the checks looked last."""
    shard_of_channel: dict[str, str] = field(default_factory=dict)

    def shard_of(self, guild: SimulatedGuild) -> str:
        """Return the shard of a guild."""
        count = self.setup.shards
        return str(ids.shard_of_guild(GuildId(int(guild.guild_id)), count))

    async def owned_by(self, pod_id: str) -> list[str]:
        """Return the shards of a pod."""
        return [row["shard_id"] for row in (await self.stack.internal("/shards"))["shards"] if row["owner"] == pod_id]

    async def victim(self, number: int) -> int:
        """Return this pod's number, or that of the next one that owns shards: a pod without any shows nothing."""
        owners = {row["owner"] for row in (await self.stack.internal("/shards"))["shards"]}
        around = [(number + step) % self.setup.gateways for step in range(self.setup.gateways)]
        return next((each for each in around if f"gateway-{each}" in owners), number)

    async def seqs(self) -> dict[str, int]:
        """Return how far Discord has counted for each shard."""
        listed = await self.stack.control("GET", "sessions")
        return {f"{each['shard'][0]}-of-{self.setup.shards}": each["seq"] for each in listed}

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Call the config service."""
        headers = {"Authorization": f"Bearer {self.stack.internal_token}"}
        async with self.stack.session.post(f"{self.stack.config_url}{path}", json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one of the processes."""
        pid = self.stack.children[name].pid
        if pid is not None:
            os.kill(pid, number)

    async def replace(self, number: int) -> None:
        """Give a lost machine's place to a new one with an empty volume."""
        self.stack.volume(number).mkdir()
        self.stack.sidecar(number).hold(held=False)
        self.stack.gateway(number).hold(held=False)

    async def flowing(self, *, limit: float = 60.0) -> bool:
        """Wait until every shard is served and commits events that were made after this call; False when one does not in time."""
        deadline = time.monotonic() + limit
        wanted: dict[str, int] | None = None
        while time.monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, StartError):
                seqs = await self.seqs()
                if wanted is None and len(seqs) == self.setup.shards:
                    wanted = seqs
                    asked = time.time()
                if wanted is not None and all(self._passed(shard, seq, asked) for shard, seq in wanted.items()):
                    return True
                if wanted is not None and seqs.keys() != wanted.keys():
                    wanted = None
            await asyncio.sleep(0.1)
        return False

    def _passed(self, shard_id: str, seq: int, asked: float) -> bool:
        track = self.watcher.tracks.get(shard_id)
        return track is not None and bool(track.at) and track.at[-1] > asked and track.seqs[-1] > seq


@contextlib.asynccontextmanager
async def running(setup: Setup) -> AsyncIterator[System]:
    """Start everything, let people set modbot up, and begin the load."""
    chance = random.Random(setup.seed)
    async with contextlib.AsyncExitStack() as exits:
        prepared = Stack.prepare(setup.plan())
        proxies = [
            await exits.enter_async_context(Proxy(prepared.ports.config[0]).serving()) for _ in range(setup.gateways)
        ]
        prepared.detours.update({number: proxy.address for number, proxy in enumerate(proxies)})
        stack = await exits.enter_async_context(prepared)
        history = History(stack.database_url)
        await history.begin()
        await stack.control("POST", "switches", SWITCHES)
        await stack.control("PATCH", "rest/switches", REST)
        await stack.control(
            "POST", "faults/sockets", {"action": "reconnect"}
        )  # a connection is told its interval at the beginning
        people = await simulated.discover(stack)
        await simulated.set_up(stack, people)
        load = Load(stack, people, setup.events, setup.interactions, chance)
        with Watcher(setup.state) as watcher:
            system = System(setup, stack, people, load, Oracle(stack), history, watcher, chance, proxies)
            system.shard_of_channel = {guild.general_id: system.shard_of(guild) for guild in people}
            system.identifies = (await stack.control("GET", "counters"))["identifies"]
            await load.start()
            try:
                yield system
            finally:
                await load.stop()
