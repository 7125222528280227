"""A gateway session of one shard, over as many connections as it takes.

What it promises to the owner of a shard:

* Every dispatch that Discord sends in this session reaches the sink once, in order, or is reported as missing (`intake`).
* It starts where the owner says (`offset`, read from the shard file, so *committed*) by RESUME, without an IDENTIFY. Later connections
  of the same process resume at the last *received* position: what was received waits in order for its commit in this process.
* It never sends an IDENTIFY without `permit()` having returned just before (I6), and no RESUME without `may_resume()`: an owner that
  was replaced while it was not looking would take the session away from the new one (I2).
* `stop` closes with 4000, hands over everything received and returns the position; the next owner resumes exactly there.

What it refuses to do: to acknowledge what is not durable (heartbeats carry the owner's `durable_seq`), to retry what cannot be mended
(`GatewayRefusedError` leaves `run`), to hammer (exponential backoff with full jitter, counted from the last stable connection).

Addresses: RESUME goes to the session's own `resume_url`; when that cannot be reached, to the base address, with the same query.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

import aiohttp
import structlog
from yarl import URL

from modbot.discord.closing import Ending, Next
from modbot.discord.connections import Connection, Environment, Socket, Timing, at_once
from modbot.discord.frames import FrameReader, GuildFilter
from modbot.discord.intake import Intake, Sink, Stats
from modbot.discord.sending import Identity
from modbot.discord.transports import LARGEST_PAYLOAD, Compression
from modbot.domain.offsets import Offset

_log = structlog.get_logger(__name__)
_UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError)


class GatewaySession:
    """See the module. `run` it in a task of its own; `stop` it to get the position."""

    def __init__(
        self,
        *,
        http: aiohttp.ClientSession,
        url: str,
        identity: Identity,
        wanted: Iterable[str],
        sink: Sink,
        permit: Callable[[], Awaitable[None]],
        durable_seq: Callable[[], int | None],
        may_resume: Callable[[], Awaitable[None]] = at_once,
        offset: Offset | None = None,
        guilds: GuildFilter | None = None,
        compression: Compression = Compression.ZSTD,
        capacity: int = 512,
        progress_every: float = 1.0,
        timing: Timing | None = None,
        rng: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`url` is the base address from `GET /gateway/bot`; `wanted` are names of `events.TYPES`; `capacity` counts events."""
        self.stats = Stats()
        self._http = http
        self._url = url
        self._wanted = frozenset(wanted)
        self._guilds = guilds
        self._compression = compression
        self._timing = timing if timing is not None else Timing()
        self._env = Environment(
            identity=identity, timing=self._timing, permit=permit, may_resume=may_resume, durable_seq=durable_seq,
            random=rng, clock=clock, stats=self.stats,
        )  # fmt: skip
        self._intake = Intake(
            sink=sink, offset=offset, stats=self.stats, capacity=capacity, progress_every=progress_every
        )
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._stopping = False
        self._failures = 0
        self._avoid_resume_url = False
        self._silent_since: datetime | None = None

    @property
    def offset(self) -> Offset | None:
        """The received position."""
        return self._intake.offset

    @property
    def connected(self) -> bool:
        """Whether events flow: READY or RESUMED was seen on the present connection."""
        return self._connection is not None and self._connection.established

    @property
    def latency(self) -> float | None:
        """Seconds between the last heartbeat and its acknowledgement."""
        return self._connection.latency if self._connection is not None else None

    def stop(self) -> None:
        """Ask `run` to end: it closes with 4000, hands over what was received, and returns the position."""
        self._stopping = True
        if self._connection is not None:
            self._connection.stop()
        elif self._connecting is not None:
            self._connecting.cancel()

    def renew(self, reason: str, *, silent_since: datetime) -> None:
        """Give up the session and begin a new one, because events have been missing since then; between connections it does nothing."""
        if self._connection is not None:
            self._silent_since = silent_since
            self._connection.renew(reason)

    async def run(self) -> Offset | None:
        """Serve until `stop`; return the position after the last batch. Raises `GatewayRefusedError` and errors of the sink."""
        delivering = asyncio.create_task(self._intake.deliver())
        self._connecting = asyncio.create_task(self._connect_until_stopped())
        tasks = (self._connecting, delivering)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if delivering.done():
                delivering.result()
            if not self._connecting.cancelled():
                self._connecting.result()
            self._intake.finish()
            await delivering
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self._intake.offset

    async def _connect_until_stopped(self) -> None:
        while not self._stopping:
            started = self._env.clock()
            ending, established = await self._connect_once()
            if ending.next is Next.STOP:
                return
            if ending.next is Next.NEW_SESSION:
                self._intake.lose(ending.reason, silent_since=self._silent_since)
            self._silent_since = None
            stable = established and self._env.clock() - started >= self._timing.stable_after
            self._failures = 0 if stable else self._failures + 1
            await self._pause(ending)

    async def _connect_once(self) -> tuple[Ending, bool]:
        """Open one connection and serve it to its end; also say whether events flowed."""
        address = self._address()
        self.stats.connections += 1
        try:
            socket = await self._open(address)
        except _UNREACHABLE as error:
            self._avoid_resume_url = not self._avoid_resume_url
            reason = f"cannot connect ({type(error).__name__})"
            return Ending(next=Next.RESUME, reason=reason), False
        reader = FrameReader(compression=self._compression, wanted=self._wanted, guilds=self._guilds)
        connection = Connection(socket=socket, reader=reader, intake=self._intake, environment=self._env)
        self._connection = connection
        try:
            ending = await connection.run()
        finally:
            self._connection = None
        if connection.established:
            self._avoid_resume_url = False
        return ending, connection.established

    async def _open(self, address: URL) -> Socket:
        async with asyncio.timeout(self._timing.connect):
            return await self._http.ws_connect(
                address,
                max_msg_size=LARGEST_PAYLOAD,
                decode_text=False,
                autoclose=False,  # aiohttp would answer a close with 1000, which ends the session
                timeout=aiohttp.ClientWSTimeout(ws_close=self._timing.close),
            )

    def _address(self) -> URL:
        query = {"v": "10", "encoding": "json"}
        if self._compression is not Compression.NONE:
            query["compress"] = self._compression.value
        base = URL(self._url)
        offset = self._intake.offset
        if offset is None or self._avoid_resume_url:
            return base.update_query(query)
        resume = URL(offset.resume_url)
        # The token travels over this connection: never to an address that is less protected than the base address.
        return (resume if resume.scheme == base.scheme else base).update_query(query)

    async def _pause(self, ending: Ending) -> None:
        """Wait before the next connection: not at all when Discord asked for it, else a random part of a growing time."""
        first = self._failures <= 1
        ceiling = min(self._timing.backoff_cap, self._timing.backoff_base * 2 ** min(self._failures, 16))
        delay = 0.0 if first and ending.immediate else ceiling * self._env.random()
        _log.info("gateway.disconnected", reason=ending.reason, code=ending.code, next=ending.next.value, delay=delay)
        await asyncio.sleep(delay)
