"""From an http pod to the owner of a guild: one POST, and the next try when the owner has changed or does not answer.

The epoch goes with every call; an owner that lost the shard says so (I2) and the call waits for the newer route that the watch stream
brings. Trying again is safe because the shard applies an interaction's id once. The caller holds the deadline and cancels.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import aiohttp
import msgspec
import structlog

from modbot.cluster.routing import Route
from modbot.domain.errors import InvalidInputError, ModbotError
from modbot.domain.ids import GuildId, ShardId
from modbot.ops import tracing
from modbot.ops.settings import Secret
from modbot.ops.tracing import Fact
from modbot.services.http.deciding import Failure, decide_retry
from modbot.services.http.metrics import Metrics

FOREVER: Final = 60.0
_DELIVERY_LIMIT: Final = 5.0
_BY_STATUS: Final = {
    409: Failure.STALE,
    421: Failure.STALE,
    400: Failure.REFUSED,
    413: Failure.REFUSED,
    422: Failure.REFUSED,
    503: Failure.NOT_READY,
}
_log = structlog.get_logger(__name__)


class Routing(Protocol):
    """What is asked of the routing table; `RoutingTable` has it."""

    async def filled(self) -> None:
        """Wait for the first table."""

    def shard_of(self, guild_id: GuildId) -> ShardId | None:
        """Return the shard of a guild."""

    def route(self, shard_id: ShardId) -> Route | None:
        """Return where a shard is served."""

    async def wait_for_owner(self, guild_id: GuildId, than: Route | None, *, timeout: float) -> Route | None:  # noqa: ASYNC109 - the table's own signature
        """Wait until another shard, or a newer owner, serves the guild."""


class OwnerRefusedError(ModbotError):
    """The owner of the guild does not take this interaction and never will."""

    code = "owner_refused"
    status = 502
    hint = "Compare the versions of the http and gateway pods."


class _Answer(msgspec.Struct):
    """The least that a first response has."""

    type: int


_ANSWER: Final = msgspec.json.Decoder(_Answer)


class Forwarder:
    """Asks owners. The session belongs to the caller."""

    def __init__(self, routing: Routing, token: Secret, session: aiohttp.ClientSession, metrics: Metrics) -> None:
        self._routing = routing
        self._session = session
        self._metrics = metrics
        self._headers = {"authorization": f"Bearer {token.reveal()}", "content-type": "application/json"}

    async def forward(self, guild_id: GuildId, body: bytes, *, journaled: bool) -> bytes:
        """Return the owner's first response, however long that takes; `OwnerRefusedError` when it never will."""
        route = await self._first_route(guild_id)
        attempt = 0
        while True:
            attempt += 1
            facts: tracing.Facts = {
                Fact.SHARD: tracing.shard_name(route.shard_id),
                Fact.POD: route.pod_id,
                Fact.ATTEMPTS: attempt,
            }
            with tracing.span("forward", facts, client=True):
                found = await self._try(route, body, journaled=journaled)
                tracing.note(Fact.OUTCOME, "ok" if isinstance(found, bytes) else found.value)
            if isinstance(found, bytes):
                self._metrics.forwards.labels("ok").inc()
                return found
            self._metrics.forwards.labels(found.value).inc()
            retry = decide_retry(found, attempt)
            if retry is None:
                raise OwnerRefusedError(f"{route.pod_id} refuses an interaction of {route.shard_id}.")
            route = await self._next_route(guild_id, route, pause=retry.pause, newer_only=retry.newer_only)

    async def deliver(self, guild_id: GuildId, body: bytes) -> bool:
        """Hand the owner an interaction whose deferral Discord has; True when the shard file holds it durably.

        One try: who asks holds the interaction and asks again.
        """
        shard_id = self._routing.shard_of(guild_id)
        route = None if shard_id is None else self._routing.route(shard_id)
        if route is None:
            return False
        try:
            async with asyncio.timeout(_DELIVERY_LIMIT):
                found = await self._try(route, body, journaled=False, deferred=True)
        except TimeoutError:
            return False
        return isinstance(found, bytes)

    async def _first_route(self, guild_id: GuildId) -> Route:
        shard_id = self._routing.shard_of(guild_id)
        if shard_id is None:
            await self._routing.filled()
            shard_id = self._routing.shard_of(guild_id)
        if shard_id is None:
            raise InvalidInputError("The routing table has no shards.")
        return self._routing.route(shard_id) or await self._newer(guild_id, None)

    async def _next_route(self, guild_id: GuildId, route: Route, *, pause: float | None, newer_only: bool) -> Route:
        if newer_only or pause is None:
            return await self._newer(guild_id, route)
        return await self._routing.wait_for_owner(guild_id, route, timeout=pause) or route

    async def _newer(self, guild_id: GuildId, than: Route | None) -> Route:
        while (route := await self._routing.wait_for_owner(guild_id, than, timeout=FOREVER)) is None:
            continue
        return route

    async def _try(self, route: Route, body: bytes, *, journaled: bool, deferred: bool = False) -> bytes | Failure:
        headers = {**self._headers, "x-modbot-epoch": str(route.epoch), "x-modbot-journaled": "1" if journaled else "0"}
        if deferred:
            headers["x-modbot-deferred"] = "1"
        if (parent := tracing.traceparent()) is not None:
            headers[tracing.HEADER] = parent
        try:
            async with self._session.post(
                f"{route.address}/shards/{route.shard_id}/interactions", data=body, headers=headers
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            _log.warning("owner_unreachable", pod=route.pod_id, shard=route.shard_id, error=type(error).__name__)
            return Failure.UNREACHABLE
        if response.status != 200:
            _log.warning("owner_declined", pod=route.pod_id, shard=route.shard_id, status=response.status)
            return _BY_STATUS.get(response.status, Failure.UNREACHABLE)
        return answer if _is_answer(answer) else Failure.INVALID


def _is_answer(body: bytes) -> bool:
    try:
        return 1 <= _ANSWER.decode(body).type <= 12
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
