"""The transfers that concern this pod: for each side of each of them one task, for as long as the shard is open here.

What there is to do is read from two places: the table of the config service (transfers under way), and the rows of the shard files
(guilds in the middle of a transfer, perhaps of one that was decided while nobody served the shard). A task that ends with an error is
begun again at the next look.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Mapping

import structlog

from modbot.cluster import protocol
from modbot.cluster.protocol import TransferState
from modbot.cluster.routing import RoutingTable
from modbot.domain.errors import ModbotError
from modbot.domain.ids import ShardId, TransferId
from modbot.services.gateway import transfer_source
from modbot.services.gateway.serving import ServedShard
from modbot.services.gateway.surroundings import Surroundings
from modbot.services.gateway.transfer_target import TransferTarget
from modbot.shard import transfers
from modbot.shard.engine import Engine

_LOOK_EVERY = 0.5
_log = structlog.get_logger()
_Key = tuple[Engine, TransferId]


class Transferring:
    """Begins and ends the tasks; `run` it in one."""

    def __init__(
        self, surroundings: Surroundings, routing: RoutingTable, shards: Mapping[ShardId, ServedShard]
    ) -> None:
        self._around = surroundings
        self._routing = routing
        self._shards = shards
        self._tasks: dict[_Key, asyncio.Task[None]] = {}
        self._looked: weakref.WeakSet[Engine] = weakref.WeakSet()

    async def run(self) -> None:
        """Look and follow until cancelled."""
        try:
            while True:
                for served in list(self._shards.values()):
                    if served.engine is not None:
                        await self._look_at(served, served.engine)
                self._forget()
                await asyncio.sleep(_LOOK_EVERY)
        finally:
            await self._end(list(self._tasks.values()))

    def _forget(self) -> None:
        """Let go of what is done, and end what worked with a file that has been closed."""
        open_now = {served.engine for served in self._shards.values()}
        for (engine, _), task in self._tasks.items():
            if engine not in open_now:
                task.cancel()
        self._tasks = {key: task for key, task in self._tasks.items() if not task.done()}

    async def _look_at(self, served: ServedShard, engine: Engine) -> None:
        named = [each for each in self._routing.transfers if engine.shard_id in {each.source, each.target}]
        for each in named:
            self._begin(served, engine, each)
        if engine in self._looked and not named:
            return
        with contextlib.suppress(ModbotError):
            known = {each.transfer_id for each in named}
            unsettled = [each for each in await engine.commit(transfers.unsettled) if each[2] not in known]
            for _guild_id, _state, transfer_id in unsettled:
                self._begin(served, engine, await self._around.config.transfer(transfer_id))
            if not unsettled and not named:
                self._looked.add(engine)  # nothing begins here that the table does not name
            else:
                self._looked.discard(engine)

    def _begin(self, served: ServedShard, engine: Engine, transfer: protocol.Transfer) -> None:
        key = (engine, transfer.transfer_id)
        task = self._tasks.get(key)
        if task is None or task.done():
            self._tasks[key] = asyncio.create_task(self._follow(served, engine, transfer))

    async def _follow(self, served: ServedShard, engine: Engine, transfer: protocol.Transfer) -> None:
        try:
            transfer = await self._around.config.transfer(transfer.transfer_id)
            if transfer.source == engine.shard_id:
                await transfer_source.settle(self._around, engine, transfer)
                return
            target = TransferTarget(self._around, self._routing, served, engine, transfer)
            if transfer.state in {TransferState.MOVING, TransferState.MOVED}:
                await target.run()
            elif transfer.state is TransferState.CANCELLED:
                await target.drop()
        except ModbotError as error:
            _log.warning("transfer_waits", shard=engine.shard_id, transfer_id=transfer.transfer_id, code=error.code)
        except Exception:  # noqa: BLE001 - a defect ends this try, not the pod; the transfer is given up in time
            _log.error("transfer_defect", shard=engine.shard_id, transfer_id=transfer.transfer_id, exc_info=True)

    @staticmethod
    async def _end(tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
