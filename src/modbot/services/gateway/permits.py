"""Permits: no IDENTIFY without the config service's consent (I6).

Discord allows a number of IDENTIFYs per day for the whole bot and resets the token of a bot that exceeds it, and only some per five
seconds. The pods share that budget, so every one of them asks before each IDENTIFY and waits as long as it takes.
"""

from __future__ import annotations

import asyncio
import time

import msgspec
import structlog

from modbot.cluster import protocol
from modbot.cluster.client import ConfigClient
from modbot.discord import routes
from modbot.discord.rest import RestClient
from modbot.domain.errors import ModbotError, StaleEpochError
from modbot.domain.ids import Epoch, Incarnation, PodId, ShardId

_log = structlog.get_logger()
_FRESH = 30.0
_ASK_AGAIN = 1.0


class SessionStartLimit(msgspec.Struct, frozen=True):
    """How many IDENTIFYs are left; `reset_after` in milliseconds."""

    total: int
    remaining: int
    reset_after: int
    max_concurrency: int


class GatewayInfo(msgspec.Struct, frozen=True):
    """Discord's answer to `GET /gateway/bot`."""

    url: str
    shards: int
    session_start_limit: SessionStartLimit


class Permits:
    """Asks the config service on behalf of the pod's shards."""

    def __init__(self, *, config: ConfigClient, rest: RestClient, pod_id: PodId, incarnation: Incarnation) -> None:
        self._config = config
        self._rest = rest
        self._pod_id = pod_id
        self._incarnation = incarnation
        self._info: GatewayInfo | None = None
        self._info_at = float("-inf")
        self._asking = asyncio.Lock()

    async def gateway(self) -> GatewayInfo:
        """Return Discord's address and limits, at most 30 s old; waits until Discord answers."""
        async with self._asking:
            while self._info is None or time.monotonic() - self._info_at > _FRESH:
                try:
                    answer = await self._rest.request(routes.gateway_bot())
                except ModbotError as error:
                    _log.warning("gateway_info_unavailable", code=error.code, error=str(error))
                    await asyncio.sleep(_ASK_AGAIN)
                    continue
                self._info, self._info_at = answer.decode(GatewayInfo), time.monotonic()
            return self._info

    async def wait(self, shard_id: ShardId, epoch: Epoch, *, recovery: bool) -> None:
        """Return once this shard may send one IDENTIFY; `StaleEpochError` when it is not ours any more."""
        while True:
            limit = (await self.gateway()).session_start_limit
            request = protocol.IdentifyRequest(
                pod_id=self._pod_id,
                incarnation=self._incarnation,
                shard_id=shard_id,
                epoch=epoch,
                max_concurrency=limit.max_concurrency,
                remaining=limit.remaining,
                reset_after=limit.reset_after / 1000,
                recovery=recovery,
            )
            pause = _ASK_AGAIN
            try:
                answer = await self._config.identify(request)
            except StaleEpochError:
                raise
            except ModbotError as error:
                _log.warning("identify_permit_unavailable", shard=shard_id, code=error.code)
            else:
                if answer.granted:
                    return
                if answer.reason == "not_owner":
                    raise StaleEpochError(f"Shard {shard_id} is not ours any more.")
                pause = max(0.05, answer.retry_after)
                _log.info("identify_waits", shard=shard_id, reason=answer.reason, seconds=round(pause, 2))
            await asyncio.sleep(pause)
