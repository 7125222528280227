"""The owner's side of the inbox: nothing leaves it before the replica holds it, and nothing in it is held up by a replica that is behind."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from modbot.cluster import protocol
from modbot.domain.ids import Epoch, InteractionId, ShardId
from modbot.services.gateway import inboxes
from modbot.services.gateway.inboxes import Inbox

SHARD = ShardId("0-of-2")


class World:
    """A config service, an engine and a replica in memory; `steps` is what happened in which order."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.entries: list[protocol.InboxEntry] = []
        self.replica = asyncio.Event()
        self.replica.set()
        self.shard_id, self.epoch = SHARD, Epoch(3)
        around: Any = SimpleNamespace(
            config=self, replication=self, pod_id="gateway-0", incarnation="i", lease=SimpleNamespace()
        )
        engine: Any = self
        self.inbox = Inbox(around, engine)

    def arrives(self, number: int, *, deferred: bool = False) -> None:
        body = msgspec.json.encode({"id": str(number), "application_id": "1", "type": 2, "token": "t"}).decode()
        found = {entry.interaction_id: entry for entry in self.entries}
        number_id = InteractionId(number)
        entry = protocol.InboxEntry(interaction_id=number_id, shard_id=SHARD, payload=body, deferred=deferred)
        self.entries = list({**found, number_id: entry}.values())

    async def read_inbox(self, _shard_id: ShardId, *, after: int, **_owner: Any) -> protocol.InboxPage:
        page = self.entries[after : after + inboxes._PAGE]
        return protocol.InboxPage(entries=page, last=after + len(page))

    async def interact(self, interaction: Any, *, deferred: bool, durable: bool) -> bytes:
        self.steps.append(("applied", interaction.id, deferred))
        return b"{}"

    async def commit(self, _work: Any, *, durable: bool) -> None:
        self.steps.append(("committed", durable))

    async def barrier(self, _engine: Any) -> None:
        await self.replica.wait()
        self.steps.append(("replicated",))

    async def acknowledge_inbox(
        self, _shard_id: ShardId, ids: list[int], *, completed: list[int], **_owner: Any
    ) -> None:
        self.steps.append(("acknowledged", ids, completed))


@pytest.fixture
async def world() -> World:
    return World()


async def test_an_entry_is_forgotten_when_the_replica_holds_it(world: World) -> None:
    world.inbox.applied(InteractionId(5))
    world.replica.clear()
    flushing = asyncio.create_task(world.inbox._flush())
    for _ in range(10):
        await asyncio.sleep(0)
    assert world.steps == [("committed", True)]
    world.replica.set()
    await flushing
    assert world.steps[1:] == [("replicated",), ("acknowledged", [5], [])]
    await world.inbox._flush()
    assert len(world.steps) == 3


async def test_a_replica_that_is_behind_holds_up_no_deferred_entry(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inboxes, "_PAGE", 3)
    world.replica.clear()
    for number in range(1, 8):
        world.arrives(number)
        world.inbox.applied(InteractionId(number))
    world.arrives(8, deferred=True)
    await world.inbox._apply_waiting()
    assert world.steps == [("applied", 8, True)], "those that were applied on the direct way are not applied again"


async def test_one_that_is_deferred_after_it_was_applied_is_completed_once(world: World) -> None:
    world.arrives(1)
    world.inbox.applied(InteractionId(1))
    await world.inbox._apply_waiting()
    assert world.steps == []
    world.arrives(1, deferred=True)
    await world.inbox._apply_waiting()
    await world.inbox._apply_waiting()
    assert world.steps == [("applied", 1, True)]
    await world.inbox._flush()
    assert world.steps[-1] == ("acknowledged", [], [1])


async def test_one_that_is_completed_while_it_is_acknowledged_is_acknowledged_again(world: World) -> None:
    world.inbox.applied(InteractionId(1))
    world.replica.clear()
    flushing = asyncio.create_task(world.inbox._flush())
    await asyncio.sleep(0)
    world.arrives(1, deferred=True)
    await world.inbox._apply_waiting()
    world.replica.set()
    await flushing
    await world.inbox._flush()
    acknowledged = [step for step in world.steps if step[0] == "acknowledged"]
    assert acknowledged == [("acknowledged", [1], []), ("acknowledged", [], [1])]
