"""The rules of the store, one by one, on real PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import msgspec
import pytest
import structlog
from configkit import SHARDS, STORE, TERMS, brief, new_incarnation, request

from modbot.cluster import protocol
from modbot.domain.errors import PodBusyError, SettingsError, StaleEpochError
from modbot.domain.ids import Epoch, Incarnation, InteractionId, PodId, ShardId
from modbot.ops import statements
from modbot.ops.settings import Secret
from modbot.services.config import database as database_module
from modbot.services.config import inbox, leases, migrating, permits, sweeping, views
from modbot.services.config.database import Database

A, B = PodId("gateway-0"), PodId("gateway-1")
FIRST = ShardId(f"0-of-{SHARDS}")


async def join(database: Database, pod_id: PodId, *, ttl: float = 30.0, **changes: Any) -> Incarnation:
    incarnation = new_incarnation()
    await leases.register(database, brief(ttl), pod_id, request(incarnation, **changes))
    return incarnation


async def renew(
    database: Database, pod_id: PodId, incarnation: Incarnation, *, ttl: float = 30.0, **changes: Any
) -> protocol.Grant:
    return await leases.renew(database, brief(ttl), pod_id, protocol.RenewRequest(incarnation=incarnation, **changes))


def epochs(grant: protocol.Grant) -> list[int]:
    return [shard.epoch for shard in grant.shards]


async def leave(database: Database, pod_id: PodId, incarnation: Incarnation, *, keep: bool) -> None:
    await leases.leave(database, TERMS, pod_id, protocol.LeaveRequest(incarnation=incarnation, keep=keep))


async def test_registering_twice_is_the_same_as_once(database: Database) -> None:
    me = await join(database, A)
    await sweeping.sweep(database, settle=0)
    again = await leases.register(database, TERMS, A, request(me))
    assert epochs(again) == [1] * SHARDS
    assert epochs(await renew(database, A, me)) == [1] * SHARDS


async def test_the_holder_of_the_volume_reclaims_at_once_with_new_epochs(database: Database) -> None:
    old = await join(database, A)
    await sweeping.sweep(database, settle=0)
    new = new_incarnation()
    with pytest.raises(PodBusyError):
        await leases.register(database, TERMS, A, request(new))
    assert epochs(await renew(database, A, old)) == [1] * SHARDS, "the refusal changed nothing"
    assert epochs(await leases.register(database, TERMS, A, request(new, owns_volume=True))) == [2] * SHARDS
    with pytest.raises(StaleEpochError):
        await renew(database, A, old)
    with pytest.raises(StaleEpochError):
        await leases.register(database, TERMS, A, request(old, owns_volume=True))


async def test_a_reclaim_respects_the_capacity(database: Database) -> None:
    await join(database, A)
    await sweeping.sweep(database, settle=0)
    grant = await leases.register(database, TERMS, A, request(new_incarnation(), owns_volume=True, capacity=1))
    assert [shard.shard_id for shard in grant.shards] == [FIRST]
    other = await join(database, B)
    await sweeping.sweep(database, settle=0)
    assert epochs(await renew(database, B, other)) == [2] * (SHARDS - 1)


async def test_shards_are_shared_evenly_after_settling(database: Database) -> None:
    one, two = await join(database, A), await join(database, B)
    assert (await sweeping.sweep(database, settle=60)).granted == 0, "pods that start together share"
    assert (await sweeping.sweep(database, settle=0)).granted == SHARDS
    for pod_id, incarnation in ((A, one), (B, two)):
        assert len((await renew(database, pod_id, incarnation)).shards) == SHARDS // 2


async def test_an_expired_lease_that_nobody_took_is_renewed(database: Database) -> None:
    me = await join(database, A)
    await sweeping.sweep(database, settle=0)
    await renew(database, A, me, ttl=0)
    assert epochs(await renew(database, A, me)) == [1] * SHARDS


@pytest.mark.parametrize(("store", "taken"), [(STORE, True), ("s3://elsewhere", False), (None, False)])
async def test_takeover_goes_only_where_the_data_can_be(
    database: Database,
    store: str | None,
    taken: bool,  # noqa: FBT001 - a test parameter
) -> None:
    lost = await join(database, A)
    await sweeping.sweep(database, settle=0)
    other = await join(database, B, replica_store=store)
    await renew(database, A, lost, ttl=0)
    swept = await sweeping.sweep(database, settle=0)
    assert (swept.lost, swept.freed, swept.granted) == ((A,), SHARDS, SHARDS if taken else 0)
    with pytest.raises(StaleEpochError):
        await renew(database, A, lost)
    assert epochs(await renew(database, B, other)) == ([2] * SHARDS if taken else [])
    back = await leases.register(database, TERMS, A, request(new_incarnation()))
    assert epochs(back) == ([] if taken else [2] * SHARDS), "the last owner has the file"


async def test_kept_shards_wait_for_their_pod_and_freed_ones_do_not(database: Database) -> None:
    me, other = await join(database, A), await join(database, B)
    await sweeping.sweep(database, settle=0)
    await leave(database, A, me, keep=True)
    assert (await sweeping.sweep(database, settle=0)).granted == 0
    reasons = {shard.waiting for shard in (await views.shards(database)).shards if shard.owner is None}
    assert reasons == {f"It is reserved for {A}, which left and is expected back."}
    again = new_incarnation()
    assert epochs(await leases.register(database, TERMS, A, request(again))) == [2] * (SHARDS // 2)
    await leave(database, A, again, keep=False)
    assert (await sweeping.sweep(database, settle=0)).granted == SHARDS // 2
    assert len((await renew(database, B, other)).shards) == SHARDS


async def test_a_newcomer_gets_only_the_share_that_is_free(database: Database) -> None:
    one = await join(database, A)
    assert (await renew(database, A, one, rest_demand=10, rest_held=40.5)).rest_per_second == 40.5
    two = new_incarnation()
    assert (await leases.register(database, TERMS, B, request(two))).rest_per_second == 1, "kept back for newcomers"
    shrunk = await renew(database, A, one, rest_demand=10, rest_held=40.5)
    assert shrunk.rest_per_second == 39.5
    held = await renew(database, B, two, rest_demand=10, rest_held=1)
    assert held.rest_per_second == 1, "the first may not have heard that it has less"
    await renew(database, A, one, rest_demand=10, rest_held=20.25)
    assert (await renew(database, B, two, rest_demand=10, rest_held=1)).rest_per_second == 20.25


async def test_the_breaker_opens_for_everybody_behind_the_same_address(database: Database) -> None:
    one, two = await join(database, A, egress="nat-1"), await join(database, B, egress="nat-1")
    three = await join(database, PodId("gateway-2"), egress="nat-2")
    assert (await renew(database, A, one, invalid_requests=leases.INVALID_LIMIT)).rest_open
    assert not (await renew(database, B, two, invalid_requests=1)).rest_open
    assert not (await renew(database, A, one)).rest_open
    assert (await renew(database, PodId("gateway-2"), three)).rest_open


async def test_the_breaker_says_once_that_it_opens(database: Database) -> None:
    assert leases.INVALID_LIMIT == 5_000, "half of Discord's 10,000 in ten minutes"
    me = await join(database, A, egress="nat-1")
    with structlog.testing.capture_logs() as lines:
        for count in (leases.INVALID_LIMIT - 1, 1, 5, 7, 0):
            await renew(database, A, me, invalid_requests=count)
    opened = [line for line in lines if line["event"] == "rest_breaker_opened"]
    assert [(line["egress"], line["invalid"]) for line in opened] == [("nat-1", leases.INVALID_LIMIT + 5)]


async def test_fifty_sessions_before_the_end_only_recovery_gets_one(database: Database) -> None:
    me = await join(database, A)
    await sweeping.sweep(database, settle=0)
    limits = concurrent(100, remaining=50)
    for number in range(3):
        fresh = await permits.identify(database, ask(me, number, limits=limits), reserve=200)
        assert (fresh.granted, fresh.reason, fresh.remaining) == (False, "daily_reserve", 50)
    recovered = await permits.identify(database, ask(me, 3, limits=limits, recovery=True), reserve=200)
    assert (recovered.granted, recovered.remaining) == (True, 49)


async def test_a_replica_that_froze_in_a_decision_holds_up_renewals_only_for_a_moment(
    database: Database, database_url: Secret
) -> None:
    me = await join(database, A)
    frozen = await database_module.connect(database_url)
    await frozen.execute("BEGIN")
    await frozen.execute(statements.load("modbot.services.config")["lock_budget"])
    await frozen.execute("SELECT FROM pods FOR UPDATE")
    async with asyncio.timeout(float(database_module.IDLE_LIMIT) / 1000 + 2):
        assert (await renew(database, A, me)).rest_open
    await frozen.close()


LIMITS = protocol.SessionLimits(max_concurrency=2, remaining=202, reset_after=3600)


def ask(me: Incarnation, number: int, **changes: Any) -> protocol.IdentifyRequest:
    base = protocol.IdentifyRequest(
        pod_id=A,
        incarnation=me,
        shard_id=ShardId(f"{number}-of-{SHARDS}"),
        epoch=Epoch(1),
        limits=LIMITS,
    )
    return msgspec.structs.replace(base, **changes)


def concurrent(number: int, **changes: Any) -> protocol.SessionLimits:
    return msgspec.structs.replace(LIMITS, max_concurrency=number, **changes)


async def test_one_pod_at_a_time_asks_discord_for_the_limits(database: Database) -> None:
    me = await join(database, A)
    await sweeping.sweep(database, settle=0)
    unasked = [ask(me, number, limits=None) for number in range(3)]
    answers = await asyncio.gather(*(permits.identify(database, each, reserve=200) for each in unasked))
    assert sorted(answer.reason for answer in answers) == ["limits_awaited", "limits_awaited", "limits_unknown"]
    assert (await permits.identify(database, ask(me, 0), reserve=200)).granted
    assert (await permits.identify(database, ask(me, 1, limits=None), reserve=200)).granted, (
        "what Discord said is known"
    )


async def test_identifies_are_limited_by_key_by_day_and_to_owners(database: Database) -> None:
    me = await join(database, A)
    await sweeping.sweep(database, settle=0)
    assert (await permits.identify(database, ask(me, 0, epoch=Epoch(2)), reserve=200)).reason == "not_owner"
    assert (await permits.identify(database, ask(me, 0, pod_id=B), reserve=200)).reason == "not_owner"
    answers = await asyncio.gather(
        *(permits.identify(database, ask(me, number), reserve=200) for number in (0, 2, 1, 3))
    )
    assert sum(answer.granted for answer in answers) == 2, "one per key"
    refused = [answer for answer in answers if not answer.granted]
    assert {answer.reason for answer in refused} <= {"concurrency", "daily_reserve"}
    assert all(0 < answer.retry_after <= 60 for answer in refused)
    reserve = await permits.identify(database, ask(me, 0, limits=concurrent(100)), reserve=200)
    assert (reserve.granted, reserve.reason) == (False, "daily_reserve"), "two of 202 are spent"
    wait = await permits.identify(database, ask(me, 0, recovery=True), reserve=200)
    assert (wait.reason, 0 < wait.retry_after <= permits.TURN) == ("concurrency", True)
    assert (await permits.identify(database, ask(me, 3, limits=concurrent(100), recovery=True), reserve=200)).granted
    empty = await permits.identify(
        database, ask(me, 2, limits=concurrent(100, remaining=0), recovery=True), reserve=200
    )
    assert empty.reason == "daily_reserve"


def entry(number: int, *, payload: str = "{}") -> protocol.InboxEntry:
    return protocol.InboxEntry(interaction_id=InteractionId(number), shard_id=FIRST, payload=payload)


async def test_the_inbox_keeps_entries_until_the_owner_forgets_them(database: Database) -> None:
    me = await join(database, A)
    await sweeping.sweep(database, settle=0)

    async def read() -> list[tuple[int, str, bool]]:
        page = await inbox.read(database, FIRST, pod_id=A, incarnation=me, epoch=Epoch(1))
        return [(each.interaction_id, each.payload, each.deferred) for each in page.entries]

    await inbox.append(database, [entry(1), entry(2), entry(2, payload="other")])
    await inbox.append(database, [entry(1, payload="again")])
    await inbox.defer(database, [entry(2), entry(3), entry(3)])
    assert await read() == [(1, "{}", False), (2, "{}", True), (3, "{}", True)]
    body = protocol.AcknowledgeRequest(
        pod_id=A, incarnation=me, epoch=Epoch(1), interaction_ids=[InteractionId(1), InteractionId(9)]
    )
    await inbox.acknowledge(database, FIRST, body)
    assert [row[0] for row in await read()] == [2, 3]
    with pytest.raises(StaleEpochError):
        await inbox.acknowledge(database, FIRST, msgspec.structs.replace(body, epoch=Epoch(2)))


async def test_the_inbox_is_read_page_by_page(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "PAGE", 2)
    me = await join(database, A)
    await sweeping.sweep(database, settle=0)
    await inbox.append(database, [entry(number) for number in (5, 3, 9, 1, 7)])
    seen, after = [], 0
    for _ in range(4):
        page = await inbox.read(database, FIRST, pod_id=A, incarnation=me, epoch=Epoch(1), after=after)
        seen.append([each.interaction_id for each in page.entries])
        after = page.last
    assert seen == [[1, 3], [5, 7], [9], []]
    assert page.last == after


async def test_an_entry_that_was_deferred_meanwhile_stays_until_it_is_completed(database: Database) -> None:
    me = await join(database, A)
    await sweeping.sweep(database, settle=0)
    await inbox.append(database, [entry(1), entry(2)])
    await inbox.defer(database, [entry(2)])
    body = protocol.AcknowledgeRequest(
        pod_id=A, incarnation=me, epoch=Epoch(1), interaction_ids=[InteractionId(1), InteractionId(2)]
    )
    await inbox.acknowledge(database, FIRST, body)
    page = await inbox.read(database, FIRST, pod_id=A, incarnation=me, epoch=Epoch(1))
    assert [each.interaction_id for each in page.entries] == [2]
    body = msgspec.structs.replace(body, interaction_ids=[], completed=[InteractionId(2)])
    await inbox.acknowledge(database, FIRST, body)
    assert (await inbox.read(database, FIRST, pod_id=A, incarnation=me, epoch=Epoch(1))).entries == []


async def test_expired_entries_are_neither_read_nor_kept(database: Database, database_url: Secret) -> None:
    me = await join(database, A)
    await sweeping.sweep(database, settle=0)
    await inbox.append(database, [entry(1)])
    connection = await asyncpg.connect(database_url.reveal())
    await connection.execute("UPDATE inbox SET expires_at = clock_timestamp()")
    assert (await inbox.read(database, FIRST, pod_id=A, incarnation=me, epoch=Epoch(1))).entries == []
    await sweeping.sweep(database, settle=0)
    assert await connection.fetchval("SELECT count(*) FROM inbox") == 0
    await connection.close()


async def test_replicas_that_start_together_set_up_once(empty_database_url: Secret) -> None:
    queries = statements.load("modbot.services.config")
    await asyncio.gather(*(migrating.prepare(empty_database_url, shard_count=3, queries=queries) for _ in range(4)))
    connection = await asyncpg.connect(empty_database_url.reveal())
    assert await connection.fetchval("SELECT count(*) FROM shards") == 3
    applied = await connection.fetch("SELECT version FROM schema_migrations ORDER BY 1")
    assert [row["version"] for row in applied] == [step.version for step in migrating.migrations()]
    with pytest.raises(SettingsError, match="set up with 3 shards, which cannot change"):
        await migrating.prepare(empty_database_url, shard_count=4, queries=queries)
    assert await connection.fetchval("SELECT count(*) FROM shards") == 3
    await connection.execute("INSERT INTO schema_migrations (version, name) VALUES (9999, 'later')")
    with pytest.raises(SettingsError, match="update modbot"):
        await migrating.prepare(empty_database_url, shard_count=3, queries=queries)
    await connection.close()
