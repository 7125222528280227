"""Permits: no IDENTIFY without the config service's consent (I6).

Discord allows a number of IDENTIFYs per day for the whole bot and resets the token of a bot that exceeds it, and only some per five
seconds. The pods share that budget, so every one of them asks before each IDENTIFY and waits as long as it takes. What Discord says
about the budget is asked for by one pod at a time, when the config service tells it to.
"""

from __future__ import annotations

import asyncio

import msgspec
import structlog

from modbot.cluster import protocol
from modbot.cluster.client import ConfigClient
from modbot.discord import routes
from modbot.discord.rest import RestClient
from modbot.domain.errors import ModbotError, StaleEpochError
from modbot.domain.ids import Epoch, Incarnation, PodId, ShardId

_log = structlog.get_logger()
_ASK_AGAIN = 1.0
_SHORTEST_PAUSE = 0.05
_LONGEST_PAUSE = 60.0


class _SessionStartLimit(msgspec.Struct, frozen=True):
    """How many IDENTIFYs are left; `reset_after` in milliseconds."""

    total: int
    remaining: int
    reset_after: int
    max_concurrency: int


class _GatewayInfo(msgspec.Struct, frozen=True):
    """Discord's answer to `GET /gateway/bot`."""

    session_start_limit: _SessionStartLimit


class Permits:
    """Asks the config service on behalf of the pod's shards."""

    def __init__(self, *, config: ConfigClient, rest: RestClient, pod_id: PodId, incarnation: Incarnation) -> None:
        self._config = config
        self._rest = rest
        self._pod_id = pod_id
        self._incarnation = incarnation

    async def wait(self, shard_id: ShardId, epoch: Epoch, *, recovery: bool) -> None:
        """Return once this shard may send one IDENTIFY; `StaleEpochError` when it is not ours any more."""
        limits: protocol.SessionLimits | None = None
        while True:
            answer = await self._ask(shard_id, epoch, limits, recovery=recovery)
            if answer.granted:
                return
            if answer.reason == "not_owner":
                raise StaleEpochError(f"Shard {shard_id} is not ours any more.")
            if answer.reason == "limits_unknown":
                limits = await self._limits()
                continue
            _log.info("identify_waits", shard=shard_id, reason=answer.reason, seconds=round(answer.retry_after, 2))
            await asyncio.sleep(max(_SHORTEST_PAUSE, answer.retry_after))

    async def _ask(
        self, shard_id: ShardId, epoch: Epoch, limits: protocol.SessionLimits | None, *, recovery: bool
    ) -> protocol.IdentifyAnswer:
        request = protocol.IdentifyRequest(
            pod_id=self._pod_id,
            incarnation=self._incarnation,
            shard_id=shard_id,
            epoch=epoch,
            limits=limits,
            recovery=recovery,
        )
        while True:
            try:
                return await self._config.identify(request)
            except StaleEpochError:
                raise
            except ModbotError as error:
                _log.warning("identify_permit_unavailable", shard=shard_id, code=error.code)
                await asyncio.sleep(_ASK_AGAIN)

    async def _limits(self) -> protocol.SessionLimits:
        """Ask Discord how many IDENTIFYs are left; waits until it answers, with growing pauses (a wrong token counts as invalid)."""
        pause = _ASK_AGAIN
        while True:
            try:
                answer = await self._rest.request(routes.gateway_bot())
            except ModbotError as error:
                _log.warning("session_limits_unavailable", code=error.code, error=str(error), hint=error.hint)
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)
                continue
            limit = answer.decode(_GatewayInfo).session_start_limit
            return protocol.SessionLimits(
                max_concurrency=limit.max_concurrency,
                remaining=limit.remaining,
                reset_after=limit.reset_after / 1000,
            )
