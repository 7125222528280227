"""Dedicated shards in the config service: who may do which step, what follows from it, and what a step that comes twice or late does."""

from __future__ import annotations

import msgspec
import pytest
from configkit import SHARDS, brief, new_incarnation, request

from modbot.cluster import protocol
from modbot.cluster.protocol import TransferState
from modbot.domain.errors import MoveRefusedError, NotFoundError, StaleEpochError
from modbot.domain.ids import Epoch, GuildId, Incarnation, InteractionId, PodId, ShardId, shard_of_guild
from modbot.services.config import dedicating, inbox, leases, permits, sweeping, views
from modbot.services.config.database import Database

A, B = PodId("gateway-0"), PodId("gateway-1")
GUILD = GuildId(6 << 22)
FORMULA = shard_of_guild(GUILD, SHARDS)
OWN = ShardId(f"guild-{GUILD}")


class Two:
    """Two pods; the first owns the shards of the formula."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.incarnations: dict[PodId, Incarnation] = {}

    async def join(self, pod_id: PodId, **changes: object) -> None:
        incarnation = self.incarnations[pod_id] = new_incarnation()
        await leases.register(self.database, brief(30.0), pod_id, request(incarnation, **changes))
        await sweeping.sweep(self.database, settle=0)

    async def dedicate(
        self, *, pod: str | None = B, label: str | None = None, guild: GuildId = GUILD
    ) -> protocol.Transfer:
        return await dedicating.dedicate(self.database, guild, pod=pod, label=label, shard_count=SHARDS)

    async def give_back(self) -> protocol.Transfer:
        return await dedicating.give_back(self.database, GUILD, shard_count=SHARDS)

    async def step(
        self, transfer: protocol.Transfer, state: TransferState, pod_id: PodId, *, epoch: int = 1
    ) -> protocol.Transfer:
        body = protocol.TransferStep(
            pod_id=pod_id, incarnation=self.incarnations[pod_id], epoch=Epoch(epoch), state=state
        )
        return await dedicating.advance(self.database, transfer.transfer_id, body)

    async def shards(self, pod_id: PodId) -> dict[str, protocol.Shard]:
        body = protocol.RenewRequest(incarnation=self.incarnations[pod_id])
        grant = await leases.renew(self.database, brief(30.0), pod_id, body)
        return {shard.shard_id: shard for shard in grant.shards}

    async def there(self) -> protocol.Transfer:
        """Bring the guild to its own shard."""
        transfer = await self.dedicate()
        await self.step(transfer, TransferState.MOVED, B)
        await self.step(transfer, TransferState.FINISHED, B)
        return await self.step(transfer, TransferState.CLEARED, A)


@pytest.fixture
async def two(database: Database) -> Two:
    found = Two(database)
    await found.join(A)
    await found.join(B, labels={"zone": "b"})
    return found


def entry(number: int, shard_id: ShardId, guild: GuildId = GUILD) -> protocol.InboxEntry:
    payload = msgspec.json.encode({"id": str(number), "guild_id": str(guild)}).decode()
    return protocol.InboxEntry(interaction_id=InteractionId(number), shard_id=shard_id, payload=payload)


async def waiting(two: Two, pod_id: PodId, shard_id: ShardId, epoch: int = 1) -> list[int]:
    page = await inbox.read(
        two.database, shard_id, pod_id=pod_id, incarnation=two.incarnations[pod_id], epoch=Epoch(epoch)
    )
    return [each.interaction_id for each in page.entries]


async def test_a_dedicated_shard_is_opened_on_the_named_pod_and_begins_empty(two: Two) -> None:
    transfer = await two.dedicate()
    assert (transfer.source, transfer.target, transfer.state) == (FORMULA, OWN, TransferState.MOVING)
    shard = (await two.shards(B))[OWN]
    assert (shard.epoch, shard.served, shard.since_epoch) == (1, False, 1)
    assert OWN not in await two.shards(A)
    details = {each.shard_id: each for each in (await views.shards(two.database)).shards}
    assert (details[OWN].owner, details[OWN].pin) == (B, B)


async def test_a_label_finds_a_pod(two: Two) -> None:
    await two.dedicate(pod=None, label="zone=b")
    assert OWN in await two.shards(B)
    with pytest.raises(MoveRefusedError):
        await two.dedicate(pod=None, label="zone=c", guild=GuildId(7 << 22))


async def test_a_guild_is_routed_only_when_it_has_moved(two: Two) -> None:
    transfer = await two.dedicate()
    await inbox.append(two.database, [entry(1, FORMULA), entry(2, FORMULA, GuildId(2 << 22))])
    assert await waiting(two, A, FORMULA) == [1, 2]
    moved = await two.step(transfer, TransferState.MOVED, B)
    assert moved.state is TransferState.MOVED
    assert (await waiting(two, A, FORMULA), await waiting(two, B, OWN)) == ([2], [1])
    await inbox.defer(two.database, [entry(3, FORMULA)])
    await sweeping.sweep(two.database, settle=0)
    assert await waiting(two, B, OWN) == [1, 3], "an http pod with an old table named the old shard"


async def test_going_back_takes_the_inbox_along_and_retires_the_shard(two: Two) -> None:
    await two.there()
    await inbox.append(two.database, [entry(1, OWN)])
    back = await two.give_back()
    assert (back.source, back.target) == (OWN, FORMULA)
    await two.step(back, TransferState.MOVED, A)
    assert await waiting(two, A, FORMULA) == [1]
    await two.step(back, TransferState.FINISHED, A)
    assert OWN in await two.shards(B), "it has rows to remove"
    await two.step(back, TransferState.CLEARED, B)
    assert OWN not in await two.shards(B)
    await sweeping.sweep(two.database, settle=0)
    assert OWN not in await two.shards(A) | await two.shards(B), "nobody is given a retired shard"
    with pytest.raises(NotFoundError):
        await two.give_back()


async def test_a_shard_that_begins_again_goes_on_with_its_epochs_and_without_its_file(two: Two) -> None:
    await two.there()
    load = protocol.ShardLoad(shard_id=OWN, epoch=Epoch(1))
    body = protocol.RenewRequest(incarnation=two.incarnations[B], shards=[load])
    await leases.renew(two.database, brief(30.0), B, body)
    assert (await two.shards(B))[OWN].served
    back = await two.give_back()
    for state, pod in ((TransferState.MOVED, A), (TransferState.FINISHED, A), (TransferState.CLEARED, B)):
        await two.step(back, state, pod)
    await two.dedicate(pod=A)
    shard = (await two.shards(A))[OWN]
    assert (shard.epoch, shard.since_epoch, shard.served) == (2, 2, False)


async def test_given_up_means_given_up(two: Two) -> None:
    transfer = await two.dedicate()
    cancelled = await two.step(transfer, TransferState.CANCELLED, B)
    assert cancelled.state is TransferState.CANCELLED
    assert OWN not in await two.shards(B)
    with pytest.raises(StaleEpochError):
        await two.step(transfer, TransferState.MOVED, B)
    assert (await dedicating.read(two.database, transfer.transfer_id)).state is TransferState.CANCELLED
    await two.dedicate()


async def test_behind_the_move_nothing_gives_up(two: Two) -> None:
    transfer = await two.dedicate()
    await two.step(transfer, TransferState.MOVED, B)
    with pytest.raises(StaleEpochError):
        await two.step(transfer, TransferState.CANCELLED, B)
    again = await two.step(transfer, TransferState.MOVED, B)
    assert again.state is TransferState.MOVED
    await two.step(transfer, TransferState.FINISHED, B)
    assert (await two.step(transfer, TransferState.MOVED, B)).state is TransferState.FINISHED, "said before, said again"


@pytest.mark.parametrize(
    ("state", "pod_id", "epoch"),
    [
        (TransferState.MOVED, A, 1),
        (TransferState.MOVED, B, 2),
        (TransferState.CANCELLED, A, 1),
        (TransferState.FINISHED, B, 1),
        (TransferState.CLEARED, A, 1),
        (TransferState.CLEARED, B, 1),
    ],
)
async def test_only_the_side_whose_step_it_is_may_take_it_and_in_order(
    two: Two, state: TransferState, pod_id: PodId, epoch: int
) -> None:
    transfer = await two.dedicate()
    with pytest.raises(StaleEpochError):
        await two.step(transfer, state, pod_id, epoch=epoch)
    assert (await dedicating.read(two.database, transfer.transfer_id)).state is TransferState.MOVING


async def test_one_transfer_of_a_guild_at_a_time(two: Two) -> None:
    await two.dedicate()
    with pytest.raises(MoveRefusedError):
        await two.dedicate()
    with pytest.raises(NotFoundError):
        await two.give_back()
    others = await two.dedicate(guild=GuildId(7 << 22))
    assert others.state is TransferState.MOVING


async def test_refusals_change_nothing(two: Two) -> None:
    with pytest.raises(MoveRefusedError):
        await two.dedicate(pod="gateway-9")
    await two.there()
    with pytest.raises(MoveRefusedError):
        await two.dedicate()
    assert len((await dedicating.latest(two.database)).transfers) == 1


async def test_what_prepares_for_too_long_is_given_up_by_the_sweep(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = await two.dedicate()
    await sweeping.sweep(two.database, settle=0)
    assert (await dedicating.read(two.database, transfer.transfer_id)).state is TransferState.MOVING
    monkeypatch.setattr(dedicating, "LONGEST_PREPARATION", 0.0)
    await sweeping.sweep(two.database, settle=0)
    found = await dedicating.read(two.database, transfer.transfer_id)
    assert (found.state, found.detail) == (TransferState.CANCELLED, "It took too long.")
    assert OWN not in await two.shards(B)


async def test_an_identify_of_a_dedicated_shard_takes_the_turn_of_its_formula_shard(two: Two) -> None:
    await two.dedicate()
    limits = protocol.SessionLimits(max_concurrency=100, remaining=500, reset_after=3600.0)

    def ask(shard_id: ShardId, pod_id: PodId) -> protocol.IdentifyRequest:
        return protocol.IdentifyRequest(
            pod_id=pod_id, incarnation=two.incarnations[pod_id], shard_id=shard_id, epoch=Epoch(1), limits=limits
        )

    assert (await permits.identify(two.database, ask(OWN, B), reserve=10)).granted
    other = ShardId(f"{(int(FORMULA.split('-')[0]) + 1) % SHARDS}-of-{SHARDS}")
    assert (await permits.identify(two.database, ask(other, A), reserve=10)).granted
    assert (await permits.identify(two.database, ask(FORMULA, A), reserve=10)).reason == "concurrency"


async def test_a_lost_pod_keeps_its_dedicated_shard_for_itself_or_a_restore(two: Two) -> None:
    await two.there()
    await two.join(B, owns_volume=True)
    assert (await two.shards(B))[OWN].epoch == 2


async def test_a_cordoned_pod_receives_no_dedicated_shard(two: Two) -> None:
    async with two.database.transaction() as connection:
        await connection.one("cordon", B, True)
    with pytest.raises(MoveRefusedError):
        await two.dedicate()
    assert (await two.dedicate(pod=A)).target == OWN
