"""The taker's side of a transfer: it drives.

1. The giver begins to record what it applies; a moment later we begin to hold what our session brings.
2. We wait until the giver has applied something that we hold: then everything older is behind it, and nothing can fall between. In a
   guild where nothing happens, a while without any event says the same.
3. The giver cuts: from its commit on nobody handles the guild. We wait until we hold its last event, fetch the archive, and check it.
4. The config service makes the guild ours (one compare-and-set). Then one transaction brings the rows in and applies what was held
   behind the last event of the giver. When our replica holds that, the giver may remove its rows.

Before the compare-and-set everything may be given up, and is when anything goes wrong: the giver finds that out by itself. Behind it
everything is repeated until it succeeds, by whoever owns this shard; the giver keeps the rows so long. Every step may be killed and
repeated: what is held stays in our file, under our own offset.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import structlog

from modbot.cluster import protocol
from modbot.cluster.protocol import TransferState
from modbot.cluster.routing import RoutingTable
from modbot.domain import alignment
from modbot.domain.alignment import Meeting
from modbot.domain.errors import ModbotError, StaleEpochError, UnavailableError
from modbot.domain.ids import GuildId
from modbot.ops import metrics
from modbot.services.gateway.serving import ServedShard
from modbot.services.gateway.surroundings import Surroundings
from modbot.services.gateway.transfer_source import Applied, Recording
from modbot.shard import archive, arriving, exporting, importing, transfers
from modbot.shard.archive import Manifest
from modbot.shard.engine import Engine
from modbot.shard.transaction import Transaction
from modbot.shard.transfers import State, TransferRefusedError

_BETWEEN = 1.0
"""Seconds from the beginning of the recording to that of the holding, so that the giver's record reaches back behind ours."""
_QUIET = 3.0
_LOOK = 0.25
_TOLD_WITHIN = 120.0
_OVERLAP_WITHIN = 20.0
_LAST_WITHIN = 5.0
_CALL_LIMIT = 30.0
_ARCHIVE_LIMIT = 600.0
_ASK_AGAIN = 1.0
_BROKEN = (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Fetched:
    """What the giver gave behind its cut: a checked archive, and the last events that it applied."""

    path: Path
    manifest: Manifest
    applied: list[int]


@dataclass(slots=True)
class TransferTarget:
    """One transfer to one of our shards: `await run()`."""

    around: Surroundings
    routing: RoutingTable
    served: ServedShard
    engine: Engine
    transfer: protocol.Transfer
    _cut_at: float | None = None
    _fetched: _Fetched | None = None

    @property
    def guild_id(self) -> GuildId:
        """Return the guild."""
        return GuildId(int(self.transfer.guild_id))

    async def run(self) -> None:
        """Bring the guild here, or give it up; returns when nothing is left to do on this side."""
        try:
            await self._run()
        finally:
            self._forget_archive()

    async def _run(self) -> None:
        if self.transfer.state is TransferState.MOVING:
            try:
                await self._prepare()
            except (ModbotError, *_BROKEN) as error:
                await self._give_up(error)
                return
        while True:
            if await self._finish():
                return
            await asyncio.sleep(_ASK_AGAIN)

    async def drop(self) -> None:
        """The transfer was given up: what is held belongs to the giver."""
        await self.engine.commit(self._drop)

    def _drop(self, tx: Transaction) -> None:
        row = transfers.read(tx, self.guild_id)
        if row is not None and row.state is State.HOLDING and row.transfer_id == self.transfer.transfer_id:
            transfers.stand_aside(tx, self.guild_id)

    async def _prepare(self) -> None:
        giver = msgspec.json.decode(await self._call("POST", "record"), type=Recording).state
        await asyncio.sleep(_BETWEEN)
        guild_id, transfer_id = self.guild_id, self.transfer.transfer_id
        await self._told_of_the_guild()
        fresh = await self.engine.commit(lambda tx: transfers.begin_holding(tx, guild_id, transfer_id))
        if fresh and giver is State.CUT:
            raise TransferRefusedError("What was held since the cut has been lost here; the giver has it.")
        if giver is State.RECORDING:
            await self._until_overlap()
        self._fetched = await self._cut_and_fetch()
        await self.around.replication.barrier(self.engine)  # whoever restores this shard must find what is held
        await self._step(TransferState.MOVED)

    async def _told_of_the_guild(self) -> None:
        deadline = time.monotonic() + _TOLD_WITHIN
        while not (self.served.connected and (row := await self._row()) is not None and row.seen):
            if time.monotonic() > deadline:
                raise UnavailableError(f"The session of {self.engine.shard_id} was not told of the guild.")
            await asyncio.sleep(_LOOK)

    async def _until_overlap(self) -> None:
        began = time.monotonic()
        while True:
            held, applied = await self._held(), await self._applied("GET", "recorded")
            if alignment.overlaps(applied, held):
                return
            waited = time.monotonic() - began
            if waited > _QUIET and not any(value is not None for value in held):
                return
            if waited > _OVERLAP_WITHIN:
                raise TransferRefusedError("The two sessions bring different events.")
            await asyncio.sleep(_LOOK)

    def _forget_archive(self) -> None:
        if self._fetched is not None:
            self._fetched.path.unlink(missing_ok=True)
            self._fetched = None

    async def _cut_and_fetch(self) -> _Fetched:
        """Let the giver cut and fetch what it has; repeating it is safe."""
        self._cut_at = self._cut_at or time.monotonic()
        applied = await self._applied("POST", "cut")
        common = alignment.overlaps(applied, await self._held())
        deadline = time.monotonic() + (_LAST_WITHIN if common else _BETWEEN)
        while True:
            held = await self._held()
            if alignment.find_end(applied, held) is not None or time.monotonic() > deadline:
                break
            await asyncio.sleep(_LOOK)
        row = await self._row()
        if self.transfer.state is TransferState.MOVING and (row is None or row.broken):
            raise TransferRefusedError("The session was interrupted meanwhile.")
        path = exporting.folder_of(self.around.data_dir) / f"{uuid.uuid4()}.sqlite3"
        try:
            manifest = await self._fetch(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return _Fetched(path, manifest, applied)

    async def _finish(self) -> bool:
        """Bring the rows in behind the compare-and-set; False when it has to be tried again."""
        self.transfer = msgspec.structs.replace(self.transfer, state=TransferState.MOVED)
        try:
            row = await self._row()
            if row is not None and row.state is not State.HOLDING:
                raise TransferRefusedError(f"Guild {self.guild_id} is {row.state} here: what was held has been lost.")
            if row is not None:
                await self._bring_in()
            await self.around.replication.barrier(self.engine)
            await self._step(TransferState.FINISHED)
        except StaleEpochError:
            raise
        except (ModbotError, *_BROKEN) as error:
            _log.warning("transfer_goes_on", guild_id=self.guild_id, error=str(error) or type(error).__name__)
            return False
        return True

    async def _bring_in(self) -> None:
        fetched = self._fetched = self._fetched or await self._cut_and_fetch()
        registry = self.engine.tools.registry
        transfer_id = self.transfer.transfer_id
        found: list[Meeting] = []

        def arrive(tx: Transaction) -> int:
            plan = alignment.decide(fetched.applied, transfers.held_hashes(tx, self.guild_id))
            found.append(plan.meeting)
            return arriving.arrive(tx, fetched.path, fetched.manifest, transfer_id, rest=plan.rest, registry=registry)

        try:
            async with self.engine.without_effects(self.guild_id):
                behind = await self.engine.commit(arrive, durable=True)
        finally:
            self._forget_archive()
        metrics.TRANSFERS.labels(str(found[-1])).inc()
        _log.info(
            "guild_arrived",
            shard=self.engine.shard_id,
            guild_id=self.guild_id,
            source=self.transfer.source,
            rows=fetched.manifest.rows,
            behind=behind,
            paused=None if self._cut_at is None else round(time.monotonic() - self._cut_at, 3),
            meeting=str(found[-1]),
        )

    async def _fetch(self, path: Path) -> Manifest:
        registry = self.engine.tools.registry
        url, headers = self._address("archive")
        limit = aiohttp.ClientTimeout(total=_ARCHIVE_LIMIT)
        async with self.around.http.get(url, headers=headers, timeout=limit) as answer:
            if answer.status != 200:
                raise _refusal(answer.status, await answer.read())
            with path.open("wb") as file:
                async for chunk in answer.content.iter_chunked(1 << 18):
                    await asyncio.to_thread(file.write, chunk)
        manifest = await asyncio.to_thread(archive.check, path, guild_id=self.guild_id, versions=registry.versions)
        await asyncio.to_thread(importing.migrate, path, registry.series)
        return manifest

    async def _give_up(self, error: Exception) -> None:
        detail = str(error) or type(error).__name__
        _log.warning("transfer_given_up", guild_id=self.guild_id, source=self.transfer.source, error=detail)
        try:
            await self._step(TransferState.CANCELLED, detail[:500])
        except ModbotError as refused:
            _log.warning("transfer_unresolved", guild_id=self.guild_id, code=refused.code)
            return  # it is found again, and goes on from what the config service says then
        metrics.TRANSFERS.labels("cancelled").inc()
        await self.drop()

    async def _step(self, state: TransferState, detail: str = "") -> None:
        step = protocol.TransferStep(
            pod_id=self.around.pod_id,
            incarnation=self.around.incarnation,
            epoch=self.engine.epoch,
            state=state,
            detail=detail,
        )
        await self.around.config.advance_transfer(self.transfer.transfer_id, step)

    async def _row(self) -> transfers.Whereabouts | None:
        return await self.engine.commit(lambda tx: transfers.read(tx, self.guild_id))

    async def _held(self) -> list[int | None]:
        return await self.engine.commit(lambda tx: transfers.held_hashes(tx, self.guild_id))

    async def _applied(self, method: str, what: str) -> list[int]:
        return msgspec.json.decode(await self._call(method, what), type=Applied).hashes

    async def _call(self, method: str, what: str) -> bytes:
        url, headers = self._address(what)
        limit = aiohttp.ClientTimeout(total=_CALL_LIMIT)
        async with self.around.http.request(method, url, headers=headers, timeout=limit) as answer:
            raw = await answer.read()
            if answer.status >= 300:
                raise _refusal(answer.status, raw)
            return raw

    def _address(self, what: str) -> tuple[str, dict[str, str]]:
        route = self.routing.route(self.transfer.source)
        if route is None:
            raise UnavailableError(f"Nobody serves {self.transfer.source} at the moment.")
        token = self.around.internal_token.reveal()
        headers = {"authorization": f"Bearer {token}", "x-modbot-epoch": str(route.epoch)}
        path = f"/shards/{route.shard_id}/guilds/{self.guild_id}/transfers/{self.transfer.transfer_id}/{what}"
        return route.address + path, headers


def _refusal(status: int, raw: bytes) -> ModbotError:
    try:
        told = msgspec.json.decode(raw, type=_Told)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return UnavailableError(f"The giver answered {status} without saying why.")
    return UnavailableError(f"The giver answered {told.code}: {told.detail}")


class _Told(msgspec.Struct):
    """As much of a problem as the log shows."""

    detail: str
    code: str
