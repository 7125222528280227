"""The journal with a client that the test holds: what expires is counted, what is too large is split."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from modbot.cluster.protocol import InboxEntry
from modbot.domain.errors import UnavailableError
from modbot.domain.ids import GuildId, InteractionId, ShardId
from modbot.services.http import journal
from modbot.services.http.journal import Journal, Note
from modbot.services.http.metrics import Metrics

SHARD = ShardId("0-of-1")


class Client:
    def __init__(self) -> None:
        self.down = False
        self.batches: list[list[int]] = []
        self.tried = asyncio.Event()

    async def append_inbox(self, entries: Sequence[InboxEntry], *, limit: float = 0.0) -> None:
        assert limit == journal.APPEND_LIMIT
        self._take(entries)

    async def defer_inbox(self, entries: Sequence[InboxEntry], *, limit: float = 0.0) -> None:
        assert limit == journal.DEFER_LIMIT
        self._take(entries)

    def _take(self, entries: Sequence[InboxEntry]) -> None:
        self.tried.set()
        if self.down:
            raise UnavailableError("away")
        self.batches.append([entry.interaction_id for entry in entries])


class World:
    def __init__(self) -> None:
        self.client = Client()
        self.time = 0.0
        self.metrics = Metrics()
        self.owner_takes = False
        self.offered = asyncio.Event()
        self.journal = Journal(
            self.client, lambda _guild: SHARD, self.metrics, deliver=self.deliver, now=lambda: self.time
        )

    async def deliver(self, _guild_id: GuildId, _body: bytes) -> bool:
        self.offered.set()
        return self.owner_takes

    def note(self, number: int, payload: str = "{}") -> Note:
        return Note(InteractionId(number), GuildId(1), payload, self.time)

    def sample(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name)


async def test_what_waits_is_sent_before_the_end() -> None:
    world = World()
    async with world.journal.running(farewell=5):
        assert world.journal.append(world.note(1))
        world.journal.defer(world.note(2))
    assert sorted(world.client.batches) == [[1], [2]]


async def test_large_payloads_are_split_over_calls() -> None:
    world = World()
    async with world.journal.running(farewell=5):
        for number in range(1, 4):
            world.journal.append(world.note(number, "x" * 250_000))
    assert world.client.batches == [[1], [2], [3]]


async def test_many_entries_are_split_over_calls() -> None:
    world = World()
    async with world.journal.running(farewell=5):
        for number in range(501):
            world.journal.append(world.note(number))
    assert [len(batch) for batch in world.client.batches] == [500, 1]


async def test_a_deferral_whose_token_expired_is_counted_as_lost() -> None:
    world = World()
    world.client.down = True
    async with world.journal.running(farewell=5):
        world.journal.defer(world.note(1))
        await world.client.tried.wait()
        assert world.sample("modbot_http_deferrals_pending") == 1
        world.time += journal.TOKEN_LIFE
    assert world.client.batches == []
    assert world.sample("modbot_http_deferrals_lost_total") == 1
    assert world.sample("modbot_http_deferrals_pending") == 0


async def test_what_is_still_waiting_when_the_farewell_is_over_is_counted_as_lost() -> None:
    world = World()
    world.client.down = True
    async with world.journal.running(farewell=0.01):
        world.journal.defer(world.note(1))
    assert world.sample("modbot_http_deferrals_lost_total") == 1


async def test_after_a_failure_the_service_counts_as_down_for_a_while() -> None:
    world = World()
    world.client.down = True
    async with world.journal.running(farewell=5):
        assert not await world.journal.append(world.note(1))
        at_once = world.journal.append(world.note(2))
        assert at_once.done()
        assert not at_once.result()
        world.client.down = False
        world.time += journal.DOWN_PAUSE
        assert await world.journal.append(world.note(3))
    assert world.client.batches == [[3]]
    assert world.sample("modbot_http_unjournaled_total") == 2


async def test_while_the_inbox_is_away_the_owner_gets_deferrals_directly() -> None:
    world = World()
    world.client.down = world.owner_takes = True
    async with world.journal.running(farewell=5):
        world.journal.defer(world.note(1))
    assert world.client.batches == []
    assert world.sample("modbot_http_deferrals_delivered_total") == 1
    assert world.sample("modbot_http_deferrals_pending") == 0
    assert world.sample("modbot_http_deferrals_lost_total") == 0


async def test_what_the_owner_does_not_take_either_is_kept_for_the_inbox() -> None:
    world = World()
    world.client.down = True
    async with world.journal.running(farewell=5):
        world.journal.defer(world.note(1))
        await world.offered.wait()
        world.client.down = False
    assert world.client.batches == [[1]]
    assert world.sample("modbot_http_deferrals_lost_total") == 0
