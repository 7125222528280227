"""Members and two config replicas together: the real client, lease keeper and routing table over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from configkit import SHARDS, TOKEN, new_incarnation, request

from modbot.cluster import client as client_module
from modbot.cluster import leases, protocol, routing
from modbot.cluster.client import ConfigClient
from modbot.domain.errors import InvalidInputError, NotFoundError, StaleEpochError, UnauthorizedError, UnavailableError
from modbot.domain.ids import Epoch, GuildId, InteractionId, PodId, ShardId
from modbot.ops.settings import ConfigSettings, Secret
from modbot.services.config import main

FIRST = ShardId(f"0-of-{SHARDS}")
GUILD = GuildId(0)


@pytest.fixture
async def replicas(config_settings: ConfigSettings) -> AsyncIterator[list[ConfigClient]]:
    async with (
        main.serving(config_settings) as (one, _),
        main.serving(config_settings) as (two, _),
        aiohttp.ClientSession() as session,
    ):
        yield [ConfigClient(url, Secret(TOKEN), session) for url in (one, two)]


@contextlib.asynccontextmanager
async def doing(*works: object) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(work) for work in works]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert ended is None or isinstance(ended, asyncio.CancelledError), ended


def keeper(config: ConfigClient, pod_id: PodId) -> leases.LeaseKeeper:
    hooks = leases.Hooks(on_grant=lambda _: None, on_lost=lambda: None, on_dead=lambda _: None)
    body = request(new_incarnation(), address=f"http://{pod_id}:3000")
    return leases.LeaseKeeper(config, pod_id, body, hooks=hooks)


async def test_a_pod_that_falls_silent_is_replaced_and_routes_follow(replicas: list[ConfigClient]) -> None:
    table = routing.RoutingTable(replicas[1])
    a, b = PodId("gateway-0"), PodId("gateway-1")
    first, second = keeper(replicas[0], a), keeper(replicas[1], b)
    async with asyncio.timeout(20), doing(table.run()):
        async with doing(first.run()):
            served = await table.wait_for_owner(GUILD, None, timeout=10)
            assert served is not None
            assert (served.pod_id, served.address) == (a, "http://gateway-0:3000")
            assert table.owner_of(GUILD) == served
        with table.listening(second.notice):
            async with doing(second.run()):
                taken = await table.wait_for_owner(GUILD, served, timeout=10)
                assert taken is not None
                assert (taken.pod_id, taken.epoch) == (b, served.epoch + 1)
                assert second.valid_for(0.05)
        await second.leave(keep=True)


async def test_changes_reach_members_in_well_under_a_second(replicas: list[ConfigClient]) -> None:
    table = routing.RoutingTable(replicas[1])
    pod_id, delays = PodId("gateway-0"), []
    async with doing(table.run()):
        await table.filled()
        await replicas[0].register(pod_id, request(new_incarnation(), owns_volume=True))
        route = await table.wait_for_owner(GUILD, None, timeout=10)
        for _ in range(40):
            assert route is not None
            sent_at = time.monotonic()
            await replicas[0].register(pod_id, request(new_incarnation(), owns_volume=True))
            route = await table.wait_for_owner(GUILD, route, timeout=10)
            delays.append(time.monotonic() - sent_at)
    assert statistics.quantiles(delays, n=100)[98] < 0.8, sorted(delays)[-3:]


async def test_deferrals_wake_the_listener_of_another_replica(replicas: list[ConfigClient]) -> None:
    table = routing.RoutingTable(replicas[1])
    woken = asyncio.Event()

    def listen(line: protocol.WatchLine) -> None:
        if line == protocol.InboxNotice(shard_id=FIRST):
            woken.set()

    entry = protocol.InboxEntry(interaction_id=InteractionId(1), shard_id=FIRST, payload='{"token":"x"}')
    async with asyncio.timeout(10), doing(table.run()):
        with table.listening(listen):
            await table.filled()
            await replicas[0].append_inbox([entry])
            await replicas[0].defer_inbox([entry])
            await woken.wait()


async def test_every_method_speaks_the_services_language(replicas: list[ConfigClient]) -> None:
    config, pod_id, me = replicas[0], PodId("gateway-0"), new_incarnation()
    await config.register(pod_id, request(me, owns_volume=True))
    async with asyncio.timeout(10):
        grant = await config.renew(pod_id, protocol.RenewRequest(incarnation=me))
        while not grant.shards:
            grant = await config.renew(pod_id, protocol.RenewRequest(incarnation=me))
    load = protocol.ShardLoad(shard_id=FIRST, epoch=Epoch(1), replicated_seq=77)
    grant = await config.renew(pod_id, protocol.RenewRequest(incarnation=me, shards=[load]))
    assert [(each.served, each.replicated_seq) for each in grant.shards if each.shard_id == FIRST] == [(True, 77)]
    entry = protocol.InboxEntry(interaction_id=InteractionId(1), shard_id=FIRST, payload="{}")
    await config.append_inbox([entry])
    assert (await config.read_inbox(FIRST, pod_id=pod_id, incarnation=me, epoch=Epoch(1))).entries == [entry]
    await config.acknowledge_inbox(FIRST, [entry.interaction_id], pod_id=pod_id, incarnation=me, epoch=Epoch(1))
    assert (await config.read_inbox(FIRST, pod_id=pod_id, incarnation=me, epoch=Epoch(1))).entries == []
    limits = protocol.SessionLimits(max_concurrency=1, remaining=999, reset_after=9)
    permit = protocol.IdentifyRequest(pod_id=pod_id, incarnation=me, shard_id=FIRST, epoch=Epoch(1), limits=limits)
    assert (await config.identify(permit)).granted
    assert {shard.owner for shard in (await config.shards()).shards} == {pod_id}
    assert [pod.pod_id for pod in (await config.pods_health()).pods] == [pod_id]
    assert len((await config.guild_assignments([GUILD])).guilds) == 1
    assert (await config.guild_assignment(GUILD)).shard_id == FIRST
    await config.leave(pod_id, protocol.LeaveRequest(incarnation=me, keep=False))
    with pytest.raises(StaleEpochError):
        await config.leave(pod_id, protocol.LeaveRequest(incarnation=me, keep=False))
    with pytest.raises(NotFoundError):
        await config.read_inbox(ShardId("0-of-99"), pod_id=pod_id, incarnation=me, epoch=Epoch(1))
    with pytest.raises(InvalidInputError):
        await config.register(PodId("Not a name"), request(me))


async def test_failures_have_names(config_settings: ConfigSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with aiohttp.ClientSession() as session:
        async with main.serving(config_settings) as (url, _service):
            with pytest.raises(UnauthorizedError):
                await ConfigClient(url, Secret("wrong"), session).shards()
            lines = ConfigClient(url, Secret(TOKEN), session).watch()
            assert isinstance(await anext(lines), protocol.Table)
        with pytest.raises(StopAsyncIteration):
            await anext(lines)
        with pytest.raises(UnavailableError):
            await ConfigClient(url, Secret(TOKEN), session).shards()
        writers: list[asyncio.StreamWriter] = []
        silent = await asyncio.start_server(lambda _reader, writer: writers.append(writer), "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        monkeypatch.setattr(client_module, "SILENCE_LIMIT", 0.05)
        mute = ConfigClient(f"http://127.0.0.1:{port}", Secret(TOKEN), session)
        with pytest.raises(UnavailableError):
            await mute.renew(PodId("a"), protocol.RenewRequest(incarnation=new_incarnation()), limit=0.05)
        with pytest.raises(UnavailableError):
            await anext(mute.watch())
        silent.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
