"""Serving one shard for as long as this pod owns it under one epoch: file, gateway session, inbox.

The file is opened first and closed last. The session starts at the file's offset; what it receives is committed batch by batch, and a
batch that cannot be committed ends this round: the session is dropped with everything it had queued, the file is closed, and after a
pause both start again at the committed offset. Nothing is lost by that, because nothing was acknowledged. A handoff to another pod
ends a round as well; the next one begins only if the shard stays ours (`handoff_source.py`).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import structlog

from modbot.cluster import protocol
from modbot.discord.closing import GatewayRefusedError
from modbot.discord.frames import Dispatch
from modbot.discord.intake import Batch, Hole, Resumed, SessionLost, SessionStarted
from modbot.discord.sending import Identity
from modbot.discord.sessions import GatewaySession
from modbot.domain.errors import StaleEpochError, UnavailableError
from modbot.domain.ids import dedicated_guild, parse_formula_shard, shard_of_guild
from modbot.ops import metrics
from modbot.services.gateway import handoff_source
from modbot.services.gateway.acknowledging import Acknowledgement
from modbot.services.gateway.anonymising import anonymised
from modbot.services.gateway.canary import Canary
from modbot.services.gateway.handoff_source import HandoffSource
from modbot.services.gateway.handoff_target import Arrived
from modbot.services.gateway.inboxes import Inbox
from modbot.services.gateway.restores import Found
from modbot.services.gateway.surroundings import Surroundings
from modbot.shard import database, inspecting
from modbot.shard.dispatching import guild_of
from modbot.shard.engine import Engine

_log = structlog.get_logger()
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_ROWS_EVERY = 300.0
_RESUME_LIMIT = 1.0
HOLE, LOST, SILENCE = GAP_REASONS = ("hole", "session lost", "silence")


@dataclass(slots=True)
class _Meter:
    """Counts since the last report."""

    events: int = 0
    slowest: float = 0.0
    since: float = 0.0


class ServedShard:
    """One shard under one epoch. `run` it in a task and cancel it to stop."""

    def __init__(self, surroundings: Surroundings, shard: protocol.Shard, *, arrived: Arrived | None = None) -> None:
        """`shard` as granted; `arrived` when it has just come by a handoff."""
        self.shard_id = shard.shard_id
        self.epoch = shard.epoch
        self.handoff = HandoffSource(surroundings, shard.shard_id, shard.epoch)
        self.engine: Engine | None = None
        self.inbox: Inbox | None = None
        self.problem: str | None = None
        self.guilds = 0
        self.counted = False
        self._surroundings = surroundings
        self._guild_id = dedicated_guild(shard.shard_id)
        self._shard = shard
        self._arrived = arrived
        self._placed = arrived is not None
        self._known = None if arrived is None else arrived.replicated
        self._session: GatewaySession | None = None
        self._canary = Canary(self.shard_id)
        self._meter = _Meter(since=time.monotonic())
        self._rows = 0
        self._stopped_at: float | None = None

    @property
    def connected(self) -> bool:
        """Whether events flow."""
        return self._session is not None and self._session.connected

    @property
    def path(self) -> Path:
        """Where the file is."""
        return database.path_of(self._surroundings.data_dir, self.shard_id)

    async def put(self, batch: Batch) -> None:
        """Commit a batch: the sink of the gateway session."""
        engine = self.engine
        if engine is None:
            raise StaleEpochError(f"Shard {self.shard_id} is closed.")
        started = time.monotonic()
        around = self._surroundings
        applied = await engine.apply(anonymised(self._own(batch), around.tools.registry, around.anonymity.current))
        took = time.monotonic() - started
        self._meter.events += applied.dispatches
        self._meter.slowest = max(self._meter.slowest, took)
        metrics.EVENTS.of(self.shard_id).inc(applied.dispatches)
        metrics.EVENT_LAG.of(self.shard_id).observe(took)
        for item in batch.items:
            if isinstance(item, Resumed | SessionStarted):
                self._observe_pause()
            if isinstance(item, SessionLost | Hole):
                metrics.GAPS.of(self.shard_id, _reason(item)).inc()

    async def run(self) -> None:
        """Serve until cancelled, or until the shard is somebody else's."""
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            try:
                await self._serve_once()
                if self.handoff.parted:
                    await self.handoff.kept()
                    continue
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
        replica = self._surroundings.replication.replicated(self.shard_id)
        return protocol.ShardLoad(
            shard_id=self.shard_id,
            epoch=self.epoch,
            guilds=self.guilds,
            events_per_second=round(meter.events / max(0.001, now - meter.since), 2),
            lag_seconds=round(meter.slowest, 4),
            connected=self.connected,
            rows=self._rows,
            file_bytes=database.file_bytes(engine.path),
            replica_lag=None if replica is None else round(replica.lag, 3),
            replicated_seq=0 if replica is None or replica.offset is None else replica.offset.seq,
        )

    async def _serve_once(self) -> None:
        around = self._surroundings
        await around.presence.require()
        # What a handoff has just brought was compared with its source and put in place by this process.
        found = Found(there=True) if self._placed else await around.restorer.find(self._shard)
        self._placed = False
        engine = await Engine.open(around.tools, self.path, self.shard_id, self.epoch, expected=found.there)
        try:
            around.replication.begin(engine, known=engine.offset if found.restored is not None else self._known)
            if not found.there:
                # From the first report on the shard counts as served, and must never begin empty again: so first a replica (I8).
                self.problem = "The first copy of the shard is on its way to the replica store."
                await around.replication.barrier(engine)
            self.engine, self.inbox = engine, Inbox(around, engine)
            self._shard = msgspec.structs.replace(self._shard, served=True)
            self.problem = None
            around.lease.renew_soon()
            await self._work(engine, self.inbox)
        finally:
            self.engine = self.inbox = None
            await asyncio.shield(self._close(engine))

    async def _close(self, engine: Engine) -> None:
        await engine.close()
        replicated = self._surroundings.replication.replicated(self.shard_id)
        self._known = None if replicated is None else replicated.offset
        self._surroundings.replication.end(self.shard_id)
        if self._stopped_at is not None:
            self.handoff.part(engine.offset, replicated=self._known, stopped_at=self._stopped_at)
            self._stopped_at = None

    async def _work(self, engine: Engine, inbox: Inbox) -> None:
        session = self._session = self._open_session(engine)
        refused = asyncio.Event()
        session_task = asyncio.create_task(self._follow(session, refused))
        leaving = asyncio.create_task(self._leave_when_asked(engine))
        watching = asyncio.create_task(self._canary.watch(self._surroundings.tools, engine, session))
        counting = [asyncio.create_task(self._count_guilds(engine)), asyncio.create_task(self._count_rows(engine))]
        others = [asyncio.create_task(inbox.run()), *counting, watching, leaving]
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

    async def _leave_when_asked(self, engine: Engine) -> None:
        """Return when the shard is to stop for a handoff: effects under way have ended, events still flow."""
        await self.handoff.wanted()
        if not await engine.quiesce(handoff_source.EFFECTS_LIMIT):
            _log.warning("handoff_cuts_effects", shard=self.shard_id)
        self._stopped_at = time.monotonic()

    def _observe_pause(self) -> None:
        """The first event after a handoff has been committed here."""
        if self._arrived is not None:
            paused = time.monotonic() - self._arrived.stopped_at
            metrics.HANDOFF_PAUSE.observe(paused)
            _log.info("handoff_flows", shard=self.shard_id, epoch=self.epoch, paused=round(paused, 3))
            self._arrived = None

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
        around = self._surroundings
        recovery = engine.offset is not None

        async def permit() -> None:
            await around.permits.wait(self.shard_id, self.epoch, recovery=recovery)

        async def may_resume() -> None:
            await around.lease.valid(_RESUME_LIMIT)

        return GatewaySession(
            http=around.http,
            url=around.gateway_url,
            identity=Identity(token=around.token, intents=around.intents, shard=self._numbers()),
            wanted=around.wanted,
            sink=self,
            permit=permit,
            may_resume=may_resume,
            durable_seq=Acknowledgement(around.replication, around.lease, engine).seq,
            offset=engine.offset,
            guilds=None if self._guild_id is None else (lambda guild_id: guild_id == self._guild_id),
            compression=around.compression,
        )

    def _numbers(self) -> tuple[int, int]:
        """Return what the session says to Discord. A dedicated shard says the same as its guild's formula shard: both get its events."""
        if self._guild_id is None:
            shard = parse_formula_shard(self.shard_id)
            return shard.number, shard.count
        grant = self._surroundings.lease.grant
        if grant is None:
            raise UnavailableError("The number of shards is not known yet.")
        shard = parse_formula_shard(shard_of_guild(self._guild_id, grant.shard_count))
        return shard.number, shard.count

    def _own(self, batch: Batch) -> Batch:
        """Leave out what a dedicated session gets besides its guild's events, such as direct messages: the formula shard has them."""
        if self._guild_id is None:
            return batch
        items = tuple(
            item for item in batch.items if not isinstance(item, Dispatch) or guild_of(item.data) == self._guild_id
        )
        return msgspec.structs.replace(batch, items=items)

    async def _count_rows(self, engine: Engine) -> None:
        while True:
            self._rows = await asyncio.to_thread(inspecting.count_rows, engine.path)
            await asyncio.sleep(_ROWS_EVERY)

    async def _count_guilds(self, engine: Engine) -> None:
        while True:
            self.guilds = (await engine.counts()).guilds
            self.counted = True
            await asyncio.sleep(2.0)


def _reason(item: SessionLost | Hole) -> str:
    if isinstance(item, Hole):
        return HOLE
    return LOST if item.silent_since is None else SILENCE
