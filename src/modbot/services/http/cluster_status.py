"""The numbers of the status page: read from the config service, kept for a moment, shown with their age when they cannot be renewed.

However many browsers look, the config service is asked at most once per `KEEP` seconds by one process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from modbot.cluster import protocol
from modbot.domain.errors import ModbotError
from modbot.domain.ids import ShardId
from modbot.portal import status
from modbot.portal.status import PodRow, ShardRow, Status

KEEP: Final = 0.5
_LIMIT: Final = 2.0
_log = structlog.get_logger(__name__)


class StatusClient(Protocol):
    """The calls that the numbers come from; `ConfigClient` has them."""

    async def shards(self) -> protocol.ShardList:
        """List every shard."""

    async def pods_health(self) -> protocol.PodList:
        """List every pod."""


@dataclass(frozen=True, slots=True)
class _Read:
    pods: list[PodRow]
    shards: list[ShardRow]
    at: float


class ClusterStatus:
    """Gives the current `Status`; `now` is monotonic seconds."""

    def __init__(self, client: StatusClient, *, now: Callable[[], float]) -> None:
        self._client = client
        self._now = now
        self._last: _Read | None = None
        self._tried_at = float("-inf")
        self._failed = False
        self._asking = asyncio.Lock()

    async def current(self) -> Status:
        """Return the status; never raises for a config service that is away."""
        async with self._asking:
            if self._now() - self._tried_at >= KEEP:
                await self._renew()
                self._tried_at = self._now()
        if self._last is None:
            return status.build([], [], age_seconds=None, stale=True)
        age = max(0.0, self._now() - self._last.at)
        return status.build(self._last.pods, self._last.shards, age_seconds=round(age, 1), stale=self._failed)

    async def _renew(self) -> None:
        asked = self._now()
        try:
            async with asyncio.timeout(_LIMIT):
                pods, shards = await asyncio.gather(self._client.pods_health(), self._client.shards())
        except (ModbotError, TimeoutError) as error:
            self._failed = True
            _log.warning("status_not_renewed", error=type(error).__name__)
            return
        self._failed = False
        self._last = _Read(_pod_rows(pods.pods), _shard_rows(shards.shards, pods.pods), asked)


def _pod_rows(pods: list[protocol.PodHealth]) -> list[PodRow]:
    return [
        PodRow(
            name=pod.pod_id,
            state=pod.state.value,
            shards=len(pod.shards),
            capacity=pod.capacity,
            guilds=sum(load.guilds for load in pod.shards),
            events_per_second=round(sum(load.events_per_second for load in pod.shards), 1),
            lag_seconds=max((load.lag_seconds for load in pod.shards), default=0.0),
            lease_seconds=round(pod.lease_seconds, 1),
        )
        for pod in pods
    ]


def _shard_rows(shards: list[protocol.ShardDetail], pods: list[protocol.PodHealth]) -> list[ShardRow]:
    loads = {load.shard_id: load for pod in pods if pod.state is protocol.PodState.LIVE for load in pod.shards}
    return [_shard_row(shard, loads.get(shard.shard_id)) for shard in shards]


def _shard_row(shard: protocol.ShardDetail, load: protocol.ShardLoad | None) -> ShardRow:
    measured = load or protocol.ShardLoad(shard_id=ShardId(shard.shard_id), epoch=shard.epoch)
    return ShardRow(
        name=shard.shard_id,
        owner=shard.owner,
        epoch=shard.epoch,
        guilds=measured.guilds,
        events_per_second=round(measured.events_per_second, 1),
        lag_seconds=measured.lag_seconds,
        connected=measured.connected and shard.owner is not None,
        waiting=shard.waiting,
    )
