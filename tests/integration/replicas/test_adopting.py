"""`modbot adopt` against a real database and a real store: what it plans, what it refuses, and that a second time there is nothing to do."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest
import replicakit
from configkit import SHARDS, TOKEN, new_incarnation, request

from modbot.cli import adopting
from modbot.cli.adopting import Plan, Telling
from modbot.cluster.client import ConfigClient
from modbot.domain import ids
from modbot.domain.errors import AdoptionRefusedError
from modbot.domain.ids import ClusterId, Epoch, GuildId, Incarnation, PodId, ShardId
from modbot.ops import claims
from modbot.ops.replicas import ReplicaStore, StoreError
from modbot.ops.settings import ConfigSettings, Secret
from modbot.services.config import main

LOST = ClusterId("a-database-that-was-lost")
GUILD = GuildId(5 << 22)
OWN, FORMULA = ids.dedicated_shard_id(GUILD), ids.shard_of_guild(GUILD, SHARDS)
OTHER = ids.formula_shard_id(0, SHARDS)
TRANSFER = 31


@dataclass
class System:
    """A config service with a new database, and a store that another database was used with."""

    client: ConfigClient
    store: ReplicaStore

    async def plan(self, telling: Telling = adopting.UNTOLD) -> Plan:
        return await adopting.plan(self.client, self.store, replicakit.LITESTREAM, telling)

    async def adopt(self, telling: Telling = adopting.UNTOLD) -> Plan:
        return await adopting.adopt(self.client, self.store, replicakit.LITESTREAM, telling)

    async def replicate(self, volume: Path, shard_id: ShardId, epoch: int, *, row: str | None = None) -> None:
        """Leave an epoch of a shard in the store; `row`: what its file says about the guild."""
        folder = replicakit.new(volume / f"{shard_id}-e{epoch}")
        async with replicakit.sidecar(folder) as (control, _):
            file = replicakit.File(folder / "a.sqlite3", epoch=epoch, shard_id=shard_id)
            file.connection.execute(
                "CREATE TABLE transfers (guild_id INTEGER PRIMARY KEY, state TEXT, transfer_id INTEGER)"
            )
            if row is not None:
                file.connection.execute("INSERT INTO transfers VALUES (?, ?, ?)", (GUILD, row, TRANSFER))
            await control.register(file.path, self.store.url_of(shard_id, Epoch(epoch)))
            await control.sync(file.path, limit=10)
            file.close()

    async def home(self) -> ShardId:
        """Return where the config service routes the guild once it has read what was adopted."""
        async with asyncio.timeout(20):
            while True:
                shards = {shard.shard_id: shard.epoch for shard in (await self.client.guild_assignments()).shards}
                if shards[FORMULA] > 0:
                    return (await self.client.guild_assignment(GUILD)).shard_id
                await asyncio.sleep(0.02)

    def age(self, seconds: float = 3600) -> None:
        """Let time pass for all that is in the store."""
        moment = time.time() - seconds
        for path in Path(self.store.name.removeprefix("file://")).rglob("*"):
            os.utime(path, (moment, moment))


@pytest.fixture
async def system(config_settings: ConfigSettings, folder_store: ReplicaStore) -> AsyncIterator[System]:
    await claims.take(folder_store, LOST)
    async with main.serving(config_settings) as (url, _service), aiohttp.ClientSession() as session:
        yield System(ConfigClient(url, Secret(TOKEN), session), folder_store)


def _becomes(plan: Plan) -> dict[str, str]:
    return {line.shard_id: line.becomes for line in plan.shards}


async def test_a_plan_changes_nothing_and_is_done_once(system: System, volume: Path) -> None:
    await system.replicate(volume, OTHER, 3)
    await system.replicate(volume, OTHER, 7)
    system.age()
    plan = await system.plan()
    assert [(line.shard_id, line.store, line.database) for line in plan.shards] == [(OTHER, 7, 0)]
    assert _becomes(plan) == {OTHER: "restored and served from epoch 8 on"}
    assert (plan.holder, plan.done, plan.waits) == (LOST, False, "")
    assert await claims.read(system.store) == LOST
    assert (await system.adopt()).done
    assert await claims.read(system.store) == plan.cluster
    assert {shard.shard_id: shard.epoch for shard in (await system.client.adoption()).shards}[OTHER] == 7
    again = await system.adopt()
    assert (again.empty, again.done) == (True, False)


async def test_an_empty_store_changes_hands_only_when_it_was_anothers(system: System) -> None:
    assert (await system.adopt()).done, "the claim is all there is to take"
    assert (await system.plan()).empty


async def test_an_epoch_of_which_only_the_name_is_left_is_not_granted_again(system: System, volume: Path) -> None:
    await system.replicate(volume, OTHER, 3)
    (Path(system.store.name.removeprefix("file://")) / OTHER / "e9").mkdir()
    system.age()
    assert [line.epoch for line in (await system.plan()).shards] == [9]


async def test_while_a_pod_gives_signs_of_life_it_is_refused(system: System, volume: Path) -> None:
    await system.replicate(volume, OTHER, 3)
    system.age()
    await claims.beat(system.store, "gateway-0", Incarnation("i"))
    assert (await system.plan()).waits == "gateway-0 serves from this store"
    with pytest.raises(AdoptionRefusedError, match="Nothing was taken over: gateway-0 serves from this store"):
        await system.adopt()
    assert await claims.read(system.store) == LOST
    await claims.part(system.store, Incarnation("i"))
    assert (await system.adopt()).done


@pytest.mark.parametrize("back", [True, False])
async def test_a_pod_that_was_not_seen_for_long_may_only_have_missed_the_store(
    system: System, volume: Path, monkeypatch: pytest.MonkeyPatch, *, back: bool
) -> None:
    """Nobody could reach the store for a while; whoever lives is given the time to be seen again."""
    monkeypatch.setattr(claims, "COMES_BACK_WITHIN", 0.3)
    await system.replicate(volume, OTHER, 3)
    await claims.beat(system.store, "gateway-0", Incarnation("i"))
    system.age()
    adoption = asyncio.create_task(system.adopt())
    await asyncio.sleep(0.1)
    if back:
        await claims.beat(system.store, "gateway-0", Incarnation("i"))
        with pytest.raises(AdoptionRefusedError, match="gateway-0 serves"):
            await adoption
        assert await claims.read(system.store) == LOST
    else:
        assert (await adoption).done


async def test_while_a_sidecar_still_writes_it_is_refused(system: System, volume: Path) -> None:
    await system.replicate(volume, OTHER, 3)
    with pytest.raises(AdoptionRefusedError, match=f"shard {OTHER} was written to in this store"):
        await system.adopt()


async def test_while_a_pod_has_a_lease_here_it_is_refused(system: System, volume: Path) -> None:
    await system.replicate(volume, OTHER, 3)
    system.age()
    await system.client.register(PodId("gateway-4"), request(new_incarnation()))
    with pytest.raises(AdoptionRefusedError, match="gateway-4 has a valid lease"):
        await system.adopt()


async def test_a_store_with_another_number_of_shards_is_refused(system: System, volume: Path) -> None:
    await system.replicate(volume, ShardId("3-of-16"), 3)
    with pytest.raises(AdoptionRefusedError, match=f"shards of 16, this system has {SHARDS}"):
        await system.plan()
    with pytest.raises(AdoptionRefusedError, match="MODBOT_SHARD_COUNT must be the store's"):
        await adopting.check_count(system.store, SHARDS)


async def test_a_guild_whose_shard_is_in_the_store_has_it_or_gave_it_back(system: System, volume: Path) -> None:
    await system.replicate(volume, FORMULA, 3, row="away")
    await system.replicate(volume, OWN, 5)
    system.age()
    assert _becomes(await system.adopt())[OWN] == "restored and served from epoch 6 on"
    assert await system.home() == OWN


async def test_a_shard_that_was_given_back_stays_so(system: System, volume: Path) -> None:
    await system.replicate(volume, FORMULA, 3)
    await system.replicate(volume, OWN, 5, row="away")
    system.age()
    assert _becomes(await system.adopt())[OWN] == f"nothing: its guild went back to {FORMULA}"
    assert await system.home() == FORMULA
    assert (await system.plan()).empty, "its epoch is known"


async def test_a_transfer_that_was_interrupted_is_settled_for_both_sides(system: System, volume: Path) -> None:
    await system.replicate(volume, FORMULA, 3, row="cut")
    await system.replicate(volume, OWN, 5)
    system.age()
    await system.adopt()
    transfer = await system.client.transfer(ids.TransferId(TRANSFER))
    assert (transfer.source, transfer.target, transfer.state) == (FORMULA, OWN, "finished")


async def test_files_that_contradict_each_other_need_a_persons_word(system: System, volume: Path) -> None:
    await system.replicate(volume, FORMULA, 3)
    await system.replicate(volume, OWN, 5)
    system.age()
    with pytest.raises(AdoptionRefusedError, match=f"--dedicated {GUILD} or --returned {GUILD}"):
        await system.plan()
    assert _becomes(await system.plan(Telling(formula=frozenset({GUILD}))))[OWN].startswith("nothing")
    assert (await system.adopt(Telling(own=frozenset({GUILD})))).done
    (transfer,) = (await system.client.transfers()).transfers
    assert (transfer.source, transfer.state) == (FORMULA, "finished"), "the other side removes what it has"


async def test_a_pod_waits_until_nobody_serves_and_says_why(
    system: System, volume: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(adopting, "_AGAIN", 0.05)
    await system.replicate(volume, OTHER, 3)
    system.age()
    await claims.beat(system.store, "gateway-0", Incarnation("i"))
    waiting = asyncio.create_task(adopting.adopt_when_quiet(system.client, system.store, replicakit.LITESTREAM))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await claims.part(system.store, Incarnation("i"))
    await asyncio.wait_for(waiting, 20)
    assert (await system.plan()).empty
    said = capfd.readouterr()
    assert "gateway-0 serves from this store" in said.out + said.err


async def test_a_store_that_does_not_answer_holds_up_a_new_database_only(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_store: ReplicaStore) -> ClusterId | None:
        raise StoreError("It is away.")

    monkeypatch.setattr(adopting, "_AGAIN", 0.05)
    monkeypatch.setattr(claims, "read", away)
    waiting = asyncio.create_task(adopting.adopt_when_quiet(system.client, system.store, replicakit.LITESTREAM))
    await asyncio.sleep(0.3)
    assert not waiting.done(), "it would begin with nothing"
    known = await system.client.adoption()
    older = [msgspec.structs.replace(shard, epoch=Epoch(4)) for shard in known.shards]

    async def adoption(_self: ConfigClient) -> object:
        return msgspec.structs.replace(known, shards=older)

    monkeypatch.setattr(ConfigClient, "adoption", adoption)
    await asyncio.wait_for(waiting, 20)
