"""The rebalancer on real PostgreSQL: what begins, what waits, and what happens when things die in the middle."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping

import pytest
from configkit import SHARDS, TOKEN, new_incarnation, request
from movingkit import Pods, together

from modbot.cluster import protocol
from modbot.cluster.client import ConfigClient
from modbot.domain import rebalancing as domain
from modbot.domain.errors import InvalidInputError, MoveRefusedError, NotFoundError, StaleEpochError
from modbot.domain.ids import PodId, ShardId
from modbot.ops import statements
from modbot.ops.settings import ConfigSettings, Secret
from modbot.services.config import database as database_module
from modbot.services.config import main, moves, rebalancing, views
from modbot.services.config.database import Database

A, B, C = PodId("gateway-0"), PodId("gateway-1"), PodId("gateway-2")
FIRST = ShardId(f"0-of-{SHARDS}")


@pytest.fixture
async def pods(database: Database) -> Pods:
    made = Pods(database)
    await made.add_shards(24)
    return made


async def test_a_pod_that_joins_gets_its_part_and_one_that_is_drained_loses_all(pods: Pods) -> None:
    await pods.join(A, B)
    await pods.place()
    assert await pods.carried() == {A: 12, B: 12}
    await pods.join(C)
    assert await pods.round(settle=60) == [], "a newcomer may have company in a moment"
    assert 0 < await pods.settle() <= 8
    carried = await pods.carried()
    assert 6 <= carried[C] <= 8
    assert await pods.settle() == 0
    await rebalancing.cordon(pods.database, A, on=True)
    assert await pods.settle() == carried[A]
    assert set(await pods.carried()) == {B, C}
    details = await moves.latest(pods.database)
    assert {move.reason for move in details.moves if move.cause is domain.Cause.DRAIN} == {f"{A} is drained."}
    await rebalancing.cordon(pods.database, A, on=False)
    first = await pods.settle()
    carried = await pods.carried()
    assert carried[A] == first >= 6, "a drain that was undone is not held against the shards"
    await rebalancing.pin(pods.database, ShardId("0-of-24"), A)
    await pods.settle()
    await rebalancing.pin(pods.database, ShardId("0-of-24"), None)
    rested = {move.shard_id for move in (await moves.latest(pods.database)).moves if move.cause is domain.Cause.BALANCE}
    await pods.join(PodId("gateway-3"))
    await pods.settle()
    latest = (await moves.latest(pods.database)).moves
    again = [move.shard_id for move in latest if move.target == "gateway-3"]
    assert again
    assert not rested & set(again), "what was moved for balance rests"


async def test_moves_are_few_at_a_time_and_more_when_a_pod_is_drained(pods: Pods) -> None:
    await pods.join(A, B)
    await pods.place()
    await pods.join(C)
    assert len(await pods.round()) == 1, "one per target"
    assert await pods.round() == [], "until it is done"
    await rebalancing.cordon(pods.database, A, on=True)
    assert len(await pods.round()) > 1
    assert all(
        count <= domain.AT_ONCE_DRAINING for count in Counter(each.owner for each in await pods.moving()).values()
    )


async def test_a_drain_outlives_a_restart_and_a_drained_pod_receives_nothing(pods: Pods) -> None:
    await pods.join(A)
    await pods.place()
    await pods.join(B)
    await rebalancing.cordon(pods.database, B, on=True)
    await pods.join(B)
    assert await pods.settle() == 0
    assert await pods.carried() == {A: 24}
    [health] = [pod for pod in (await views.pods_health(pods.database)).pods if pod.pod_id == B]
    assert (health.cordoned, health.draining) == (True, False)
    with pytest.raises(MoveRefusedError, match="not live or is draining"):
        await moves.begin(pods.database, ShardId("0-of-24"), target=B, reason="by hand")
    await pods.lose(A)
    assert {shard.waiting for shard in await pods.shards()} == {"Only a draining pod could serve it."}
    await rebalancing.cordon(pods.database, B, on=False)
    await pods.place()
    assert await pods.carried() == {B: 24}


async def test_a_pause_stops_everything_but_a_pod_that_stops(pods: Pods) -> None:
    await pods.join(A, B)
    await pods.place()
    await pods.join(C)
    await pods.round()
    [moving] = await pods.moving()
    shard_went_from_a = moving.owner == A
    await rebalancing.pause(pods.database, paused=True)
    assert await pods.finish() == 1, "what is under way goes on"
    await rebalancing.cordon(pods.database, B, on=True)
    assert await pods.round() == []
    plan = await rebalancing.look(pods.database, settle=0)
    assert plan.moves
    assert plan.waits.startswith("Moves are paused")
    assert not any(move.now for move in plan.moves)
    with pytest.raises(MoveRefusedError, match="paused"):
        await rebalancing.ask(pods.database, settle=0)
    await pods.renew(A, draining=True)
    source = 11 if shard_went_from_a else 12
    assert await pods.settle() == source
    assert A not in await pods.carried(), "a pod that stops is emptied all the same"
    await rebalancing.pause(pods.database, paused=False)
    await pods.settle()
    assert set(await pods.carried()) == {C}


async def test_pins_move_shards_and_hold_them(pods: Pods) -> None:
    await pods.join(A, B, labels={"zone": "a"})
    await pods.place()
    pinned = ShardId("3-of-24")
    await rebalancing.pin(pods.database, pinned, "zone=b")
    assert await pods.settle() == 0, "nobody is there"
    await pods.join(C, labels={"zone": "b"})
    await pods.settle()
    assert next(shard for shard in await pods.shards() if shard.shard_id == pinned).owner == C
    await pods.lose(C)
    owner = next(shard for shard in await pods.shards() if shard.shard_id == pinned).owner
    assert owner in {A, B}, "without a live pod of the zone it is served elsewhere"
    with pytest.raises(NotFoundError):
        await rebalancing.pin(pods.database, ShardId("0-of-99"), None)
    with pytest.raises(NotFoundError):
        await rebalancing.cordon(pods.database, PodId("nobody"), on=True)


async def test_takeover_waits_for_a_full_pinned_pod_and_counts_what_is_coming(pods: Pods) -> None:
    await pods.join(A)
    await pods.place()
    await pods.join(B, capacity=2)
    await rebalancing.pin(pods.database, ShardId("0-of-24"), B)
    for number in (5, 6):
        await moves.begin(pods.database, ShardId(f"{number}-of-24"), target=B, reason="by hand")
    plan = await rebalancing.look(pods.database, settle=0)
    assert [(held.shard_id, held.reason) for held in plan.held] == [
        ("0-of-24", f"It is pinned to {B}, where every pod is full.")
    ]
    with pytest.raises(MoveRefusedError, match="full"):
        await moves.begin(pods.database, ShardId("7-of-24"), target=B, reason="by hand")
    await pods.lose(A)
    assert (await pods.carried())[B] == 2
    await pods.join(C)
    await pods.place()
    shards = {shard.shard_id: shard for shard in await pods.shards()}
    if shards[ShardId("0-of-24")].owner != B:
        assert shards[ShardId("0-of-24")].waiting == f"It is pinned to {B}, where every pod is full."


async def test_a_takeover_leaves_room_for_what_is_on_its_way(pods: Pods) -> None:
    await pods.join(A, C)
    await pods.place()
    await pods.join(B, capacity=2)
    mine = [shard.shard_id for shard in await pods.shards() if shard.owner == A]
    for shard_id in mine[:2]:
        await moves.begin(pods.database, shard_id, target=B, reason="by hand")
    await pods.lose(C)
    assert await pods.carried() == {A: 24}, "B has room for two, and two are coming"


async def test_a_handoff_that_fails_is_left_alone_for_a_while(pods: Pods) -> None:
    await pods.join(A, B)
    await pods.place()
    await rebalancing.cordon(pods.database, A, on=True)
    first = set(await pods.round())
    await pods.finish(done=False)
    second = set(await pods.round())
    assert first
    assert not first & second, "others have their turn"
    plan = await rebalancing.look(pods.database, settle=0)
    assert {held.shard_id for held in plan.held} == first
    await pods.execute("UPDATE moves SET finished_at = finished_at - interval '1 minute'")
    assert {each.shard_id for each in (await rebalancing.look(pods.database, settle=0)).moves} >= first


@pytest.mark.parametrize("victim", [A, B])
async def test_when_a_side_dies_in_the_middle_nothing_is_stuck(pods: Pods, victim: PodId) -> None:
    await pods.join(A, B, C)
    await pods.place()
    await rebalancing.cordon(pods.database, A, on=True)
    await pods.round()
    moving = await pods.moving()
    assert moving
    stale = (await pods.renew(str(moving[0].target))).incoming[0]
    await pods.lose(victim)
    await pods.place()
    if victim in {stale.target, A}:
        with pytest.raises(StaleEpochError):
            await pods.end(stale, done=True)
    del pods.incarnations[victim]
    await pods.execute("UPDATE moves SET finished_at = finished_at - interval '1 minute'")
    await pods.settle()
    assert await pods.moving() == []
    carried = await pods.carried()
    assert victim not in carried
    assert A not in carried
    assert sum(carried.values()) == 24


async def test_a_round_that_was_asked_for_goes_below_the_threshold_and_ends(pods: Pods) -> None:
    await pods.join(A, B)
    await pods.place()
    for number in (0, 1):
        shard = ShardId(f"{number}-of-24")
        owner = next(each.owner for each in await pods.shards() if each.shard_id == shard)
        if owner == A:
            await moves.begin(pods.database, shard, target=B, reason="by hand")
            await pods.finish()
    await pods.execute("UPDATE moves SET finished_at = finished_at - interval '1 hour'")
    before = await pods.carried()
    assert max(before.values()) == 13
    assert await pods.settle() == 0, "13 of 24 is not worth a move"
    asked = await rebalancing.ask(pods.database, settle=0)
    assert (asked.asked, len(asked.moves)) == (True, 1)
    await pods.settle()
    assert await pods.carried() == {A: 12, B: 12}
    assert not (await views.cluster(pods.database)).rebalance_asked


# --- Two replicas, and guards that are missing -------------------------------------------------------------------------------------

WITHOUT_LOCK = {"try_rebalance": ("pg_try_advisory_xact_lock(7214003)", "true")}
SHARED = ("FOR NO KEY UPDATE", "FOR SHARE")
UNGUARDED: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "targets are not locked": {"lock_target": SHARED, "lock_targets": SHARED},
}


def changed(changes: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    queries = dict(statements.load("modbot.services.config"))
    for name, (sound, unsound) in changes.items():
        assert sound in queries[name]
        queries[name] = queries[name].replace(sound, unsound)
    return queries


@pytest.fixture
async def open_pools(database_url: Secret) -> AsyncIterator[list[Database]]:
    pools: list[Database] = []
    yield pools
    for pool in pools:
        await pool.close()


async def race(url: Secret, pools: list[Database], changes: Mapping[str, tuple[str, str]]) -> list[str]:
    """Let two replicas and impatient people begin moves at once, without the lock that lets one replica rebalance."""
    queries = changed({**WITHOUT_LOCK, **changes})
    pools += [await database_module.open_pool(url, queries) for _ in range(2)]
    pods = Pods(pools[0])
    await pods.add_shards(24)
    await pods.join(A, B)
    await pods.place()
    await pods.join(C, capacity=3)
    await rebalancing.cordon(pools[0], A, on=True)
    wrong: list[str] = []

    async def by_hand(pool: Database, number: int) -> None:
        with contextlib.suppress(MoveRefusedError):
            await moves.begin(pool, ShardId(f"{number}-of-24"), target=C, reason="by hand")

    for _ in range(6):
        rounds = [rebalancing.rebalance(pool, settle=0) for pool in pools for _ in range(2)]
        people = [by_hand(pools[number % 2], number) for number in range(24)]
        await together(*rounds, *people)
        shards = await pods.shards()
        carried = Counter(shard.owner for shard in shards) + Counter(shard.target for shard in shards)
        if carried[C] > 3:
            wrong.append(f"{C} has room for 3 and carries {carried[C]}")
        under_way = Counter(move.shard_id for move in (await moves.latest(pools[0])).moves if move.state == "moving")
        wrong += [f"{shard_id} is moved {count} times at once" for shard_id, count in under_way.items() if count > 1]
        if len(under_way) != sum(shard.target is not None for shard in shards):
            wrong.append("the record and the shards differ")
        await pods.finish(done=bool(len(wrong) % 2))
        await pods.execute("UPDATE moves SET finished_at = finished_at - interval '1 hour'")
        await pods.forget_budget()
    return wrong


async def test_two_replicas_and_people_never_aim_twice_or_overfill(
    database_url: Secret, open_pools: list[Database]
) -> None:
    assert await race(database_url, open_pools, {}) == []


@pytest.mark.parametrize("guard", UNGUARDED)
async def test_a_missing_guard_overfills(database_url: Secret, open_pools: list[Database], guard: str) -> None:
    assert await race(database_url, open_pools, UNGUARDED[guard]) != [], "the check above cannot see this"


async def test_only_one_replica_rebalances_at_a_time(pods: Pods, database_url: Secret) -> None:
    await pods.join(A, B)
    other = await database_module.connect(database_url)
    await other.execute("BEGIN")
    await other.execute(statements.load("modbot.services.config")["try_rebalance"])
    assert await rebalancing.rebalance(pods.database, settle=0) is None
    await other.close()
    assert await rebalancing.rebalance(pods.database, settle=0) is not None


# --- The slow mean -----------------------------------------------------------------------------------------------------------------


async def usual(pods: Pods, shard_id: ShardId) -> float:
    async with pods.database.snapshot() as connection:
        rows = await connection.all("movable_shards")
    return next(row["usual_events"] for row in rows if row["shard_id"] == shard_id)


async def test_a_restart_and_a_silent_minute_do_not_look_like_an_idle_shard(pods: Pods) -> None:
    await pods.join(A)
    await pods.place()
    shard = ShardId("0-of-24")

    async def report(events: float, seconds: float, *, connected: bool = True) -> float:
        await pods.execute("UPDATE shard_load SET reported_at = clock_timestamp() - make_interval(secs => $1)", seconds)
        epoch = next(each.epoch for each in await pods.shards() if each.shard_id == shard)
        load = protocol.ShardLoad(shard_id=shard, epoch=epoch, events_per_second=events, connected=connected)
        await pods.renew(A, shards=[load])
        return await usual(pods, shard)

    assert await report(1000.0, 0) == 0.0, "the flood of a start is believed slowly"
    await pods.execute("UPDATE shard_load SET usual_events = 100")
    assert await report(0.0, 3600, connected=False) == 100.0, "a shard without a connection says nothing"
    await pods.join(A)
    assert await report(0.0, 3600) == pytest.approx(100 * 0.98347, rel=1e-3), "a report speaks for ten seconds at most"
    for _ in range(6):
        await report(0.0, 10)
    assert await usual(pods, shard) > 88, "a silent minute takes a tenth"
    before = await usual(pods, shard)
    assert await report(200.0, 10) > before


# --- Over HTTP ---------------------------------------------------------------------------------------------------------------------


async def test_the_client_speaks_the_verbs_of_the_operator(config_settings: ConfigSettings) -> None:
    import aiohttp

    async with main.serving(config_settings) as (url, service), aiohttp.ClientSession() as session:
        client = ConfigClient(url, Secret(TOKEN), session)
        a, b = request(new_incarnation()), request(new_incarnation())
        for pod_id, body in ((A, a), (B, b)):
            await client.register(pod_id, body)

        async def renewed() -> dict[PodId, protocol.Grant]:
            bodies = {A: a, B: b}
            return {
                pod_id: await client.renew(pod_id, protocol.RenewRequest(incarnation=body.incarnation), limit=5.0)
                for pod_id, body in bodies.items()
            }

        async with asyncio.timeout(20):
            while sum(len(grant.shards) for grant in (await renewed()).values()) < SHARDS:
                continue
            await client.pause_moves(paused=True)
            assert (await client.cluster()).moves_paused
            await client.drain(A, on=True)
            assert not any(move.now for move in (await client.rebalance_plan()).moves)
            await client.pause_moves(paused=False)
            while (await renewed())[A].shards:
                for shard in (await renewed())[B].incoming:
                    side = protocol.HandoffRequest(
                        pod_id=B, incarnation=b.incarnation, epoch=shard.epoch, move_id=shard.move_id
                    )
                    gained = await client.complete_move(shard.shard_id, side)
                    assert gained.owner == B
                    assert gained in (await renewed())[B].shards, "it says what the next grant says"
            await client.drain(A, on=False)
            await client.pin(FIRST, f"{A}")
            assert {shard.pin for shard in (await client.shards()).shards} == {A, None}
            while not (await renewed())[A].incoming:
                continue
            shard = (await renewed())[A].incoming[0]
            side = protocol.HandoffRequest(
                pod_id=A, incarnation=a.incarnation, epoch=shard.epoch, move_id=shard.move_id
            )
            await client.cancel_move(shard.shard_id, side)
            await client.pin(FIRST, None)
            assert (await client.rebalance()).asked
            [latest, *_] = (await client.moves()).moves
            assert latest.state in {"cancelled", "moving"}
            with pytest.raises(InvalidInputError):
                await client.pin(FIRST, "not a pin")
        lines = service.metrics.render().decode()
        assert 'modbot_config_moves_total{cause="drain",outcome="done"}' in lines
        assert 'outcome="cancelled"} 1.0' in lines
        assert 'outcome="begun"' in lines
