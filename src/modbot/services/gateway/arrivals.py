"""The handoffs to this pod: one task for each that the grant names, at most two fetching at a time."""

from __future__ import annotations

import asyncio

import structlog

from modbot.cluster import protocol
from modbot.cluster.routing import RoutingTable
from modbot.domain.ids import MoveId
from modbot.ops import metrics
from modbot.services.gateway.handoff_target import Arrival, Arrived
from modbot.services.gateway.surroundings import Surroundings

_AT_ONCE = 2
_log = structlog.get_logger()


class Arrivals:
    """Starts, remembers and ends the arrivals."""

    def __init__(self, surroundings: Surroundings, routing: RoutingTable) -> None:
        self._surroundings = surroundings
        self._routing = routing
        self._tasks: dict[MoveId, asyncio.Task[None]] = {}
        self._done: dict[MoveId, Arrived] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)

    def follow(self, incoming: list[protocol.Shard]) -> None:
        """Begin what is new. An arrival under way is never cut short: it finds out itself when its handoff is over."""
        named = {shard.move_id for shard in incoming}
        self._tasks = {key: task for key, task in self._tasks.items() if key in named or not task.done()}
        for shard in incoming:
            if shard.move_id not in self._tasks:
                self._tasks[shard.move_id] = asyncio.create_task(self._arrive(shard))

    def take(self, shard: protocol.Shard) -> Arrived | None:
        """Return how the shard came, if it is by a handoff that this process has completed."""
        return self._done.pop(shard.since_move, None)

    async def close(self) -> None:
        """End all of them; the config service gives up what an ended incarnation was to receive."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _arrive(self, shard: protocol.Shard) -> None:
        async with self._places:
            pod = next((each for each in self._routing.pods() if each.pod_id == shard.owner), None)
            if pod is None:
                _log.warning("handoff_source_unknown", shard=shard.shard_id, source=shard.owner)
                return
            try:
                arrived = await Arrival(self._surroundings, shard, pod.address).run()
            except Exception:  # noqa: BLE001 - a defect ends this handoff, not the pod; the config service gives it up
                _log.error("handoff_defect", shard=shard.shard_id, move_id=shard.move_id, exc_info=True)
                arrived = None
            if arrived is not None:
                self._done[shard.move_id] = arrived
                self._own(arrived)
        metrics.HANDOFFS.labels("failed" if arrived is None else "completed").inc()

    def _own(self, arrived: Arrived) -> None:
        if arrived.shard is not None:
            self._surroundings.lease.gain(arrived.shard)
        else:
            self._surroundings.lease.renew_soon()
