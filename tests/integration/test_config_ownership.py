"""I1 under chaos: pods that register, renew late, hang, crash, leave, come back and hand shards to each other, through two config
replicas at once.

What is checked is what members *believe*: a pod believes in a shard from the answer that names it until its lease, counted from
before the request, is over (or it closed the shard). No two beliefs in one shard may overlap, whoever holds them. The same chaos
run against statements that lack one guard must be caught, so these checks can fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import asyncpg
import pytest
from configkit import SHARDS, brief, new_incarnation, request

from modbot.cluster import protocol
from modbot.domain.errors import MoveRefusedError, PodBusyError, StaleEpochError, UnavailableError
from modbot.domain.ids import Epoch, Incarnation, MoveId, PodId, ShardId
from modbot.ops import statements
from modbot.ops.settings import Secret
from modbot.services.config import database as database_module
from modbot.services.config import leases, moves, sweeping
from modbot.services.config.database import Database

TTL = 0.3
CHAOS = 2.0
TERMS = brief(TTL)


@dataclass
class Belief:
    """A pod's certainty that it owns a shard, as a span of this machine's monotonic time."""

    incarnation: Incarnation
    epoch: int
    start: float
    end: float


@dataclass
class World:
    replicas: list[Database]
    rng: random.Random
    beliefs: dict[str, list[Belief]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    grants: int = 0
    refusals: int = 0
    handoffs: int = 0
    processes: dict[PodId, Process] = field(default_factory=dict)

    def replica(self) -> Database:
        return self.rng.choice(self.replicas)

    def overlaps(self) -> list[str]:
        found = []
        for shard_id, beliefs in self.beliefs.items():
            real = sorted((each for each in beliefs if each.start < each.end), key=lambda each: each.start)
            for number, first in enumerate(real):
                for second in real[number + 1 :]:
                    same = (first.incarnation, first.epoch) == (second.incarnation, second.epoch)
                    if second.start < first.end and not same:
                        found.append(f"{shard_id}: {first} and {second}")
                    if second.epoch < first.epoch or (second.epoch == first.epoch and not same):
                        found.append(f"{shard_id}: epoch of {second} after {first}")
        return found


class Process:
    """One incarnation of a pod."""

    def __init__(self, world: World, pod_id: PodId) -> None:
        self._world = world
        self.pod_id = self._pod_id = pod_id
        self.incarnation = new_incarnation()
        self._open: dict[str, Belief] = {}
        self._parted: dict[str, int] = {}
        self._share = 0.0
        self._until = float("-inf")
        world.processes[pod_id] = self

    async def register(self, *, owns_volume: bool) -> None:
        sent_at = time.monotonic()
        body = request(self.incarnation, owns_volume=owns_volume, capacity=self._world.rng.randint(1, SHARDS))
        self._believe(await leases.register(self._world.replica(), TERMS, self._pod_id, body), sent_at)

    async def renew(self) -> None:
        sent_at = time.monotonic()
        body = protocol.RenewRequest(
            incarnation=self.incarnation, rest_demand=self._world.rng.uniform(0, 50), rest_held=self._share
        )
        self._believe(await leases.renew(self._world.replica(), TERMS, self._pod_id, body), sent_at)

    async def leave(self, *, keep: bool) -> None:
        self.stop()
        body = protocol.LeaveRequest(incarnation=self.incarnation, keep=keep)
        await leases.leave(self._world.replica(), TERMS, self._pod_id, body)

    def stop(self) -> None:
        """Stop acting at once: the process is gone."""
        now = time.monotonic()
        for belief in self._open.values():
            belief.end = min(belief.end, now)
        self._open.clear()
        self._until = float("-inf")

    async def hand_over(self, targets: list[Process]) -> None:
        """Hand a shard to the first of the targets that may have it; either side may give up, be late, or both speak at once."""
        rng = self._world.rng
        shard_id = ShardId(rng.choice(sorted(self._open)))
        epoch = Epoch(self._open[shard_id].epoch)
        for target in targets:
            with contextlib.suppress(MoveRefusedError):
                answer = await moves.begin(self._world.replica(), shard_id, target=target.pod_id, reason="chaos")
                break
        else:
            return
        await asyncio.sleep(rng.uniform(0, TTL / 8))
        if shard_id in self._open:
            belief = self._open.pop(shard_id)
            belief.end = min(belief.end, time.monotonic())
            self._parted[shard_id] = epoch
        sides = [target.complete(shard_id, epoch, answer.move_id)] if rng.random() < 0.8 else []
        sides += [self.cancel(shard_id, epoch, answer.move_id)] if rng.random() < 0.6 or not sides else []
        await asyncio.gather(*sides)

    async def complete(self, shard_id: ShardId, epoch: Epoch, move_id: MoveId) -> None:
        await asyncio.sleep(self._world.rng.choice([0, 0, TTL / 20, TTL]))
        body = protocol.HandoffRequest(pod_id=self.pod_id, incarnation=self.incarnation, epoch=epoch, move_id=move_id)
        with contextlib.suppress(StaleEpochError):
            shard, _ = await moves.complete(self._world.replica(), shard_id, body)
            self._begin(shard_id, shard.epoch)
            self._world.handoffs += 1

    async def cancel(self, shard_id: ShardId, epoch: Epoch, move_id: MoveId) -> None:
        await asyncio.sleep(self._world.rng.choice([0, 0, TTL / 20, TTL]))
        body = protocol.HandoffRequest(pod_id=self.pod_id, incarnation=self.incarnation, epoch=epoch, move_id=move_id)
        with contextlib.suppress(StaleEpochError):
            await moves.cancel(self._world.replica(), shard_id, body)
            if self._parted.pop(shard_id, None) == epoch:
                self._begin(shard_id, epoch)

    def _begin(self, shard_id: str, epoch: int) -> None:
        """Serve a shard as long as the lease that is believed in."""
        belief = Belief(self.incarnation, epoch, time.monotonic(), self._until)
        if belief.start < belief.end:
            self._open[shard_id] = belief
            self._world.beliefs.setdefault(shard_id, []).append(belief)

    def _believe(self, grant: protocol.Grant, sent_at: float) -> None:
        now = time.monotonic()
        self._until = sent_at + grant.lease_seconds
        owned = {shard.shard_id: shard for shard in grant.shards if self._parted.get(shard.shard_id, -1) != shard.epoch}
        for shard_id in [name for name in self._open if name not in owned]:
            closed = self._open.pop(shard_id)
            closed.end = min(closed.end, now)
        for shard_id, shard in owned.items():
            known = self._open.get(shard_id)
            if known is not None and known.epoch == shard.epoch and now <= known.end:
                known.end = sent_at + grant.lease_seconds
                continue
            self._open[shard_id] = Belief(self.incarnation, shard.epoch, now, sent_at + grant.lease_seconds)
            self._world.beliefs.setdefault(shard_id, []).append(self._open[shard_id])
            self._world.grants += 1
        self._share = grant.rest_per_second


async def live(world: World, pod_id: PodId, until: float) -> None:
    """One pod's eventful life."""
    process: Process | None = None
    while time.monotonic() < until:
        with contextlib.suppress(UnavailableError):
            process = await next_process(world, pod_id, process, until)
            if process is not None:
                await serve(world, process, until)
    if process is not None:
        process.stop()


async def next_process(world: World, pod_id: PodId, old: Process | None, until: float) -> Process | None:
    """Start a new process: with the volume's lock the old one is surely gone, without it may still be there."""
    owns_volume = world.rng.random() < 0.5
    if owns_volume and old is not None:
        old.stop()
    new = Process(world, pod_id)
    while time.monotonic() < until:
        try:
            await new.register(owns_volume=owns_volume)
        except PodBusyError:
            await asyncio.sleep(world.rng.uniform(0, TTL / 4))
            continue
        if old is not None:
            await refused(world, old)
        return new
    return None


async def refused(world: World, old: Process) -> None:
    """An ended incarnation must neither renew nor register again."""
    for attempt in (old.renew, lambda: old.register(owns_volume=True)):
        try:
            await attempt()
        except StaleEpochError:
            world.refusals += 1
        else:
            world.wrong.append(f"the ended incarnation {old.incarnation} was heard")


async def serve(world: World, process: Process, until: float) -> None:
    rng = world.rng
    for _ in range(rng.randint(1, 6)):
        await asyncio.sleep(rng.choice([0, TTL / 8, TTL / 8, TTL / 4, TTL / 2, TTL * 1.2]))
        if time.monotonic() >= until:
            return
        try:
            await process.renew()
        except StaleEpochError:
            return
        others = [each for each in world.processes.values() if each is not process]
        if others and process._open and rng.random() < 0.8:
            await process.hand_over(rng.sample(others, len(others)))
    ending = rng.choice(["keep", "free", "crash", "hang"])
    if ending in {"keep", "free"}:
        with contextlib.suppress(StaleEpochError):
            await process.leave(keep=ending == "keep")
    elif ending == "crash":
        process.stop()


async def sweep_often(replica: Database) -> None:
    while True:
        with contextlib.suppress(UnavailableError):
            await sweeping.sweep(replica, settle=0.0)
        await asyncio.sleep(TTL / 15)


async def observe(world: World, connection: asyncpg.Connection) -> None:
    """Look at the database all the time: reservations within the budget, owners alive, epochs growing."""
    epochs: dict[str, int] = {}
    while True:
        rows = await connection.fetch(
            "SELECT s.shard_id, s.epoch, s.incarnation, i.ended_at FROM shards s LEFT JOIN incarnations i USING (incarnation)"
        )
        for row in rows:
            if row["epoch"] < epochs.get(row["shard_id"], 0) or row["ended_at"] is not None:
                world.wrong.append(f"seen: {dict(row)}")
            epochs[row["shard_id"]] = row["epoch"]
        total = await connection.fetchval(
            "SELECT sum(rest_reserved) FROM pods WHERE state = 'live' AND lease_until > clock_timestamp()"
        )
        if (total or 0) > TERMS.rest_per_second + 1e-6:
            world.wrong.append(f"REST reservations of {total}/s")
        await asyncio.sleep(0.005)


AUDIT = """
CREATE TABLE IF NOT EXISTS audit (shard_id text, old_epoch bigint, new_epoch bigint, old_owner uuid, new_owner uuid);
CREATE OR REPLACE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO audit VALUES (NEW.shard_id, OLD.epoch, NEW.epoch, OLD.incarnation, NEW.incarnation); RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER audit AFTER UPDATE ON shards FOR EACH ROW EXECUTE FUNCTION audit();
"""
WRONG_GRANTS = """SELECT * FROM audit WHERE new_epoch <> old_epoch
    + CASE WHEN new_owner IS NOT NULL AND new_owner IS DISTINCT FROM old_owner THEN 1 ELSE 0 END"""


@contextlib.asynccontextmanager
async def two_replicas(url: Secret, queries: Mapping[str, str]) -> AsyncIterator[list[Database]]:
    replicas = [await database_module.open_pool(url, queries) for _ in range(2)]
    try:
        yield replicas
    finally:
        for replica in replicas:
            await replica.close()


async def chaos(url: Secret, seed: int, queries: Mapping[str, str]) -> World:
    """Run the chaos; afterwards (with sound statements) everything must find an owner again."""
    connection = await asyncpg.connect(url.reveal())
    await connection.execute(AUDIT)
    async with two_replicas(url, queries) as replicas:
        world = World(replicas, random.Random(seed))
        tasks = [asyncio.create_task(sweep_often(replica)) for replica in replicas]
        tasks.append(asyncio.create_task(observe(world, connection)))
        until = time.monotonic() + CHAOS
        try:
            await asyncio.gather(*(live(world, PodId(f"gateway-{number}"), until) for number in range(4)))
        finally:
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if not isinstance(ended, asyncio.CancelledError):
                    world.wrong.append(f"a task failed: {ended!r}")
    world.wrong += world.overlaps()
    world.wrong += [f"grant: {dict(row)}" for row in await connection.fetch(WRONG_GRANTS)]
    await connection.close()
    return world


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_two_pods_ever_believe_in_the_same_shard(database_url: Secret, seed: int) -> None:
    grants = refusals = handoffs = 0
    for again in range(5):  # on a busy machine little happens in one round
        world = await chaos(database_url, seed + 100 * again, statements.load("modbot.services.config"))
        assert world.wrong == []
        grants, refusals, handoffs = grants + world.grants, refusals + world.refusals, handoffs + world.handoffs
        if grants > SHARDS and refusals and handoffs:
            break
    assert grants > SHARDS, "something was granted"
    assert refusals > 0, "ended incarnations did try"
    assert handoffs > 0, "some shards were handed over"


UNGUARDED = {
    "takeover before the lease ran out": (
        "lock_expired",
        "lease_until <= clock_timestamp()",
        "lease_until <= clock_timestamp() + interval '150 ms'",
    ),
    "registration without looking at the lease": (
        "lock_pod",
        "lease_until > clock_timestamp() AS leased",
        "false AS leased",
    ),
    "grant without a new epoch": ("grant", "epoch = shards.epoch + 1", "epoch = greatest(1, shards.epoch)"),
    "reclaim without a new epoch": ("reclaim", "epoch = epoch + 1", "epoch = epoch"),
    "incarnations that never end": ("end_incarnations", "SET ended_at = clock_timestamp()", "SET ended_at = NULL"),
    "handoff completed whatever became of the shard": (
        "complete_move",
        "shards.epoch = $4 AND shards.move_id = $5 AND shards.target = $2 AND shards.target_incarnation = $3",
        "$4::bigint IS NOT NULL AND $5::bigint IS NOT NULL",
        "since_move = shards.move_id",
        "since_move = 1",
    ),
    "handoff without a new epoch": (
        "complete_move",
        "epoch = shards.epoch + 1, since",
        "epoch = shards.epoch, since",
    ),
    "cancelled after it was completed": (
        "cancel_move",
        "WHERE shard_id = $1 AND epoch = $2 AND move_id = $3",
        "WHERE shard_id = $1 AND $2::bigint IS NOT NULL AND $3::bigint IS NOT NULL",
    ),
    "budget without the others": ("budgets", "rest_demand, rest_reserved", "rest_demand, 0::float8 AS rest_reserved"),
}


@pytest.mark.parametrize("guard", UNGUARDED)
async def test_a_missing_guard_is_noticed(database_url: Secret, guard: str) -> None:
    name, *texts = UNGUARDED[guard]
    queries = dict(statements.load("modbot.services.config"))
    for sound, unsound in zip(texts[::2], texts[1::2], strict=True):
        assert sound in queries[name]
        queries[name] = queries[name].replace(sound, unsound)
    for seed in range(1, 13):
        if (await chaos(database_url, seed, queries)).wrong:
            return
    pytest.fail("the checks above cannot see this")


async def test_after_the_chaos_everything_finds_an_owner(database_url: Secret) -> None:
    await chaos(database_url, 4, statements.load("modbot.services.config"))
    async with two_replicas(database_url, statements.load("modbot.services.config")) as replicas, asyncio.timeout(20):
        survivor, pod_id = new_incarnation(), PodId("gateway-9")
        grant = await leases.register(replicas[0], TERMS, pod_id, request(survivor))
        while len(grant.shards) < SHARDS:
            grant = await leases.renew(replicas[0], TERMS, pod_id, protocol.RenewRequest(incarnation=survivor))
            await sweeping.sweep(replicas[1], settle=0.0)
