"""The board: this replica's copy of the table of pods and shards, and the streams that follow it.

PostgreSQL notifies at every commit that matters; the board waits `COALESCE` seconds for the rest of a burst, reads the whole table
(it is small) in one snapshot and wakes the watchers. A watcher keeps the last table it sent and sends the difference, so a slow
reader gets fewer and larger lines, never an unbounded queue. The board also reads every `RECHECK` seconds without a notification:
that finds a dead listening connection, and nothing is lost by a lost notification. While it cannot read, it serves what it has for
`STALE` seconds; then its streams end, so that members look for a replica that knows more. Who asks it meanwhile is given what was known
last, marked as stale, and nothing more: a member that has just started can route by it. It never writes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from modbot.cluster import protocol
from modbot.domain.errors import UnavailableError
from modbot.domain.ids import PodId, ShardId
from modbot.ops.settings import Secret
from modbot.services.config import database, dedicating, leases
from modbot.services.config.database import Connection

CHANNEL = "modbot_config"
COALESCE = 0.01
RECHECK = 2.0
STALE = 6.0
TICK = 1.5
_RETRY = 0.25
_INBOX = "inbox:"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Holding:
    """What a pod owns: a live one has a row also when it owns nothing. The last three as its shards last reported."""

    owner: PodId
    shards: int
    guilds: int
    file_bytes: int
    events_per_second: float


class Watcher:
    """One stream's place: what it has been sent, which inbox notices it is owed, and a bell."""

    def __init__(self, table: protocol.Table) -> None:
        self.sent = table
        self.notices: set[ShardId] = set()
        self.bell = asyncio.Event()


class Board:
    """The in-memory table. `run()` keeps it, `table()` reads it, `watch()` follows it."""

    def __init__(self, url: Secret, queries: Mapping[str, str], *, shard_count: int) -> None:
        self._url = url
        self._queries = queries
        self.first_read = asyncio.Event()
        self.holdings: Sequence[Holding] = ()
        self._table = protocol.Table(shard_count=shard_count, pods=[], shards=[])
        self._read_at = float("-inf")
        self._watchers: set[Watcher] = set()
        self._changed = asyncio.Event()
        self._closed = False

    def table(self) -> protocol.Table:
        """Return the table; `UnavailableError` when it could not be read for `STALE` seconds."""
        if self._stale():
            raise UnavailableError("PostgreSQL does not answer, so the assignments are not known to be current.")
        return self._table

    @property
    def latest(self) -> protocol.Table:
        """The table as last read, however old."""
        return self._table

    @property
    def fresh(self) -> bool:
        """Whether the table is known to be current."""
        return not self._stale()

    def watchers(self) -> int:
        """Return how many streams follow."""
        return len(self._watchers)

    async def run(self) -> None:
        """Listen and read until cancelled; after an outage connect again and send what became different."""
        while True:
            try:
                await self._listen()
            except UnavailableError as error:
                _log.warning("board_offline", error=str(error))
            await asyncio.sleep(_RETRY)

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        for watcher in self._watchers:
            watcher.bell.set()

    async def watch(self) -> AsyncIterator[protocol.WatchLine]:
        """Yield the table, then every difference, notice and tick, until the board closes or goes stale."""
        if self._stale():
            yield msgspec.structs.replace(self._table, stale=True)
            await asyncio.sleep(RECHECK)  # who follows comes again at once; this is how often
            return
        watcher = Watcher(self._table)
        self._watchers.add(watcher)
        try:
            yield watcher.sent
            while not self._closed and not self._stale():
                for line in await self._next(watcher):
                    yield line
        finally:
            self._watchers.discard(watcher)

    def _stale(self) -> bool:
        return time.monotonic() - self._read_at > STALE

    async def _next(self, watcher: Watcher) -> list[protocol.WatchLine]:
        try:
            await asyncio.wait_for(watcher.bell.wait(), TICK)
        except TimeoutError:
            return [protocol.Tick()]
        watcher.bell.clear()
        lines: list[protocol.WatchLine] = []
        if watcher.sent is not self._table:
            lines.append(difference(watcher.sent, self._table))
            watcher.sent = self._table
        lines.extend(protocol.InboxNotice(shard_id=shard_id) for shard_id in sorted(watcher.notices))
        watcher.notices.clear()
        return lines

    async def _listen(self) -> None:
        raw = await database.connect(self._url)
        try:
            with database.translated():
                raw.add_termination_listener(lambda _connection: self._changed.set())
                await raw.add_listener(CHANNEL, self._hear)
                await self._catch_up(raw)
                while True:
                    await self._read(raw)
                    await self._wait()
        finally:
            raw.terminate()

    async def _catch_up(self, raw: Any) -> None:
        """Ring for what was deferred while nobody listened."""
        for row in await Connection(raw, self._queries).all("deferred_shards"):
            self._hear(raw, 0, CHANNEL, _INBOX + row["shard_id"])

    async def _wait(self) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), RECHECK)
        except TimeoutError:
            return
        await asyncio.sleep(COALESCE)

    async def _read(self, raw: Any) -> None:
        self._changed.clear()
        asked_at = time.monotonic()
        async with raw.transaction(isolation="repeatable_read", readonly=True):
            connection = Connection(raw, self._queries)
            table = protocol.Table(
                shard_count=self._table.shard_count,
                pods=[leases.pod(row) for row in await connection.all("all_pods")],
                shards=[leases.shard(row) for row in await connection.all("all_shards")],
                dedicated=[dedicating.home(row) for row in await connection.all("dedicated")],
                transfers=[dedicating.transfer(row) for row in await connection.all("transfers_under_way")],
            )
            holdings = [_holding(row) for row in await connection.all("holdings")]
        self.holdings = holdings
        self._read_at = asked_at
        self.first_read.set()
        if table != self._table:
            self._table = table
            self._ring()

    def _ring(self) -> None:
        for watcher in self._watchers:
            watcher.bell.set()

    def _hear(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        if not payload.startswith(_INBOX):
            self._changed.set()
            return
        for watcher in self._watchers:
            watcher.notices.add(ShardId(payload.removeprefix(_INBOX)))
            watcher.bell.set()


def _holding(row: Any) -> Holding:
    return Holding(
        owner=PodId(row["pod_id"]),
        shards=row["shards"],
        guilds=row["guilds"],
        file_bytes=row["file_bytes"],
        events_per_second=row["events_per_second"],
    )


def difference(old: protocol.Table, new: protocol.Table) -> protocol.Change:
    """Return the pods and shards that are different in the new table."""
    pods = {pod.pod_id: pod for pod in old.pods}
    shards = {shard.shard_id: shard for shard in old.shards}
    homes = {each.guild_id: each for each in old.dedicated}
    returned = homes.keys() - {each.guild_id for each in new.dedicated}
    return protocol.Change(
        pods=[pod for pod in new.pods if pods.get(pod.pod_id) != pod],
        shards=[shard for shard in new.shards if shards.get(shard.shard_id) != shard],
        dedicated=[each for each in new.dedicated if homes.get(each.guild_id) != each]
        + [protocol.Dedicated(guild_id=guild_id, shard_id=None) for guild_id in sorted(returned)],
        transfers=None if new.transfers == old.transfers else new.transfers,
    )
