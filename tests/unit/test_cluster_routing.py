"""The routing table: later records win whatever the order, and an outage keeps what is known."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modbot.cluster import protocol, routing
from modbot.domain.errors import UnavailableError
from modbot.domain.ids import Epoch, GuildId, Incarnation, PodId, ShardId, TransferId

SHARD = ShardId("1-of-2")
GUILD = GuildId(1 << 22)


def pod(name: str, *, address: str = "") -> protocol.Pod:
    return protocol.Pod(
        pod_id=PodId(name),
        incarnation=Incarnation(name),
        address=address or f"http://{name}",
        state=protocol.PodState.LIVE,
    )


def shard(epoch: int, owner: str | None) -> protocol.Shard:
    return protocol.Shard(
        shard_id=SHARD,
        epoch=Epoch(epoch),
        owner=None if owner is None else PodId(owner),
        incarnation=None if owner is None else Incarnation(owner),
    )


def table(epoch: int, owner: str | None) -> protocol.Table:
    return protocol.Table(shard_count=2, pods=[pod("a"), pod("b")], shards=[shard(epoch, owner)])


class FakeWatch:
    """Plays one script per connection; afterwards the service is away."""

    def __init__(self, *scripts: list[protocol.WatchLine | Exception]) -> None:
        self._scripts = list(scripts)
        self.exhausted = asyncio.Event()

    async def watch(self) -> AsyncGenerator[protocol.WatchLine, None]:
        if not self._scripts:
            self.exhausted.set()
            raise UnavailableError("away")
        for line in self._scripts.pop(0):
            if isinstance(line, Exception):
                raise line
            yield line


def filled(*lines: protocol.WatchLine) -> routing.RoutingTable:
    found = routing.RoutingTable(FakeWatch())
    for line in lines:
        found.apply(line)
    return found


def test_an_empty_table_knows_nobody() -> None:
    found = filled()
    assert found.owner_of(GUILD) is None
    assert found.shard_of(GUILD) is None


def test_a_guild_is_routed_to_the_owner_of_its_shard() -> None:
    found = filled(table(3, "a"))
    assert found.owner_of(GUILD) == routing.Route(SHARD, Epoch(3), PodId("a"), "http://a")
    assert found.owner_of(GuildId(0)) is None
    found.apply(protocol.Change(pods=[pod("a", address="http://elsewhere")]))
    route = found.owner_of(GUILD)
    assert route is not None
    assert route.address == "http://elsewhere"


def test_an_older_record_never_replaces_a_newer_one() -> None:
    found = filled(table(3, "a"), protocol.Change(shards=[shard(2, "b")]), table(1, None))
    assert found.route(SHARD) == routing.Route(SHARD, Epoch(3), PodId("a"), "http://a")
    found.apply(protocol.Change(shards=[shard(3, None)]))
    found.apply(table(3, "a"))
    assert found.route(SHARD) is None, "the owner of epoch 3 was there before it was gone"


@given(
    order=st.permutations([(0, None), (1, "a"), (1, None), (2, "b"), (3, "a"), (3, None), (4, "b")]),
    cut=st.integers(1, 7),
)
def test_any_order_of_delivery_ends_at_the_latest_record(order: list[tuple[int, str | None]], cut: int) -> None:
    found = filled(table(0, None), *(protocol.Change(shards=[shard(*record)]) for record in order[:cut]))
    epoch, owner = max(order[:cut], key=lambda record: (record[0], record[1] is None))
    route = found.route(SHARD)
    assert (None if route is None else (route.epoch, route.pod_id)) == (None if owner is None else (epoch, owner))


async def test_waiting_ends_with_a_higher_epoch_that_has_an_owner() -> None:
    found = filled(table(3, "a"))
    waiting = asyncio.create_task(found.wait_for_owner(GUILD, known(3), timeout=60))
    for change in (shard(3, None), shard(4, None)):
        await asyncio.sleep(0)
        found.apply(protocol.Change(shards=[change]))
        await asyncio.sleep(0)
        assert not waiting.done()
    found.apply(protocol.Change(shards=[shard(5, "b")]))
    assert await waiting == routing.Route(SHARD, Epoch(5), PodId("b"), "http://b")
    assert await found.wait_for_owner(GUILD, known(4), timeout=60) is not None, "it is there already"


def known(epoch: int) -> routing.Route:
    return routing.Route(SHARD, Epoch(epoch), PodId("a"), "http://a")


async def test_a_guild_with_a_shard_of_its_own_is_found_there_and_back() -> None:
    own = ShardId(f"guild-{GUILD}")
    served = protocol.Shard(shard_id=own, epoch=Epoch(1), owner=PodId("b"), incarnation=Incarnation("b"))
    there = protocol.Dedicated(guild_id=str(GUILD), shard_id=own)
    found = filled(table(3, "a"))
    waiting = asyncio.create_task(found.wait_for_owner(GUILD, known(3), timeout=60))
    await asyncio.sleep(0)
    found.apply(protocol.Change(shards=[served]))
    assert found.shard_of(GUILD) == SHARD, "it is not there yet"
    found.apply(protocol.Change(dedicated=[there]))
    assert await waiting == routing.Route(own, Epoch(1), PodId("b"), "http://b")
    assert found.shard_of(GuildId(GUILD + (2 << 22))) == SHARD
    found.apply(protocol.Change(dedicated=[protocol.Dedicated(guild_id=str(GUILD), shard_id=None)]))
    assert found.shard_of(GUILD) == SHARD
    found.apply(protocol.Change(dedicated=[there]))
    found.apply(table(3, "a"))
    assert found.shard_of(GUILD) == SHARD, "a whole table forgets what it does not say"


def test_transfers_under_way_are_kept_until_they_change() -> None:
    under_way = protocol.Transfer(
        transfer_id=TransferId(1),
        guild_id="5",
        source=SHARD,
        target=ShardId("guild-5"),
        state=protocol.TransferState.MOVING,
    )
    found = filled(table(3, "a"), protocol.Change(transfers=[under_way]), protocol.Change())
    assert found.transfers == [under_way]
    found.apply(protocol.Change(transfers=[]))
    assert found.transfers == []


async def test_waiting_gives_up_in_time() -> None:
    assert await filled(table(3, "a")).wait_for_owner(GUILD, known(3), timeout=0.001) is None


async def test_the_stream_is_opened_again_and_the_cache_serves_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "_FIRST_RETRY", 0.001)
    monkeypatch.setattr(routing, "_LONGEST_RETRY", 0.002)
    watch = FakeWatch([table(1, "a"), UnavailableError("cut")], [table(2, "b"), protocol.InboxNotice(shard_id=SHARD)])
    found = routing.RoutingTable(watch)
    heard: list[protocol.WatchLine] = []
    with found.listening(heard.append):
        task = asyncio.create_task(found.run())
        await found.filled()
        await watch.exhausted.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert found.owner_of(GUILD) == routing.Route(SHARD, Epoch(2), PodId("b"), "http://b")
    assert not found.connected
    assert heard == [table(1, "a"), table(2, "b"), protocol.InboxNotice(shard_id=SHARD)]
    found.apply(protocol.Tick())
    assert len(heard) == 3, "who stopped listening hears nothing"


def test_a_stale_table_is_for_those_who_know_nothing() -> None:
    stale = msgspec.structs.replace(table(3, "a"), stale=True)
    assert filled(stale).owner_of(GUILD) == routing.Route(SHARD, Epoch(3), PodId("a"), "http://a")
    moved = protocol.Pod(
        pod_id=PodId("a"), incarnation=Incarnation("a"), address="http://new", state=protocol.PodState.LIVE
    )
    known = filled(table(3, "a"), protocol.Change(pods=[moved]), stale)
    assert known.owner_of(GUILD) == routing.Route(SHARD, Epoch(3), PodId("a"), "http://new")
