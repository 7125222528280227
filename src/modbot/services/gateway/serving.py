"""Serving one shard for as long as this pod owns it under one epoch: file, gateway session, inbox.

The file is opened first and closed last. The session starts at the file's offset; what it receives is committed batch by batch, and a
batch that cannot be committed ends this round: the session is dropped with everything it had queued, the file is closed, and after a
pause both start again at the committed offset. Nothing is lost by that, because nothing was acknowledged.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import structlog

from modbot.cluster import protocol
from modbot.discord.closing import GatewayRefusedError
from modbot.discord.intake import Batch, Hole, SessionLost
from modbot.discord.sending import Identity
from modbot.discord.sessions import GatewaySession
from modbot.domain.errors import StaleEpochError
from modbot.domain.ids import Epoch, ShardId, parse_formula_shard
from modbot.ops import metrics
from modbot.services.gateway.anonymising import anonymised
from modbot.services.gateway.canary import Canary
from modbot.services.gateway.inboxes import Inbox
from modbot.services.gateway.surroundings import Surroundings
from modbot.shard import database
from modbot.shard.engine import Engine

_log = structlog.get_logger()
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0


@dataclass(slots=True)
class _Meter:
    """Counts since the last report."""

    events: int = 0
    slowest: float = 0.0
    since: float = 0.0


class ServedShard:
    """One shard under one epoch. `run` it in a task and cancel it to stop."""

    def __init__(self, surroundings: Surroundings, shard_id: ShardId, epoch: Epoch, *, served: bool) -> None:
        self.shard_id = shard_id
        self.epoch = epoch
        self.engine: Engine | None = None
        self.inbox: Inbox | None = None
        self.problem: str | None = None
        self._surroundings = surroundings
        self._served = served
        self._session: GatewaySession | None = None
        self._canary = Canary(shard_id)
        self._meter = _Meter(since=time.monotonic())
        self._guilds = 0

    async def put(self, batch: Batch) -> None:
        """Commit a batch: the sink of the gateway session."""
        engine = self.engine
        if engine is None:
            raise StaleEpochError(f"Shard {self.shard_id} is closed.")
        started = time.monotonic()
        around = self._surroundings
        applied = await engine.apply(anonymised(batch, around.tools.registry, around.anonymity.current))
        took = time.monotonic() - started
        self._meter.events += applied.dispatches
        self._meter.slowest = max(self._meter.slowest, took)
        metrics.EVENTS.labels(self.shard_id).inc(applied.dispatches)
        metrics.EVENT_LAG.labels(self.shard_id).observe(took)
        for item in batch.items:
            if isinstance(item, SessionLost | Hole):
                metrics.GAPS.labels(self.shard_id, _reason(item)).inc()

    async def run(self) -> None:
        """Serve until cancelled, or until the shard is somebody else's."""
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            try:
                await self._serve_once()
            except StaleEpochError as error:
                self.problem = str(error)
                _log.warning("shard_lost", shard=self.shard_id, epoch=self.epoch, error=str(error))
                self._surroundings.lease.renew_soon()
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the shard is tried again from its committed offset
                self.problem = str(error)
                _log.error("shard_interrupted", shard=self.shard_id, exc_info=True)
            if time.monotonic() - started > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    def measure(self) -> protocol.ShardLoad | None:
        """Report what was done since the last report; None while the file is not open."""
        engine = self.engine
        if engine is None:
            return None
        now = time.monotonic()
        meter, self._meter = self._meter, _Meter(since=now)
        connected = self._session is not None and self._session.connected
        metrics.CONNECTED.labels(self.shard_id).set(int(connected))
        return protocol.ShardLoad(
            shard_id=self.shard_id,
            epoch=self.epoch,
            guilds=self._guilds,
            events_per_second=round(meter.events / max(0.001, now - meter.since), 2),
            lag_seconds=round(meter.slowest, 4),
            connected=connected,
        )

    async def _serve_once(self) -> None:
        path = database.path_of(self._surroundings.data_dir, self.shard_id)
        engine = await Engine.open(self._surroundings.tools, path, self.shard_id, self.epoch, expected=self._served)
        self.engine, self.inbox, self._served = engine, Inbox(self._surroundings, engine), True
        self.problem = None
        self._surroundings.lease.renew_soon()
        try:
            await self._work(engine, self.inbox)
        finally:
            self.engine = self.inbox = None
            metrics.CONNECTED.labels(self.shard_id).set(0)
            await asyncio.shield(engine.close())

    async def _work(self, engine: Engine, inbox: Inbox) -> None:
        session = self._session = self._open_session(engine)
        refused = asyncio.Event()
        session_task = asyncio.create_task(self._follow(session, refused))
        others = [asyncio.create_task(inbox.run()), asyncio.create_task(self._count_guilds(engine))]
        others.append(asyncio.create_task(self._canary.watch(self._surroundings.tools, engine, session)))
        broken = asyncio.ensure_future(engine.broken)
        try:
            running: list[asyncio.Future[Any]] = [session_task, broken, *others]
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            if broken in done:
                raise broken.result()
            for task in done:
                task.result()
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            session.stop()
            if refused.is_set():
                session_task.cancel()
            await asyncio.shield(asyncio.gather(session_task, return_exceptions=True))
            self._session = None

    async def _follow(self, session: GatewaySession, refused: asyncio.Event) -> None:
        """Run the session until it is stopped.

        When Discord refuses it for good, it is not asked again: each try would cost an IDENTIFY, and Discord resets the token of a bot
        that spends too many. Interactions and effects go on until somebody mends the cause and restarts the pod.
        """
        try:
            await session.run()
        except GatewayRefusedError as error:
            self.problem = str(error)
            _log.error("gateway_refused", shard=self.shard_id, code=error.code, error=str(error), hint=error.hint)
            refused.set()
            await asyncio.Event().wait()

    def _open_session(self, engine: Engine) -> GatewaySession:
        shard = parse_formula_shard(self.shard_id)
        around = self._surroundings
        recovery = engine.offset is not None

        async def permit() -> None:
            await around.permits.wait(self.shard_id, self.epoch, recovery=recovery)

        def durable_seq() -> int | None:
            return engine.offset.seq if engine.offset is not None else None

        return GatewaySession(
            http=around.http,
            url=around.gateway_url,
            identity=Identity(token=around.token, intents=around.intents, shard=(shard.number, shard.count)),
            wanted=around.wanted,
            sink=self,
            permit=permit,
            durable_seq=durable_seq,
            offset=engine.offset,
            compression=around.compression,
        )

    async def _count_guilds(self, engine: Engine) -> None:
        while True:
            self._guilds = (await engine.counts()).guilds
            await asyncio.sleep(2.0)


def _reason(item: SessionLost | Hole) -> str:
    if isinstance(item, Hole):
        return "hole"
    return "session lost" if item.silent_since is None else "silence"
