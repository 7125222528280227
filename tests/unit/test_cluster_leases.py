"""The lease keeper against a fake clock and a scripted config service."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec
import pytest

from modbot.cluster import confirming, leases, protocol
from modbot.domain.errors import ModbotError, StaleEpochError, UnavailableError
from modbot.domain.ids import Epoch, Incarnation, MoveId, PodId, ShardId

TTL = 6.0
POD = PodId("gateway-0")
ME = Incarnation("me")
SHARD = ShardId("0-of-4")


class FakeClock:
    """Time that moves only when a test says so, waking sleepers in order."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        sleeper = (self.time + seconds, asyncio.Event())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            self._sleepers.remove(sleeper)

    async def advance(self, seconds: float) -> None:
        """Let time pass; whoever sleeps is woken at its moment."""
        end = self.time + seconds
        await settle()
        while due := [sleeper for sleeper in self._sleepers if sleeper[0] <= end]:
            self.time = max(self.time, min(at for at, _ in due))
            for at, bell in due:
                if at <= self.time:
                    bell.set()
            await settle()
        self.time = end

    async def jump(self, seconds: float) -> None:
        """Let time pass at once, as a stopped process sees it; nobody ran meanwhile."""
        self.time += seconds


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@dataclass
class FakeService:
    """Answers calls at once unless `held` is set; `answers` are consumed first, then a standard grant is given."""

    clock: FakeClock
    answers: list[protocol.Grant | ModbotError] = field(default_factory=list)
    calls: list[tuple[str, float]] = field(default_factory=list)
    requests: list[protocol.Message] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    down: ModbotError | None = None

    def __post_init__(self) -> None:
        self.gate.set()

    async def register(self, pod_id: PodId, request: protocol.RegisterRequest, *, limit: float = 5.0) -> protocol.Grant:
        return await self._answer("register", request)

    async def renew(self, pod_id: PodId, request: protocol.RenewRequest, *, limit: float = 5.0) -> protocol.Grant:
        return await self._answer("renew", request)

    async def leave(self, pod_id: PodId, request: protocol.LeaveRequest) -> None:
        self.calls.append(("leave", self.clock.now()))

    async def _answer(self, name: str, request: protocol.Message) -> protocol.Grant:
        self.calls.append((name, self.clock.now()))
        self.requests.append(request)
        await self.gate.wait()
        if self.down is not None:
            raise self.down
        answer = self.answers.pop(0) if self.answers else grant()
        if isinstance(answer, ModbotError):
            raise answer
        return answer


def grant(*shards: tuple[str, int], rest: float = 10.0) -> protocol.Grant:
    owned = [
        protocol.Shard(shard_id=ShardId(name), epoch=Epoch(epoch), owner=POD, incarnation=ME) for name, epoch in shards
    ]
    return protocol.Grant(lease_seconds=TTL, shards=owned, shard_count=4, rest_per_second=rest, rest_open=True)


@dataclass
class Bench:
    clock: FakeClock
    service: FakeService
    keeper: leases.LeaseKeeper
    told: list[str]
    lost_measurements: list[leases.Measurements]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.keeper.run())
        await settle()
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def bench() -> Bench:
    clock = FakeClock()
    service = FakeService(clock)
    told: list[str] = []
    lost: list[leases.Measurements] = []
    hooks = leases.Hooks(
        on_grant=lambda _grant: told.append("grant"),
        on_lost=lambda: told.append("lost"),
        on_dead=lambda _error: told.append("dead"),
        measure=lambda: leases.Measurements(rest_demand=3.0, invalid_requests=2),
        unreported=lost.append,
    )
    request = protocol.RegisterRequest(incarnation=ME, address="http://x", capacity=4)
    return Bench(clock, service, leases.LeaseKeeper(service, POD, request, hooks=hooks, clock=clock), told, lost)


async def test_there_is_no_lease_before_the_first_grant(bench: Bench) -> None:
    assert not bench.keeper.valid_for(0)
    bench.service.gate.clear()
    async with bench.running():
        assert not bench.keeper.valid_for(0)
        bench.service.gate.set()
        await settle()
        assert bench.keeper.valid_for(TTL)
        assert bench.told == ["grant"]
    assert not bench.keeper.valid_for(0), "no lease without its keeper"


async def test_renews_every_quarter_of_the_lease(bench: Bench) -> None:
    async with bench.running():
        await bench.clock.advance(TTL)
    assert bench.service.calls == [
        ("register", 1000.0),
        ("renew", 1001.5),
        ("renew", 1003.0),
        ("renew", 1004.5),
        ("renew", 1006.0),
    ]


async def test_the_lease_counts_from_before_the_request_was_sent(bench: Bench) -> None:
    bench.service.gate.clear()
    async with bench.running():
        await bench.clock.advance(1.0)
        bench.service.gate.set()
        await settle()
        assert bench.keeper.valid_for(TTL - 1.0)
        assert not bench.keeper.valid_for(TTL - 0.9)
        assert TTL - 1.0 <= bench.keeper.seconds_left() < TTL - 0.9
    assert bench.keeper.seconds_left() == 0


async def test_an_outage_ends_in_lost_and_a_late_success_in_a_grant(bench: Bench) -> None:
    async with bench.running():
        bench.service.down = UnavailableError("away")
        await bench.clock.advance(TTL - 0.2)
        assert bench.keeper.valid_for(0.1)
        assert not bench.keeper.valid_for(0.3)
        assert bench.told == ["grant"]
        await bench.clock.advance(0.4)
        assert bench.told == ["grant", "lost"]
        assert not bench.keeper.valid_for(0)
        await bench.clock.advance(60)
        assert bench.told == ["grant", "lost"], "told once"
        bench.service.down = None
        await bench.clock.advance(TTL / 4)
        assert bench.told[:3] == ["grant", "lost", "grant"]
        assert bench.keeper.valid_for(TTL / 2)


async def test_whoever_needs_the_lease_waits_until_it_is_renewed(bench: Bench) -> None:
    async with bench.running():
        await bench.keeper.valid(1.0)
        bench.service.down = UnavailableError("away")
        await bench.clock.advance(TTL)
        waiting = asyncio.create_task(bench.keeper.valid(1.0))
        await bench.clock.advance(30)
        assert not waiting.done()
        bench.service.down = None
        await bench.clock.advance(TTL / 4 + 0.1)
        assert waiting.done()


async def test_retries_are_spread_and_never_slower_than_renewals(bench: Bench) -> None:
    async with bench.running():
        bench.service.down = UnavailableError("away")
        await bench.clock.advance(60)
    times = [at for name, at in bench.service.calls if name == "renew"]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) <= TTL / 4 + 1e-6
    assert min(gaps) >= 0.05
    assert len({round(gap, 6) for gap in gaps}) > len(gaps) / 2, "jitter"


async def test_a_stall_voids_the_lease_before_anything_else_runs(bench: Bench) -> None:
    async with bench.running():
        await bench.clock.advance(0.5)
        await bench.clock.jump(leases.STALL_LIMIT + 2 * leases.BEAT)
        assert not bench.keeper.valid_for(0), "no task had a turn yet, the lease itself would last"
        bench.service.gate.clear()
        await bench.clock.advance(0)
        assert bench.told == ["grant", "lost"]
        assert not bench.keeper.valid_for(0)
        bench.service.gate.set()
        await settle()
        assert bench.told == ["grant", "lost", "grant"]
        assert bench.keeper.valid_for(TTL / 2)


async def test_a_short_hiccup_is_no_stall(bench: Bench) -> None:
    async with bench.running():
        await bench.clock.advance(0.5)
        await bench.clock.jump(leases.STALL_LIMIT - leases.BEAT)
        assert bench.keeper.valid_for(1.0)
        await bench.clock.advance(0)
        assert "lost" not in bench.told


async def test_a_renewal_sent_before_a_stall_does_not_restore_the_lease(bench: Bench) -> None:
    async with bench.running():
        bench.service.gate.clear()
        await bench.clock.advance(TTL / 4)
        assert bench.service.calls[-1][0] == "renew"
        calls = len(bench.service.calls)
        await bench.clock.jump(2.0)
        bench.service.gate.set()
        await settle()
        assert bench.told == ["grant", "lost", "grant"]
        assert len(bench.service.calls) == calls + 1, "the answer from before the stall was not believed"
        assert bench.service.calls[-1][1] == bench.clock.now()


async def test_a_refusal_ends_the_incarnation(bench: Bench) -> None:
    async with bench.running() as task:
        bench.service.answers = [StaleEpochError("ended")]
        await bench.clock.advance(TTL / 4)
        assert bench.told == ["grant", "dead"]
        assert not bench.keeper.valid_for(0)
        assert task.done()
        await task


async def test_the_watch_makes_it_renew_at_once(bench: Bench) -> None:
    bench.service.answers = [grant((SHARD, 3))]
    async with bench.running():
        calls = len(bench.service.calls)
        same = protocol.Shard(shard_id=SHARD, epoch=Epoch(3), owner=POD, incarnation=ME)
        other = protocol.Shard(
            shard_id=ShardId("1-of-4"), epoch=Epoch(9), owner=PodId("b"), incarnation=Incarnation("b")
        )
        old = protocol.Shard(shard_id=SHARD, epoch=Epoch(2), owner=PodId("b"), incarnation=Incarnation("b"))
        bench.keeper.notice(protocol.Change(shards=[same, other, old]))
        bench.keeper.notice(protocol.Tick())
        await settle()
        assert len(bench.service.calls) == calls, "nothing new about this pod"
        gained = protocol.Shard(shard_id=ShardId("1-of-4"), epoch=Epoch(10), owner=POD, incarnation=ME)
        for number, shard in enumerate((gained, protocol.Shard(shard_id=SHARD, epoch=Epoch(3))), start=1):
            bench.service.answers = [grant((SHARD, 3))]
            bench.keeper.notice(protocol.Change(shards=[shard]))
            await settle()
            assert len(bench.service.calls) == calls + number
        ended = protocol.Pod(pod_id=POD, incarnation=ME, address="", state=protocol.PodState.LOST)
        bench.keeper.notice(protocol.Change(pods=[ended]))
        await settle()
        assert len(bench.service.calls) == calls + 3


async def test_what_could_not_be_reported_is_handed_back(bench: Bench) -> None:
    async with bench.running():
        bench.service.down = UnavailableError("away")
        await bench.clock.advance(TTL / 4)
    assert bench.lost_measurements[0] == leases.Measurements(rest_demand=3.0, invalid_requests=2)


async def test_a_renewal_says_what_share_is_in_use(bench: Bench) -> None:
    bench.service.answers = [grant(rest=45.0), grant(rest=15.0)]
    async with bench.running():
        await bench.clock.advance(TTL / 2)
    renewals = [request for request in bench.service.requests if isinstance(request, protocol.RenewRequest)]
    assert [renewal.rest_held for renewal in renewals] == [45.0, 15.0]


async def test_leaving_gives_the_lease_up_first(bench: Bench) -> None:
    async with bench.running():
        pass
    await bench.keeper.leave(keep=True)
    assert bench.service.calls[-1][0] == "leave"
    assert not bench.keeper.valid_for(0)


async def test_the_system_clock_moves_forward() -> None:
    clock = leases.SystemClock()
    before = clock.now()
    await clock.sleep(0.001)
    assert clock.now() > before


async def test_failsafe_mode_counts_like_a_lease_and_a_stall_ends_it(bench: Bench) -> None:
    members = [protocol.Pod(pod_id=POD, incarnation=ME, address="", state=protocol.PodState.LIVE)]
    bench.service.answers = [msgspec.structs.replace(grant(), members=members, number=7)]
    async with bench.running():
        bench.service.down = UnavailableError("away")
        failsafe = bench.keeper.failsafe
        for _ in range(4):
            await bench.clock.advance(TTL / 2)
            begun = failsafe.begin()
            assert begun is not None
            assert failsafe.conclude(begun, {})
            assert bench.keeper.valid_for(TTL / 2)
        assert failsafe.active
        assert bench.told == ["grant"], "it never stopped"
        await bench.clock.jump(leases.STALL_LIMIT + 2 * leases.BEAT)
        assert not bench.keeper.valid_for(0)
        await bench.clock.advance(0.2)
        assert bench.told == ["grant", "lost"]
        assert failsafe.begin() is None, "no basis before the next renewal"
        bench.service.down = None
        await bench.clock.advance(TTL)
        assert bench.keeper.valid_for(TTL / 2)
    renewals = [request for request in bench.service.requests if isinstance(request, protocol.RenewRequest)]
    assert renewals[0].answer == 7, "it says which answer it has received"


async def test_asking_goes_on_for_as_long_as_it_is_needed(bench: Bench) -> None:
    members = [
        protocol.Pod(pod_id=PodId(name), incarnation=Incarnation(name), address=name, state=protocol.PodState.LIVE)
        for name in ("me", "peer")
    ]
    bench.service.answers = [msgspec.structs.replace(grant(), members=members) for _ in range(200)]
    asked: list[str] = []
    told: list[bool] = []
    confirms = True

    class Asker:
        async def ask(
            self, address: str, question: protocol.FailsafeRequest, *, limit: float
        ) -> protocol.FailsafeAnswer | None:
            asked.append(address)
            return protocol.FailsafeAnswer(confirmed=True, silence=question.silent_for) if confirms else None

    asking = confirming.Confirming(
        bench.keeper.failsafe, Asker(), seconds=lambda: TTL, tell=told.append, clock=bench.clock
    )
    async with bench.running():
        task = asyncio.create_task(asking.run())
        await bench.clock.advance(TTL * 2)
        assert asked == []
        bench.service.down = UnavailableError("away")
        await bench.clock.advance(TTL * 3)
        assert set(asked) == {"peer"}
        assert told == [True]
        assert bench.keeper.valid_for(TTL / 2)
        confirms = False
        await bench.clock.advance(TTL * 1.5)
        assert told == [True, False]
        assert not bench.keeper.valid_for(0)
        assert "lost" in bench.told
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def owned(name: str, epoch: int) -> protocol.Shard:
    return protocol.Shard(shard_id=ShardId(name), epoch=Epoch(epoch), owner=POD, incarnation=ME, since_move=MoveId(7))


def shards(bench: Bench) -> dict[str, int]:
    assert bench.keeper.grant is not None
    return {shard.shard_id: shard.epoch for shard in bench.keeper.grant.shards}


async def test_a_shard_that_a_handoff_brought_is_granted_at_once(bench: Bench) -> None:
    coming = msgspec.structs.replace(owned("1-of-4", 4), move_id=MoveId(7), since_move=MoveId(0))
    bench.service.answers = [msgspec.structs.replace(grant(("0-of-4", 1)), incoming=[coming])]
    bench.service.answers += [grant(("0-of-4", 1), ("1-of-4", 5))]
    async with bench.running():
        valid_until = bench.clock.now() + TTL
        bench.keeper.gain(owned("1-of-4", 5))
        assert shards(bench) == {"0-of-4": 1, "1-of-4": 5}
        assert bench.told == ["grant", "grant"]
        assert bench.keeper.grant is not None
        assert bench.keeper.grant.incoming == []
        assert not bench.keeper.valid_for(valid_until - bench.clock.now() + 0.1), "the lease is not longer for it"
        await settle()
        assert [name for name, _ in bench.service.calls] == ["register", "renew"], "a renewal confirms it soon"
        assert shards(bench) == {"0-of-4": 1, "1-of-4": 5}


async def test_a_renewal_that_was_sent_before_does_not_take_a_gained_shard_away(bench: Bench) -> None:
    bench.service.answers = [grant(("0-of-4", 1)), grant(("0-of-4", 1)), grant(("0-of-4", 1))]
    async with bench.running():
        bench.service.gate.clear()
        await bench.clock.advance(TTL / 4)  # a renewal is on its way
        await bench.clock.advance(0.1)
        bench.keeper.gain(owned("1-of-4", 5))
        await bench.clock.jump(0.01)
        bench.service.gate.set()
        bench.service.gate = asyncio.Event()  # its answer comes, the next one does not
        await settle()
        assert shards(bench) == {"0-of-4": 1, "1-of-4": 5}
        bench.service.gate.set()
        await settle()
        assert shards(bench) == {"0-of-4": 1}, "one that was sent afterwards knows better"


async def test_what_a_grant_knows_under_a_later_epoch_counts_more(bench: Bench) -> None:
    bench.service.answers = [grant(("0-of-4", 6))]
    async with bench.running():
        bench.keeper.gain(owned("0-of-4", 5))
        assert shards(bench) == {"0-of-4": 6}


async def test_nothing_is_gained_before_the_first_grant(bench: Bench) -> None:
    bench.keeper.gain(owned("0-of-4", 5))
    assert bench.keeper.grant is None
    assert bench.told == []
