"""Adoption in the database: what was adopted goes on from the store's epochs, never starts empty, and waits for who can restore it."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from configkit import SHARDS, STORE, TERMS, brief, new_incarnation, request

from modbot.cluster import protocol
from modbot.cluster.protocol import AdoptedShard, SettledTransfer
from modbot.domain import ids
from modbot.domain.adopting import KEEPER
from modbot.domain.errors import AdoptionRefusedError
from modbot.domain.ids import Epoch, GuildId, PodId, ShardId, TransferId
from modbot.ops.settings import Secret
from modbot.services.config import adopting, dedicating, leases, sweeping, views
from modbot.services.config.database import Database

POD, OTHER = PodId("gateway-0"), PodId("gateway-1")
GUILD = GuildId(5 << 22)
OWN, FORMULA = ids.dedicated_shard_id(GUILD), ids.shard_of_guild(GUILD, SHARDS)


def _adopted(shard_id: str, epoch: int, *, known: int = 0, retired: bool = False) -> AdoptedShard:
    return AdoptedShard(shard_id=ShardId(shard_id), known_epoch=Epoch(known), epoch=Epoch(epoch), retired=retired)


async def _adopt(database: Database, *shards: AdoptedShard, transfers: tuple[SettledTransfer, ...] = ()) -> None:
    body = protocol.AdoptRequest(replica_store=STORE, shards=list(shards), transfers=list(transfers))
    await adopting.adopt(database, TERMS, body)


async def _register(database: Database, pod_id: PodId, **changes: Any) -> protocol.Grant:
    """Join, let the shards without an owner be placed, and return what the pod was granted."""
    incarnation = new_incarnation()
    await leases.register(database, TERMS, pod_id, request(incarnation, owns_volume=True, **changes))
    await sweeping.sweep(database, settle=0)
    return await leases.renew(database, TERMS, pod_id, protocol.RenewRequest(incarnation=incarnation))


async def _known(database: Database) -> dict[ShardId, Epoch]:
    return {shard.shard_id: shard.epoch for shard in (await adopting.state(database, TERMS)).shards}


async def test_an_adopted_shard_goes_on_from_the_stores_epoch_and_never_starts_empty(database: Database) -> None:
    await _adopt(database, _adopted("0-of-4", 41))
    grant = await _register(database, POD)
    granted = {shard.shard_id: shard for shard in grant.shards}
    adopted, untouched = granted[ShardId("0-of-4")], granted[ShardId("1-of-4")]
    assert (adopted.epoch, adopted.since_epoch, adopted.born_epoch, adopted.served) == (42, 42, 0, True)
    assert (untouched.epoch, untouched.served) == (1, False), "the store has nothing of it, so nobody ever served it"


async def test_it_goes_to_no_pod_that_cannot_restore_it(database: Database) -> None:
    await _adopt(database, _adopted("0-of-4", 41))
    for store in (None, "s3://another"):
        grant = await _register(database, POD, replica_store=store)
        assert "0-of-4" not in {shard.shard_id for shard in grant.shards}
    waiting = {shard.shard_id: shard.waiting for shard in (await views.shards(database)).shards}
    assert waiting[ShardId("0-of-4")] == f"It was adopted, and no pod that can restore from {STORE} is live."


async def test_what_an_old_pod_has_on_its_volume_does_not_count(database: Database) -> None:
    """The database is an old one that came back: it has served these shards, and so has the pod."""
    first = await _register(database, POD)
    assert first.shards[0].since_epoch == 1
    await leases.leave(database, TERMS, POD, protocol.LeaveRequest(incarnation=_of(first), keep=True))
    await _adopt(database, *(_adopted(f"{number}-of-4", 9, known=1) for number in range(SHARDS)))
    again = await _register(database, POD)
    assert {(shard.epoch, shard.since_epoch) for shard in again.shards} == {(10, 10)}


def _of(grant: protocol.Grant) -> Any:
    return grant.shards[0].incarnation


async def test_while_a_pod_has_a_lease_nothing_is_adopted(database: Database) -> None:
    await _register(database, POD)
    before = await _known(database)
    with pytest.raises(AdoptionRefusedError, match="gateway-0 has a valid lease"):
        await _adopt(database, _adopted("0-of-4", 41, known=1))
    assert await _known(database) == before


async def test_a_pod_whose_lease_is_over_ends_for_good(database: Database) -> None:
    incarnation = new_incarnation()
    await leases.register(database, brief(0.0), POD, request(incarnation))
    await _adopt(database, _adopted("0-of-4", 41))
    with pytest.raises(leases.StaleEpochError):
        await leases.renew(database, TERMS, POD, protocol.RenewRequest(incarnation=incarnation))


async def test_a_plan_that_is_out_of_date_changes_nothing(database: Database) -> None:
    await _adopt(database, _adopted("0-of-4", 41))
    with pytest.raises(AdoptionRefusedError, match="1-of-4 has changed meanwhile"):
        await _adopt(database, _adopted("0-of-4", 50, known=41), _adopted("1-of-4", 50, known=3))
    with pytest.raises(AdoptionRefusedError, match="guild-99 has changed meanwhile"):
        await _adopt(database, _adopted("guild-99", 50, known=3))
    with pytest.raises(AdoptionRefusedError, match="3-of-16 is a shard of 16; here are 4"):
        await _adopt(database, _adopted("3-of-16", 50))
    assert await _known(database) == {"0-of-4": 41, "1-of-4": 0, "2-of-4": 0, "3-of-4": 0}


async def test_a_dedicated_shard_is_its_guilds_home_again(database: Database) -> None:
    await _adopt(database, _adopted(FORMULA, 7), _adopted(OWN, 5))
    granted = {shard.shard_id: shard for shard in (await _register(database, POD)).shards}
    shard = granted[OWN]
    assert (shard.epoch, shard.served, shard.born_epoch) == (6, True, 5), "older epochs may be those of an earlier life"
    with pytest.raises(dedicating.MoveRefusedError, match="has a shard of its own already"):
        await dedicating.dedicate(database, GUILD, pod=POD, label=None, shard_count=SHARDS)


async def test_a_shard_that_was_given_up_is_not_brought_back_and_its_epochs_go_on(database: Database) -> None:
    await _adopt(database, _adopted(FORMULA, 7), _adopted(OWN, 5, retired=True))
    granted = {shard.shard_id for shard in (await _register(database, POD)).shards}
    assert OWN not in granted
    await dedicating.dedicate(database, GUILD, pod=POD, label=None, shard_count=SHARDS)
    assert (await _known(database))[OWN] == 6, "never 1: the store has that path"


async def test_what_became_of_a_transfer_is_known_to_both_sides(database: Database, database_url: Secret) -> None:
    settled = SettledTransfer(
        transfer_id=TransferId(31), guild_id=str(GUILD), source=FORMULA, target=OWN, state="finished"
    )
    await _adopt(database, _adopted(FORMULA, 7), _adopted(OWN, 5), transfers=(settled,))
    assert (await dedicating.read(database, TransferId(31))).state is protocol.TransferState.FINISHED
    grant = await _register(database, POD)
    connection = await asyncpg.connect(database_url.reveal())
    moves, transfers = await connection.fetchrow(
        "SELECT nextval('moves_move_id_seq'), nextval('transfers_transfer_id_seq')"
    )
    await connection.close()
    assert grant.shards
    assert min(moves, transfers) > 1_700_000_000, "no number that a file remembers is given again"


async def test_what_was_under_way_here_is_over(database: Database) -> None:
    grant = await _register(database, POD)
    await dedicating.dedicate(database, GUILD, pod=POD, label=None, shard_count=SHARDS)
    begun = (await dedicating.latest(database)).transfers[0]
    await leases.leave(database, TERMS, POD, protocol.LeaveRequest(incarnation=_of(grant), keep=False))
    await _adopt(database, _adopted(FORMULA, 7, known=1), _adopted(OWN, 5, known=1, retired=True))
    assert (await dedicating.read(database, begun.transfer_id)).state is protocol.TransferState.CANCELLED
    assert KEEPER not in {pod.pod_id for pod in (await views.pods_health(database)).pods}
