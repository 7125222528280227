"""The runner: executes the effects of one shard while its lease is valid.

Effects of one lane run one after the other, lanes run side by side. A run that could not be completed for a passing reason is
postponed with growing pauses; one that is refused for good is `failed`, with the reason in its row and a log line. When the pod
loses its lease the REST client refuses (I2); the effect then waits without using up an attempt, here or at the next owner.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec
import structlog

from modbot.discord.rest import RestClient
from modbot.discord.rest_errors import FencedError, RateLimitedError
from modbot.domain.errors import ModbotError, StaleEpochError
from modbot.domain.ids import GuildId, ShardId
from modbot.ops import metrics, statements, tracing
from modbot.ops.tracing import Fact
from modbot.shard.effects import Journal, Run
from modbot.shard.registry import Registry
from modbot.shard.transaction import PendingEffect, to_ms
from modbot.shard.writer import FILE_ERRORS

_SQL = statements.load("modbot.shard")
_log = structlog.get_logger()
_SIDE_BY_SIDE = 16
_MOST_ATTEMPTS = 12
_MOST_SURPRISES = 3  # a defect in a body is not cured by trying often
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 300.0
_FENCE_PAUSE = 0.5

Failed = Callable[[PendingEffect, str, ModbotError | None], Awaitable[None]]


class Runner:
    """Runs the effects of one shard; lives as long as the pod owns it."""

    def __init__(
        self,
        *,
        shard_id: ShardId,
        registry: Registry,
        journal: Journal,
        rest: RestClient,
        application_id: int,
        now: Callable[[], datetime],
        on_failed: Failed,
        on_broken: Callable[[Exception], None],
    ) -> None:
        self._shard_name = tracing.shard_name(shard_id)
        self._registry = registry
        self._journal = journal
        self._rest = rest
        self._application_id = application_id
        self._now = now
        self._on_failed = on_failed
        self._on_broken = on_broken
        self._lanes: dict[str, deque[PendingEffect]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._held: dict[GuildId, list[PendingEffect]] = {}
        self._places = asyncio.Semaphore(_SIDE_BY_SIDE)
        self._idle = asyncio.Event()
        self._idle.set()
        self._running = 0
        self._may_begin = asyncio.Event()
        self._may_begin.set()
        self._settled = asyncio.Event()
        self._closed = False

    def add(self, effects: list[PendingEffect]) -> None:
        """Take effects that have just been committed, or that a new owner found; after `close` they stay in their rows."""
        if self._closed:
            return
        for effect in effects:
            if effect.guild_id in self._held:
                self._held[effect.guild_id].append(effect)
                continue
            lane = f"{effect.guild_id}/{effect.lane}"
            waiting = self._lanes.get(lane)
            if waiting is not None:
                waiting.append(effect)
                continue
            self._lanes[lane] = deque([effect])
            self._idle.clear()
            task = self._tasks[lane] = asyncio.create_task(self._run_lane(lane))
            task.add_done_callback(functools.partial(self._notice_end, lane))

    async def hold(self, guild_id: GuildId) -> None:
        """Stop the effects of a guild and start none until `release`; what was under way is open, as after a crash (I5)."""
        self._held.setdefault(guild_id, [])
        tasks = [task for lane, task in self._tasks.items() if lane.startswith(f"{guild_id}/")]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def release(self, guild_id: GuildId, read: Callable[[], Awaitable[list[PendingEffect]]]) -> None:
        """Take up the effects of a held guild again: those that `read` finds in their rows, and those that come meanwhile."""
        arrived = self._held[guild_id] = []
        found = await read()
        del self._held[guild_id]
        self.add(list({effect.effect_id: effect for effect in (*found, *arrived)}.values()))

    def _notice_end(self, lane: str, task: asyncio.Task[None]) -> None:
        """A lane that ends with a defect would hold up its later effects for ever: the engine is opened again instead."""
        if self._tasks.get(lane) is task:  # otherwise the lane has begun anew meanwhile
            del self._tasks[lane]
            self._lanes.pop(lane, None)
            self._note_idle()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._on_broken(error)

    async def wait_idle(self) -> None:
        """Wait until nothing is pending."""
        await self._idle.wait()

    def waiting(self) -> tuple[int, float]:
        """Return how many effects are not done, and for how many seconds the oldest of them has been due."""
        heads = [lane[0].due_at for lane in self._lanes.values() if lane]
        oldest = max(0, to_ms(self._now()) - min(heads)) / 1000 if heads else 0.0
        return sum(map(len, self._lanes.values())), oldest

    async def quiesce(self, limit: float) -> bool:
        """Begin no further effect and wait up to `limit` seconds for those under way; say whether all of them have ended."""
        self._may_begin.clear()
        if not self._running:
            return True
        self._settled.clear()
        try:
            await asyncio.wait_for(self._settled.wait(), limit)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Stop; what is pending stays in its rows."""
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run_lane(self, lane: str) -> None:
        waiting = self._lanes[lane]
        while waiting:
            try:
                await self._run_until_settled(waiting[0])
            except StaleEpochError:
                pass  # somebody newer owns the shard and finds this row in its copy
            except FILE_ERRORS:
                _log.warning("effect_left_pending", effect=waiting[0].name, exc_info=True)  # the engine is broken
            waiting.popleft()
        del self._lanes[lane]
        self._note_idle()

    def _note_idle(self) -> None:
        if not self._lanes:
            self._idle.set()

    async def _run_until_settled(self, effect: PendingEffect) -> None:
        attempts = effect.attempts
        await self._wait_until(effect.due_at)
        while True:
            try:
                async with self._places:
                    await self._may_begin.wait()
                    await self._run_counted(effect, attempts)
            except FencedError:
                await asyncio.sleep(_FENCE_PAUSE)
            except (StaleEpochError, *FILE_ERRORS):
                raise
            except ModbotError as error:
                attempts += 1
                if not error.retry or attempts >= _MOST_ATTEMPTS:
                    await self._fail(effect, error)
                    return
                await self._postpone(effect, attempts, error)
            except Exception as error:  # noqa: BLE001 - a defect in a feature must not stop the shard; it is logged and recorded
                attempts += 1
                _log.error("effect_defect", effect=effect.name, attempts=attempts, exc_info=True)
                if attempts >= _MOST_SURPRISES:
                    await self._fail(effect, error)
                    return
                await self._postpone(effect, attempts, error)
            else:
                metrics.EFFECTS.labels(effect.name, "done").inc()
                return

    async def _run_counted(self, effect: PendingEffect, attempts: int) -> None:
        self._running += 1
        facts: tracing.Facts = {Fact.EFFECT: effect.name, Fact.SHARD: self._shard_name, Fact.ATTEMPTS: attempts + 1}
        try:
            with tracing.below(effect.trace), tracing.span("effect", facts):
                await self._run(effect)
                tracing.note(Fact.OUTCOME, "done")
        finally:
            self._running -= 1
            if not self._running:
                self._settled.set()

    async def _run(self, effect: PendingEffect) -> None:
        kind = self._registry.effects[effect.name]
        run = Run(effect, self._registry, self._journal, self._rest, self._application_id, self._now)
        await run.load()
        await kind.body(run, msgspec.json.decode(effect.args, type=kind.args_type))
        await self._settle("done", effect, None)
        metrics.EFFECT_SECONDS.observe(max(0, to_ms(self._now()) - effect.created_at) / 1000)

    async def _fail(self, effect: PendingEffect, error: Exception) -> None:
        known = error if isinstance(error, ModbotError) else None
        code = known.code if known else type(error).__name__
        _log.error("effect_failed", effect=effect.name, guild_id=effect.guild_id, code=code, error=str(error))
        metrics.EFFECTS.labels(effect.name, "failed").inc()
        await self._settle("failed", effect, f"{code}: {error}")
        await self._on_failed(effect, code, known)

    async def _settle(self, state: str, effect: PendingEffect, error: str | None) -> None:
        row = (state, error, to_ms(self._now()), effect.effect_id)
        await self._journal.commit(lambda tx: tx.execute(_SQL["finish_effect"], row))

    async def _postpone(self, effect: PendingEffect, attempts: int, error: Exception) -> None:
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempts - 1)) * random.uniform(0.5, 1)  # noqa: S311 - jitter
        if isinstance(error, RateLimitedError):
            pause = max(pause, error.retry_after)
        due_at = to_ms(self._now()) + int(pause * 1000)
        row: tuple[Any, ...] = (attempts, due_at, str(error), effect.effect_id)
        await self._journal.commit(lambda tx: tx.execute(_SQL["postpone_effect"], row))
        metrics.EFFECTS.labels(effect.name, "postponed").inc()
        await self._wait_until(due_at)

    async def _wait_until(self, due_at: int) -> None:
        await asyncio.sleep(max(0.0, (due_at - to_ms(self._now())) / 1000))
