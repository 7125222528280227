"""The repairer: reads back, one request after the other, what a shard missed in a gap.

It takes the next open source from the shard file, makes one request, and has the answer applied and the source moved on in one
transaction (`recovering`). It keeps nothing in memory, so whoever owns the shard after a death goes on where it ended.

Reading back is never urgent: its requests leave only when no other request of the pod waits, and take at most half of the pod's share
(`discord.budgets`). 403 and 404 are results and recorded as such. What fails for passing reasons is tried again with growing pauses,
other sources meanwhile; after ten tries it is recorded as unreadable. Without a valid lease the repairer waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import structlog

from modbot.discord import routes
from modbot.discord.budgets import EgressClosedError
from modbot.discord.objects import AuditLog, Ban, Channel, Message
from modbot.discord.rest import RestClient
from modbot.discord.rest_errors import FencedError, ForbiddenError, RateLimitedError, RestError, UnknownError
from modbot.discord.routes import Route
from modbot.domain.errors import StaleEpochError
from modbot.domain.ids import ChannelId, ShardId
from modbot.ops import metrics
from modbot.shard import gaps, recovering
from modbot.shard.effects import Journal
from modbot.shard.recovering import Outcome, Source
from modbot.shard.registry import Registry
from modbot.shard.transaction import to_ms
from modbot.shard.writer import FILE_ERRORS

_log = structlog.get_logger()
_MESSAGES_PER_PAGE = 100
_ENTRIES_PER_PAGE = 100
_BANS_PER_PAGE = 1000
_MOST_ATTEMPTS = 10
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 300.0
_HELD_BACK = 1.0  # seconds after which a closed egress or a missing lease is asked about again


class _Threads(msgspec.Struct):
    threads: list[Channel]


class Repairer:
    """Repairs the gaps of one shard; lives as long as the pod owns it."""

    def __init__(
        self,
        *,
        shard_id: ShardId,
        registry: Registry,
        journal: Journal,
        rest: RestClient,
        now: Callable[[], datetime],
    ) -> None:
        self._shard_id = shard_id
        self._registry = registry
        self._journal = journal
        self._rest = rest
        self._now = now
        self._changed = asyncio.Event()
        self._unfinished = 0

    def notice(self) -> None:
        """Look again: something was planned."""
        self._changed.set()

    async def run(self) -> None:
        """Repair until cancelled. Errors of the file and of ownership end it."""
        while True:
            self._changed.clear()
            step = await self._journal.commit(lambda tx: recovering.next_step(tx, self._registry))
            if step.source is not None:
                await self._work(step.source)
                continue
            metrics.GAP_GUILDS.of(self._shard_id).set(step.unfinished)
            pause = None if step.due is None else max(0.0, (step.due - to_ms(self._now())) / 1000)
            try:
                await asyncio.wait_for(self._changed.wait(), pause)
            except TimeoutError:
                continue

    async def _work(self, source: Source) -> None:
        try:
            outcome = await self._read(source)
        except (StaleEpochError, *FILE_ERRORS):
            raise
        except (FencedError, EgressClosedError):
            await asyncio.sleep(_HELD_BACK)
        except RateLimitedError as error:
            await self._postpone(source, source.attempts, str(error), pause=error.retry_after)
        except (ForbiddenError, UnknownError) as error:
            self._tell(source, await self._settle(source, f"{error.http_status} {error.discord_code}"))
        except (RestError, msgspec.MsgspecError) as error:
            await self._fail(source, error)
        except Exception as error:  # noqa: BLE001 - a defect here must not stop the shard; it is logged and recorded
            _log.error("repair_defect", shard=self._shard_id, source=source.kind, exc_info=True)
            await self._fail(source, error)
        else:
            self._tell(source, outcome)

    async def _read(self, source: Source) -> Outcome:
        missing = await self._journal.commit(lambda tx: recovering.obstacle(tx, source))
        if missing is not None:
            return await self._settle(source, f"needs {missing}" if missing else None)
        match source.kind:
            case gaps.PLACES:
                return await self._read_places(source)
            case gaps.MESSAGES:
                route = routes.get_messages(ChannelId(source.place_id))
                page = await self._page(route, list[Message], source, _MESSAGES_PER_PAGE)
                more = len(page) >= _MESSAGES_PER_PAGE
                return await self._journal.commit(
                    lambda tx: recovering.apply_messages(tx, self._registry, source, page, more=more)
                )
            case gaps.ENTRIES:
                route = routes.audit_log(source.guild_id)
                entries = (await self._page(route, AuditLog, source, _ENTRIES_PER_PAGE)).audit_log_entries
                full = len(entries) >= _ENTRIES_PER_PAGE
                return await self._journal.commit(
                    lambda tx: recovering.apply_entries(tx, self._registry, source, entries, more=full)
                )
            case _:
                bans = await self._page(routes.get_bans(source.guild_id), list[Ban], source, _BANS_PER_PAGE)
                whole = len(bans) >= _BANS_PER_PAGE
                return await self._journal.commit(
                    lambda tx: recovering.apply_bans(tx, self._registry, source, bans, more=whole)
                )

    async def _read_places(self, source: Source) -> Outcome:
        channels = await self._rest.request(routes.get_guild_channels(source.guild_id), background=True)
        threads = await self._rest.request(routes.active_threads(source.guild_id), background=True)
        places = [*channels.decode(list[Channel]), *threads.decode(_Threads).threads]
        return await self._journal.commit(lambda tx: recovering.add_places(tx, self._registry, source, places))

    async def _page(self, route: Route, kind: Any, source: Source, size: int) -> Any:
        params = {"after": str(source.position), "limit": str(size)}
        return (await self._rest.request(route, params=params, background=True)).decode(kind)

    async def _settle(self, source: Source, reason: str | None) -> Outcome:
        return await self._journal.commit(lambda tx: recovering.settle(tx, self._registry, source, reason))

    async def _fail(self, source: Source, error: Exception) -> None:
        attempts = source.attempts + 1
        reason = f"{error.http_status} {error.discord_code}" if isinstance(error, RestError) else type(error).__name__
        if attempts >= _MOST_ATTEMPTS:
            self._tell(source, await self._settle(source, reason))
            return
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempts - 1))
        await self._postpone(source, attempts, reason, pause=pause)

    async def _postpone(self, source: Source, attempts: int, reason: str, *, pause: float) -> None:
        due_at = to_ms(self._now()) + int(pause * 1000)
        await self._journal.commit(
            lambda tx: recovering.postpone(tx, source, attempts=attempts, due_at=due_at, reason=reason)
        )

    def _tell(self, source: Source, outcome: Outcome) -> None:
        if outcome.recovered:
            metrics.GAP_RECOVERED.labels(source.kind).inc(outcome.recovered)
        if outcome.unreadable:
            metrics.GAP_UNREADABLE.labels(source.kind).inc()
            _log.warning("gap_unreadable", shard=self._shard_id, source=source.kind, guild_id=source.guild_id)
        if outcome.finished:
            _log.info("gap_repaired", shard=self._shard_id, guild_id=source.guild_id)
