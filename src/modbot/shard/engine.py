"""The engine under one shard: its file, its effects, its timers, for as long as this pod owns it.

Opening a file is a claim: the epoch of the grant is stamped into it, and from then on every commit compares it (I2). A file that
has seen a newer epoch is refused, and so is a missing file where one is expected (I8): never start empty in silence.

The engine knows neither leases nor sockets. The pod opens it when the shard is granted, feeds it batches of dispatches and
interactions, and closes it when the shard goes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import apsw
import msgspec
import structlog

from modbot.discord.intake import Batch
from modbot.discord.interactions import Interaction
from modbot.discord.rest import RestClient
from modbot.domain.errors import ModbotError, StaleEpochError
from modbot.domain.gaps import GapKind
from modbot.domain.ids import Epoch, GuildId, ShardId, dedicated_guild
from modbot.domain.offsets import Offset
from modbot.ops import metrics, statements
from modbot.shard import database, dead_letters, dispatching, failing, gaps, interactions, migrations
from modbot.shard.dispatching import Applied
from modbot.shard.effects import TOKEN_LIFE
from modbot.shard.registry import Registry
from modbot.shard.repairing import Repairer
from modbot.shard.runner import Runner
from modbot.shard.transaction import PendingEffect, Transaction, from_ms, to_ms
from modbot.shard.writer import FILE_ERRORS, Committed, ShardFile, Writer

_SQL = statements.load("modbot.shard")
_log = structlog.get_logger()
_T = TypeVar("_T")
_HOUSEKEEPING = timedelta(minutes=5)
_EFFECTS_KEPT = timedelta(hours=24)
_INTERACTIONS_KEPT = timedelta(hours=1)
_PAYLOADS_KEPT = timedelta(hours=1)


class MissingFileError(ModbotError):
    """The shard has been served before, and its file is not on this pod's volume."""

    code = "missing_file"
    hint = "Restore the shard from its replica, or bring back the volume of the pod that served it last."


class ForeignFileError(ModbotError):
    """The file belongs to another shard."""

    code = "foreign_file"
    hint = "Check which volume is mounted at MODBOT_DATA_DIR."


@dataclass(frozen=True, slots=True)
class Counts:
    """What there is in a shard file."""

    guilds: int
    pending_effects: int
    dead_letters: int
    gaps: int


@dataclass(frozen=True, slots=True)
class Tools:
    """What every engine of a pod shares."""

    writer: Writer
    registry: Registry
    rest: RestClient
    application_id: int
    now: Callable[[], datetime]
    replicated: bool = False
    """Whether a Litestream sidecar moves the logs of the files."""


class Engine:
    """One open shard. Create it with `Engine.open`."""

    def __init__(self, tools: Tools, path: Path, file: ShardFile, offset: Offset | None) -> None:
        self.path = path
        self.on_change: Callable[[], None] = lambda: None
        """Called after every commit that changed the file."""
        self._tools = tools
        self._file = file
        self._offset = offset
        self._timers_changed = asyncio.Event()
        self._holding = asyncio.Lock()
        self.broken: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.runner = Runner(
            shard_id=file.shard_id,
            registry=tools.registry,
            journal=self,
            rest=tools.rest,
            application_id=tools.application_id,
            now=tools.now,
            on_failed=self._explain_failure,
            on_broken=self._break,
        )
        self.repairer = Repairer(
            shard_id=file.shard_id, registry=tools.registry, journal=self, rest=tools.rest, now=tools.now
        )
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, tools: Tools, path: Path, shard_id: ShardId, epoch: Epoch, *, expected: bool) -> Engine:
        """Open and claim a shard file; `expected` says that the shard has been served before, so the file must exist.

        Raises:
            MissingFileError: the file is expected and not there, or empty.
            StaleEpochError: the file has been written under a newer epoch.
            ForeignFileError: the file is another shard's.
        """
        connection, offset = await asyncio.to_thread(
            _claim, path, shard_id, epoch, tools.registry, expected, replicated=tools.replicated
        )
        file = ShardFile(shard_id, epoch, connection, lambda _committed: None)
        engine = cls(tools, path, file, offset)
        file.on_commit = engine._on_commit
        await engine._start()
        return engine

    @property
    def shard_id(self) -> ShardId:
        """Return the name of the shard."""
        return self._file.shard_id

    @property
    def epoch(self) -> Epoch:
        """Return the grant under which this engine writes."""
        return self._file.epoch

    @property
    def tools(self) -> Tools:
        """Return what this engine shares with the others of the pod."""
        return self._tools

    @property
    def offset(self) -> Offset | None:
        """Return the committed offset, or None when there is no session to resume."""
        return self._offset

    async def apply(self, batch: Batch) -> Applied:
        """Commit a batch of dispatches together with its seq. Raises what kept the batch from being committed."""
        applied = await self.commit(lambda tx: dispatching.apply_batch(tx, batch, self._tools.registry))
        self._offset = applied.offset
        if applied.repairs_planned:
            self.repairer.notice()
        return applied

    async def interact(self, interaction: Interaction, *, deferred: bool, durable: bool) -> bytes:
        """Apply an interaction once and return the JSON of its first response.

        `durable`: nobody else keeps it (it is not in the inbox), so its commit must survive a power loss.
        """
        registry = self._tools.registry
        return await self.commit(
            lambda tx: interactions.apply(tx, interaction, registry, deferred=deferred), durable=durable
        )

    async def commit(self, work: Callable[[Transaction], _T], *, durable: bool = False) -> _T:
        """Run work in a write transaction of this shard.

        When the file cannot be written, or somebody newer owns the shard, `broken` is set: the pod closes this engine and opens
        the file again, from the committed offset, or lets go of the shard.
        """
        try:
            return await self._tools.writer.submit(self._file, work, durable=durable)
        except (*FILE_ERRORS, StaleEpochError) as error:
            self._break(error)
            raise

    @contextlib.asynccontextmanager
    async def without_effects(self, guild_id: GuildId) -> AsyncIterator[None]:
        """Stop the effects of a guild while the block runs; then carry out what its rows ask for."""

        def pending(tx: Transaction) -> list[PendingEffect]:
            return [PendingEffect(*row) for row in tx.all(_SQL["pending_of_guild"], (guild_id,))]

        async with self._holding:
            await self.runner.hold(guild_id)
            try:
                yield
            finally:
                await self.runner.release(guild_id, lambda: self.commit(pending))

    def look_at_timers(self) -> None:
        """Timers may be due that were not ours to fire before."""
        self._timers_changed.set()

    async def counts(self) -> Counts:
        """Count what the file holds."""
        return await self.commit(lambda tx: Counts(*(tx.one(_SQL["counts"]) or (0, 0, 0, 0))))

    def effects_waiting(self) -> tuple[int, float]:
        """Return how many effects are not done, and for how many seconds the oldest of them has been due."""
        return self.runner.waiting()

    async def quiesce(self, limit: float) -> bool:
        """Begin no further effect and wait up to `limit` seconds for those under way; say whether all of them have ended."""
        return await self.runner.quiesce(limit)

    async def list_gaps(self) -> list[gaps.Summary]:
        """Return the newest gaps of the stream, with what became of them."""
        return await self.commit(gaps.summaries)

    async def close(self) -> None:
        """Stop effects and timers, commit what waits and close the file."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.runner.close()
        await self._settle_writer()
        await asyncio.to_thread(self._file.connection.close)

    async def _settle_writer(self) -> None:
        try:
            await self.commit(lambda _tx: None)
        except (*FILE_ERRORS, StaleEpochError):
            _log.warning("shard_closed_unclean", shard=self.shard_id, exc_info=True)

    async def _start(self) -> None:
        pending = await self.commit(lambda tx: [PendingEffect(*row) for row in tx.all(_SQL["pending_effects"])])
        self.runner.add(pending)
        if await self.commit(gaps.tell_rollback):
            metrics.GAPS.of(self.shard_id, GapKind.ROLLBACK).inc()
            _log.error("shard_rolled_back", shard=self.shard_id, epoch=self.epoch)
        self._tasks = [asyncio.create_task(self._run_timers()), asyncio.create_task(self._keep_house())]
        self._tasks.append(asyncio.create_task(self.repairer.run()))
        for task in self._tasks:
            task.add_done_callback(self._notice_end)

    def _notice_end(self, task: asyncio.Task[None]) -> None:
        """Timers, repairs and housekeeping run as long as the engine: one that ends by itself breaks it, so that the pod opens it again."""
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._break(error)

    def _break(self, error: Exception) -> None:
        if not self.broken.done():
            self.broken.set_result(error)

    def _on_commit(self, committed: Committed) -> None:
        self.on_change()
        self.runner.add(committed.effects)
        if committed.next_timer is not None:
            self._timers_changed.set()

    async def _run_timers(self) -> None:
        while True:
            self._timers_changed.clear()
            next_due = await self.commit(self._fire_due)
            pause = None if next_due is None else max(0.0, (next_due - to_ms(self._tools.now())) / 1000)
            try:
                await asyncio.wait_for(self._timers_changed.wait(), pause)
            except TimeoutError:
                continue

    def _fire_due(self, tx: Transaction) -> int | None:
        for guild_id, name, key, due_at, args in tx.all(_SQL["due_timers"], (tx.now_ms,)):
            tx.guild_id, tx.cause = GuildId(guild_id), f"timer/{name}/{key}/{due_at}"
            if not tx.execute(_SQL["take_timer"], (guild_id, name, key, due_at)):
                continue  # an earlier one of this round has cancelled or moved it
            try:
                with tx.savepoint():
                    kind = self._tools.registry.timers[name]
                    kind.handler(tx, msgspec.json.decode(args, type=kind.args_type))
            except FILE_ERRORS:
                raise
            except Exception as error:  # noqa: BLE001 - kept as a dead letter, like that of an event
                dead_letters.bury(tx, handler=name, error=error, payload=None)
        next_due: int | None = tx.value(_SQL["next_timer"])
        return next_due

    async def _keep_house(self) -> None:
        while True:
            await self.commit(_forget_old)
            await asyncio.sleep(_HOUSEKEEPING.total_seconds())

    async def _explain_failure(self, effect: PendingEffect, code: str, error: ModbotError | None) -> None:
        expired = self._tools.now() - from_ms(effect.created_at) > TOKEN_LIFE
        if effect.reply_token is None or expired or effect.name == interactions.complete.name:
            return
        text = failing.sentence(error, reference=f"{code}-{effect.effect_id}")
        await self.commit(lambda tx: interactions.ask_text(tx, effect, text))


def _claim(
    path: Path,
    shard_id: ShardId,
    epoch: Epoch,
    registry: Registry,
    expected: bool,  # noqa: FBT001 - passed by to_thread
    *,
    replicated: bool = False,
) -> tuple[apsw.Connection, Offset | None]:
    if expected and not path.exists():
        raise MissingFileError(f"The file of shard {shard_id} is not there: {path.name}.")
    connection = database.connect(path, replicated=replicated)
    try:
        _check_owner(connection, shard_id, epoch, expected=expected)
        migrations.migrate(connection, registry.series)
        return connection, _stamp(connection, shard_id, epoch)
    except BaseException:
        connection.close()
        raise


def _check_owner(connection: apsw.Connection, shard_id: ShardId, epoch: Epoch, *, expected: bool) -> None:
    """Refuse a file that is not ours to write, before anything (a migration, a stamp) is written into it."""
    known = connection.execute(_SQL["has_shard"]).fetchone() is not None
    row = connection.execute(_SQL["read_shard"]).fetchone() if known else None
    if row is None:
        if expected:
            raise MissingFileError(f"The file of shard {shard_id} is there and holds nothing.")
        return
    if row[0] != shard_id:
        raise ForeignFileError(f"The file belongs to shard {row[0]}, not to {shard_id}.")
    if row[1] > epoch:
        raise StaleEpochError(f"Shard {shard_id} has been written under epoch {row[1]}; this grant is {epoch}.")


def _stamp(connection: apsw.Connection, shard_id: ShardId, epoch: Epoch) -> Offset | None:
    row = connection.execute(_SQL["read_shard"]).fetchone()
    if row is None:
        guild_id = dedicated_guild(shard_id)
        if guild_id is not None:
            connection.execute(
                _SQL["await_guild"], (guild_id,)
            )  # before the file is a shard's: a kill between may repeat it
        connection.execute(_SQL["create_shard"], (shard_id, epoch))
        return None
    connection.execute(_SQL["claim"], (epoch,))
    if connection.changes() == 0:
        raise StaleEpochError(f"Shard {shard_id} has been written under epoch {row[1]}; this grant is {epoch}.")
    return _offset(row[2], row[3], row[4])


def _offset(session_id: str | None, resume_url: str | None, seq: int | None) -> Offset | None:
    if session_id is None or resume_url is None or seq is None:
        return None
    return Offset(session_id=session_id, resume_url=resume_url, seq=seq)


def _forget_old(tx: Transaction) -> None:
    before = to_ms(tx.now - _EFFECTS_KEPT)
    tx.execute(_SQL["forget_steps"], (before,))
    tx.execute(_SQL["forget_effects"], (before,))
    tx.execute(_SQL["forget_interactions"], (to_ms(tx.now - _INTERACTIONS_KEPT),))
    tx.execute(_SQL["forget_dead_payloads"], (to_ms(tx.now - _PAYLOADS_KEPT),))
    gaps.forget_old(tx)
