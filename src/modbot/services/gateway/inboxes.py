"""The inbox of one shard, as its owner sees it.

The http pods append every interaction to the inbox before it is forwarded. What was forwarded and applied is acknowledged here, after
a durable commit that the replica holds too, so that PostgreSQL can forget it: until then a restored shard finds it again. What nobody applied (its owner died, or Discord has been given the deferral) is
applied from here. The interaction's id makes both ways the same one: whoever comes second finds it done.
"""

from __future__ import annotations

import asyncio

import structlog

from modbot.cluster import protocol
from modbot.discord import interactions
from modbot.domain.errors import InvalidInputError, ModbotError, NotOwnerError, StaleEpochError
from modbot.domain.ids import InteractionId
from modbot.ops import tracing
from modbot.ops.tracing import Fact
from modbot.services.gateway.surroundings import Surroundings
from modbot.shard.engine import Engine
from modbot.shard.transfers import GuildMovingError

_log = structlog.get_logger()
_LOOK_EVERY = 15.0
_ACKNOWLEDGE_EVERY = 1.0
_PAGE = 500


class Inbox:
    """Applies and acknowledges the entries of one shard; `run` it in a task."""

    def __init__(self, surroundings: Surroundings, engine: Engine) -> None:
        self._surroundings = surroundings
        self._engine = engine
        self._applied: dict[InteractionId, bool] = {}
        """What waits to be acknowledged, and whether it was completed as a deferred one."""
        self._noticed = asyncio.Event()
        self._noticed.set()

    def notice(self) -> None:
        """Deferred entries wait: look now."""
        self._noticed.set()

    def applied(self, interaction_id: InteractionId) -> None:
        """An entry was applied on the direct way; acknowledge it soon."""
        self._applied.setdefault(interaction_id, False)

    async def run(self) -> None:
        """Look and acknowledge until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            group.create_task(self._acknowledge())

    async def _look(self) -> None:
        while True:
            self._noticed.clear()
            try:
                await self._apply_waiting()
            except StaleEpochError:
                self._surroundings.lease.renew_soon()
            except ModbotError as error:
                _log.warning("inbox_not_read", shard=self._engine.shard_id, code=error.code)
            try:
                await asyncio.wait_for(self._noticed.wait(), _LOOK_EVERY)
            except TimeoutError:
                continue

    async def _apply_waiting(self) -> None:
        """Apply what nobody has applied, page by page: while the replica is behind, much that is done stays in the inbox."""
        after, full = 0, True
        while full:
            page = await self._surroundings.config.read_inbox(
                self._engine.shard_id,
                pod_id=self._surroundings.pod_id,
                incarnation=self._surroundings.incarnation,
                epoch=self._engine.epoch,
                after=after,
            )
            for entry in page.entries:
                done = self._applied.get(entry.interaction_id)
                if done is None or (entry.deferred and not done):
                    await self._apply(entry)
            after, full = page.last, len(page.entries) == _PAGE

    async def _apply(self, entry: protocol.InboxEntry) -> None:
        try:
            interaction = interactions.decode(entry.payload.encode())
            facts: tracing.Facts = {
                Fact.SHARD: tracing.shard_name(self._engine.shard_id),
                Fact.POD: self._surroundings.pod_id,
            }
            with tracing.below(None), tracing.span("interaction from the inbox", facts):
                await self._engine.interact(interaction, deferred=entry.deferred, durable=False)
        except (GuildMovingError, NotOwnerError):
            return  # the config service brings it to the shard that its guild goes to, or it is read again here
        except InvalidInputError as error:
            _log.error("inbox_entry_refused", interaction_id=entry.interaction_id, error=str(error))
        self._applied[entry.interaction_id] = entry.deferred

    async def _acknowledge(self) -> None:
        while True:
            await asyncio.sleep(_ACKNOWLEDGE_EVERY)
            try:
                await self._flush()
            except StaleEpochError:
                self._surroundings.lease.renew_soon()
            except ModbotError as error:
                _log.warning("inbox_not_acknowledged", shard=self._engine.shard_id, code=error.code)

    async def _flush(self) -> None:
        """Make what was applied durable, here and in the replica, then let PostgreSQL forget it."""
        batch = list(self._applied.items())[:5000]
        if not batch:
            return
        await self._engine.commit(lambda _tx: None, durable=True)
        await self._surroundings.replication.barrier(self._engine)
        await self._surroundings.config.acknowledge_inbox(
            self._engine.shard_id,
            [interaction_id for interaction_id, completed in batch if not completed],
            completed=[interaction_id for interaction_id, completed in batch if completed],
            pod_id=self._surroundings.pod_id,
            incarnation=self._surroundings.incarnation,
            epoch=self._engine.epoch,
        )
        for interaction_id, completed in batch:
            if self._applied[interaction_id] == completed:  # not completed as a deferred one meanwhile
                del self._applied[interaction_id]
