"""What the config service concludes after an outage, and who is given the shards of a pod that may be acting, on real PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import aiohttp
import asyncpg
import pytest
from configkit import SHARDS, STORE, TOKEN, brief, new_incarnation, request

from modbot.cluster import protocol, routing
from modbot.cluster.client import ConfigClient
from modbot.domain.errors import PodBusyError
from modbot.domain.ids import Incarnation, PodId, ShardId
from modbot.ops import statements
from modbot.ops.settings import ConfigSettings, Secret
from modbot.services.config import board, leases, main, sweeping, views
from modbot.services.config import database as database_module
from modbot.services.config.database import Database

TTL = 6.0
A, B, C, N = (PodId(f"gateway-{number}") for number in range(4))


class Member:
    """A pod as the config service meets it."""

    def __init__(self, database: Database, pod_id: PodId) -> None:
        self.database = database
        self.pod_id = pod_id
        self.incarnation = new_incarnation()
        self.grant: protocol.Grant | None = None

    async def join(self, **changes: Any) -> Member:
        body = request(self.incarnation, **({"failsafe": True} | changes))
        self.grant = await leases.register(self.database, brief(TTL), self.pod_id, body)
        return self

    async def renew(self, *, ttl: float = TTL, received: bool = True, **changes: Any) -> protocol.Grant:
        """Renew; `received`: the answer arrives, so that the next renewal acknowledges it."""
        assert self.grant is not None
        body = protocol.RenewRequest(incarnation=self.incarnation, answer=self.grant.number, **changes)
        grant = await leases.renew(self.database, brief(ttl), self.pod_id, body)
        if received:
            self.grant = grant
        return grant

    async def open_all(self) -> None:
        """Report on every shard that it has, as a pod does that has opened them."""
        assert self.grant is not None
        loads = [protocol.ShardLoad(shard_id=shard.shard_id, epoch=shard.epoch) for shard in self.grant.shards]
        await self.renew(shards=loads)

    def shards(self) -> list[ShardId]:
        assert self.grant is not None
        return [shard.shard_id for shard in self.grant.shards]


@pytest.fixture
async def admin(database_url: Secret) -> Any:
    connection = await asyncpg.connect(database_url.reveal())
    yield connection
    await connection.close()


async def time_passes(admin: asyncpg.Connection, seconds: float, *, sweeps: bool = False) -> None:
    """Let everything that was written down be older; `sweeps`: somebody swept all the while."""
    for table, columns in {
        "pods": ("lease_until", "heard_at", "joined_at"),
        "losses": ("lease_until", "witnessed_at"),
        "shards": ("freed_at", "reserved_until"),
        "sweeps": ("resumed_at",) if sweeps else ("last_at", "resumed_at"),
    }.items():
        changes = ", ".join(f"{column} = {column} - make_interval(secs => $1)" for column in columns)
        await admin.execute(f"UPDATE {table} SET {changes}", seconds)


async def is_lost(admin: asyncpg.Connection, member: Member) -> bool:
    return await admin.fetchval("SELECT state FROM pods WHERE pod_id = $1", member.pod_id) == "lost"


async def two_with_shards(database: Database) -> tuple[Member, Member]:
    one, two = await Member(database, A).join(), await Member(database, B).join()
    await sweeping.sweep(database, settle=0)
    for member in (one, two):
        await member.renew()
        await member.renew()
        await member.open_all()
    assert len(one.shards()) == len(two.shards()) == SHARDS // 2
    return one, two


async def test_after_an_outage_everybody_has_one_lease_to_come_back(database: Database, admin: Any) -> None:
    one, two = await two_with_shards(database)
    await time_passes(admin, 600)
    resting = await sweeping.sweep(database, settle=0)
    assert (resting.lost, resting.granted) == ((), 0)
    assert resting.resting == "No pod is heard."
    await one.renew()
    resumed = await sweeping.sweep(database, settle=0)
    assert resumed.lost == ()
    assert "one lease" in resumed.resting
    assert await admin.fetchval("SELECT resumed_at IS NOT NULL FROM sweeps")
    await time_passes(admin, TTL - 0.5, sweeps=True)
    await one.renew()
    assert (await sweeping.sweep(database, settle=0)).lost == ()
    assert await two.renew(), "it came late, and still owns what it owned"
    assert len(two.shards()) == SHARDS // 2
    await time_passes(admin, 1.2, sweeps=True)
    assert (await sweeping.sweep(database, settle=0)).resting == "", "all is as it was"


async def test_who_stays_away_after_an_outage_is_lost_one_lease_later(database: Database, admin: Any) -> None:
    one, two = await two_with_shards(database)
    await time_passes(admin, 600)
    await one.renew()
    await sweeping.sweep(database, settle=0)
    for _ in range(5):
        await time_passes(admin, TTL / 4, sweeps=True)
        await one.renew()
        swept = await sweeping.sweep(database, settle=0)
    assert swept.lost == (B,)
    assert swept.granted == SHARDS // 2
    assert await is_lost(admin, two)
    await one.renew()
    assert len(one.shards()) == SHARDS


async def test_while_one_is_heard_the_silence_of_another_counts(database: Database, admin: Any) -> None:
    one, two = await two_with_shards(database)
    lost: list[PodId] = []
    for _ in range(5):
        await time_passes(admin, TTL / 4, sweeps=True)
        await one.renew()
        lost += (await sweeping.sweep(database, settle=0)).lost
    assert lost == [B]
    assert await is_lost(admin, two)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sweeps SET server = server - interval '1 day'",
        "UPDATE sweeps SET last_at = last_at + interval '1 hour'",
        "UPDATE sweeps SET last_at = last_at - interval '1 hour'",
    ],
    ids=["another server", "the clock went back", "the clock went forward"],
)
async def test_leases_by_another_clock_are_dated_anew(database: Database, admin: Any, change: str) -> None:
    one, two = await two_with_shards(database)
    await admin.execute(change)
    forward = "interval '1 hour'" if "went back" in change else "interval '-1 hour'"
    await admin.execute(f"UPDATE pods SET lease_until = lease_until + {forward} WHERE pod_id = $1", B)
    assert (await sweeping.sweep(database, settle=0)).lost == ()
    left = await admin.fetchval(
        "SELECT extract(epoch FROM lease_until - clock_timestamp()) FROM pods WHERE pod_id = $1", B
    )
    assert TTL - 1 < float(left) <= TTL + 0.5
    assert await one.renew()
    assert await two.renew()


async def test_a_sweep_that_never_doubts_itself_punishes_everybody(database_url: Secret, admin: Any) -> None:
    """The broken variant: if nobody were lost here, the tests above could not fail."""
    queries = dict(statements.load("modbot.services.config"))
    sound = "extract(epoch FROM clock_timestamp() - s.last_at)::float8 AS since_last"
    assert sound in queries["look_around"]
    queries["look_around"] = queries["look_around"].replace(
        sound, "CASE WHEN s.last_at IS NOT NULL THEN 0.1::float8 END AS since_last"
    )
    database = await database_module.open_pool(database_url, queries)
    try:
        one, two = await two_with_shards(database)
        await time_passes(admin, 600)
        await one.renew()
        assert (await sweeping.sweep(database, settle=0)).lost == (B,)
        assert await is_lost(admin, two)
    finally:
        await database.close()


async def lose(admin: Any, database: Database, *lost: Member, living: tuple[Member, ...] = ()) -> sweeping.Swept:
    """Let the leases of some run out while others go on."""
    for member in lost:
        await admin.execute("UPDATE pods SET lease_until = clock_timestamp() WHERE pod_id = $1", member.pod_id)
    for member in living:
        await member.renew()
    swept = await sweeping.sweep(database, settle=0)
    assert set(swept.lost) == {member.pod_id for member in lost}
    return swept


async def waiting(database: Database) -> set[str]:
    return {shard.waiting for shard in (await views.shards(database)).shards if shard.owner is None}


async def test_who_must_be_asked_gets_a_lost_pods_shards_at_once_and_as_contested(
    database: Database, admin: Any
) -> None:
    one, two = await two_with_shards(database)
    assert (await lose(admin, database, one, living=(two,))).granted == SHARDS // 2
    await two.renew()
    assert two.grant is not None
    contested = {shard.shard_id: shard.contested for shard in two.grant.shards}
    assert sorted(contested.values()) == [False] * (SHARDS // 2) + [True] * (SHARDS // 2)
    await two.open_all()
    await two.renew()
    assert not any(shard.contested for shard in two.grant.shards), "it has opened them"


async def test_a_newcomer_waits_for_a_witness_and_one_lease(database: Database, admin: Any) -> None:
    one = await Member(database, A).join()
    two = await Member(database, B).join(capacity=1)
    await sweeping.sweep(database, settle=0)
    for member in (one, two, one, two):
        await member.renew()
    await one.open_all()
    await two.open_all()
    newcomer = await Member(database, N).join()
    assert (await lose(admin, database, one, living=(newcomer,))).granted == 0
    assert f"{A} may be acting in failsafe mode, and does not know {N}." in await waiting(database)
    await two.renew(received=False)
    await two.renew(received=False)
    await time_passes(admin, TTL - 2, sweeps=True)
    await newcomer.renew()
    assert (await sweeping.sweep(database, settle=0)).granted == 0, "nothing says that it received an answer"
    assert await admin.fetchval("SELECT count(*) FROM losses WHERE witnessed_at IS NOT NULL") == 0
    await two.renew()
    await two.renew()
    assert (await sweeping.sweep(database, settle=0)).granted == 0, "its promises may last for one lease"
    await time_passes(admin, TTL / 2, sweeps=True)
    await two.renew()
    await newcomer.renew()
    assert (await sweeping.sweep(database, settle=0)).granted == 0
    await time_passes(admin, TTL / 2 + 0.6, sweeps=True)
    await two.renew()
    await newcomer.renew()
    assert (await sweeping.sweep(database, settle=0)).granted == SHARDS - 1
    await newcomer.renew()
    assert len(newcomer.shards()) == SHARDS - 1


async def test_without_a_witness_a_newcomer_waits_for_the_limit(database: Database, admin: Any) -> None:
    one = await Member(database, A).join()
    await sweeping.sweep(database, settle=0)
    await one.renew()
    await one.open_all()
    newcomer = await Member(database, N).join()
    assert (await lose(admin, database, one, living=(newcomer,))).granted == 0
    await time_passes(admin, 890, sweeps=True)
    await newcomer.renew()
    assert (await sweeping.sweep(database, settle=0)).granted == 0
    await time_passes(admin, 11, sweeps=True)
    await newcomer.renew()
    assert (await sweeping.sweep(database, settle=0)).granted == SHARDS


async def test_what_the_first_loser_knows_counts_until_somebody_opened_the_shard(
    database: Database, admin: Any
) -> None:
    """A lost, B was given its shards and never heard of it (B may still confirm A), B lost: who only B knows must wait for A."""
    one, two = await two_with_shards(database)
    third = await Member(database, C).join()
    await two.renew()
    await two.renew()
    await lose(admin, database, one, living=(two,))
    owned = await admin.fetchval("SELECT count(*) FROM shards WHERE owner = $1", B)
    assert owned > SHARDS // 2, "given to B, which does not know it"
    await lose(admin, database, two, living=(third,))
    await third.renew()
    free = await admin.fetchval("SELECT count(*) FROM shards WHERE owner IS NULL")
    assert free == owned - SHARDS // 2, "what A lost waits; what B had opened itself goes to C, which B knows"
    assert any("failsafe" in reason for reason in await waiting(database))


async def test_a_reclaim_does_not_hide_that_a_shard_is_contested(database: Database, admin: Any) -> None:
    """B was given A's shards, died before it opened them, and came back: its promises to A died with it."""
    one, two = await two_with_shards(database)
    await lose(admin, database, one, living=(two,))
    again = await Member(database, B).join(owns_volume=True)
    assert again.grant is not None
    assert sum(shard.contested for shard in again.grant.shards) == SHARDS // 2


async def test_the_loser_itself_comes_back_uncontested(database: Database, admin: Any) -> None:
    one = await Member(database, A).join(replica_store=None)
    await sweeping.sweep(database, settle=0)
    await one.renew()
    await one.open_all()
    other = await Member(database, B).join(replica_store=STORE)
    await lose(admin, database, one, living=(other,))
    with pytest.raises(PodBusyError, match="failsafe"):
        await Member(database, A).join(replica_store=None)
    again = await Member(database, A).join(replica_store=None, owns_volume=True)
    assert again.grant is not None
    assert [shard.contested for shard in again.grant.shards] == [False] * SHARDS


async def test_a_pod_without_failsafe_bars_nobody(database: Database, admin: Any) -> None:
    one = await Member(database, A).join(failsafe=False)
    await sweeping.sweep(database, settle=0)
    await one.renew()
    newcomer = await Member(database, N).join()
    assert (await lose(admin, database, one, living=(newcomer,))).granted == SHARDS


async def test_a_grant_names_the_members_and_grows(database: Database) -> None:
    one = await Member(database, A).join()
    two = await Member(database, B).join()
    assert one.grant is not None
    assert two.grant is not None
    assert [pod.pod_id for pod in one.grant.members or []] == [A]
    assert [pod.pod_id for pod in two.grant.members or []] == [A, B]
    number = two.grant.number
    assert number > one.grant.number
    renewed = await one.renew()
    assert renewed.number > number
    assert {pod.incarnation for pod in renewed.members or []} == {one.incarnation, two.incarnation}
    left = protocol.LeaveRequest(incarnation=Incarnation(two.incarnation), keep=True)
    await leases.leave(database, brief(TTL), B, left)
    assert [pod.pod_id for pod in (await one.renew()).members or []] == [A]


async def test_a_member_that_starts_in_an_outage_is_told_what_was_known_last(
    config_settings: ConfigSettings, postgres_admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "STALE", 0.3)
    monkeypatch.setattr(board, "RECHECK", 0.1)
    async with main.serving(config_settings) as (url, service), aiohttp.ClientSession() as session:
        config = ConfigClient(url, Secret(TOKEN), session)
        await config.register(A, request(new_incarnation(), address="http://pod-a:3000"))
        table = routing.RoutingTable(config)
        async with asyncio.timeout(20):
            await _until(lambda: service.board.latest.shards[0].owner is not None)
            name = await _take_away(config_settings.database_url, postgres_admin)
            while not await _is_stale(config):
                pass
            following = asyncio.create_task(table.run())
            await table.filled()
            route = table.route(ShardId(f"0-of-{SHARDS}"))
            assert route is not None
            assert route.address == "http://pod-a:3000"
            await postgres_admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
            await config.register(B, request(new_incarnation()))
            await _until(lambda: {pod.pod_id for pod in table.pods()} == {A, B})
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _until(condition: Callable[[], bool]) -> None:
    for pause in itertools.repeat(0.02):
        if condition():
            return
        await asyncio.sleep(pause)


async def _take_away(url: Secret, postgres_admin: asyncpg.Connection) -> str:
    inside = await asyncpg.connect(url.reveal())
    name = str(await inside.fetchval("SELECT current_database()"))
    await inside.close()
    await postgres_admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
    await postgres_admin.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", name
    )
    return name


async def _is_stale(config: ConfigClient) -> bool:
    lines = config.watch()
    first = await anext(lines)
    await lines.aclose()
    return isinstance(first, protocol.Table) and first.stale
