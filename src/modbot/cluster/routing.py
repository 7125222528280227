"""The routing table: which pod serves a guild, as far as this member knows.

Fed by the config service's watch stream in a task of its own, and kept when the stream breaks: an old answer is better than none,
because the receiver checks the epoch (I2) and says no when it is wrong. A member that knows nothing yet takes a stale table for the
same reason. Records may arrive out of order (two config replicas, a
stream that begins again), so a shard's record is only ever replaced by a later one: a higher epoch is later, and within one epoch
"nobody" is later than "somebody", because a shard leaves an owner once and gets the next one with a new epoch. Which guilds have a
shard of their own has no epoch: the latest line counts, and who comes to a shard that has given a guild away is told so. The table decides
nothing and asks nobody on the way of a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import structlog

from modbot.cluster import protocol
from modbot.domain import ids
from modbot.domain.errors import ModbotError
from modbot.domain.ids import Epoch, GuildId, PodId, ShardId

_FIRST_RETRY = 0.1
_LONGEST_RETRY = 3.0
_log = structlog.get_logger(__name__)

Listener = Callable[[protocol.WatchLine], None]


@dataclass(frozen=True, slots=True)
class Route:
    """Where to send what belongs to a shard. `address` is the base URL of the owner's internal API."""

    shard_id: ShardId
    epoch: Epoch
    pod_id: PodId
    address: str


class WatchClient(Protocol):
    """The call that the table lives on; `ConfigClient` has it."""

    def watch(self) -> AsyncGenerator[protocol.WatchLine, None]:
        """Follow the table."""


class RoutingTable:
    """Guild -> shard -> pod: `await run()` in a task of its own, ask `owner_of()` from the event loop."""

    def __init__(self, client: WatchClient) -> None:
        self._client = client
        self._shard_count = 0
        self._shards: dict[ShardId, protocol.Shard] = {}
        self._pods: dict[PodId, protocol.Pod] = {}
        self._dedicated: dict[GuildId, ShardId] = {}
        self.transfers: list[protocol.Transfer] = []
        self._listeners: list[Listener] = []
        self._bells: set[asyncio.Event] = set()
        self._filled = asyncio.Event()
        self.connected = False

    async def run(self) -> None:
        """Follow the watch stream until cancelled, again and again with growing, jittered pauses."""
        failures = 0
        while True:
            try:
                async with contextlib.aclosing(self._client.watch()) as lines:
                    async for line in lines:
                        failures = 0
                        self.connected = True
                        self.apply(line)
            except ModbotError as error:
                _log.warning("watch_interrupted", code=error.code, error=str(error))
            finally:
                self.connected = False
            failures += 1
            longest = min(_LONGEST_RETRY, _FIRST_RETRY * 2 ** min(failures - 1, 10))
            await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret

    async def filled(self) -> None:
        """Wait for the first table."""
        await self._filled.wait()

    def is_filled(self) -> bool:
        """Say whether a table was ever read."""
        return self._filled.is_set()

    @property
    def shard_count(self) -> int:
        """The number of formula shards; 0 before the first table."""
        return self._shard_count

    def pods(self) -> list[protocol.Pod]:
        """Return the pods as last heard."""
        return list(self._pods.values())

    def shard_of(self, guild_id: GuildId) -> ShardId | None:
        """Return the shard of a guild, its own or that of the formula; None before the first table."""
        own = self._dedicated.get(guild_id)
        if own is not None:
            return own
        return ids.shard_of_guild(guild_id, self._shard_count) if self._shard_count else None

    def owner_of(self, guild_id: GuildId) -> Route | None:
        """Return where a guild is served; None when nobody serves it or nothing is known yet."""
        shard_id = self.shard_of(guild_id)
        return None if shard_id is None else self.route(shard_id)

    def route(self, shard_id: ShardId) -> Route | None:
        """Return where a shard is served; None when nobody does or it is not known."""
        shard = self._shards.get(shard_id)
        if shard is None or shard.owner is None or shard.owner not in self._pods:
            return None
        return Route(shard_id, shard.epoch, shard.owner, self._pods[shard.owner].address)

    async def wait_for_owner(self, guild_id: GuildId, than: Route | None, *, timeout: float) -> Route | None:  # noqa: ASYNC109 - callers hold a deadline in seconds
        """Wait until a guild is served by another shard, or by its shard under a higher epoch; None after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while (route := self.owner_of(guild_id)) is None or not _newer(route, than):
                    await self._changed()
        except TimeoutError:
            return None
        return route

    async def _changed(self) -> None:
        bell = asyncio.Event()
        self._bells.add(bell)
        try:
            await bell.wait()
        finally:
            self._bells.discard(bell)

    @contextlib.contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Hand every line (after it was applied) to a function that must return at once: inbox notices, the lease keeper's `notice`."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def apply(self, line: protocol.WatchLine) -> None:
        """Take one line of the watch stream."""
        if isinstance(line, protocol.Table) and line.stale and self._filled.is_set():
            return  # what we know is not older
        if isinstance(line, protocol.Table):
            self._shard_count = line.shard_count
            self._dedicated.clear()
            self._filled.set()
        if isinstance(line, protocol.Table | protocol.Change):
            self._take_dedicated(line)
            self._pods.update({pod.pod_id: pod for pod in line.pods})
            for shard in line.shards:
                self._take(shard)
            self._ring()
        for listener in tuple(self._listeners):
            listener(line)

    def _take_dedicated(self, line: protocol.Table | protocol.Change) -> None:
        for each in line.dedicated:
            if each.shard_id is None:
                self._dedicated.pop(GuildId(int(each.guild_id)), None)
            else:
                self._dedicated[GuildId(int(each.guild_id))] = each.shard_id
        if line.transfers is not None:
            self.transfers = line.transfers

    def _take(self, shard: protocol.Shard) -> None:
        known = self._shards.get(shard.shard_id)
        if known is None or _order(shard) > _order(known):
            self._shards[shard.shard_id] = shard

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()


def _newer(route: Route, than: Route | None) -> bool:
    return than is None or route.shard_id != than.shard_id or route.epoch > than.epoch


def _order(shard: protocol.Shard) -> tuple[int, bool]:
    return shard.epoch, shard.owner is None
