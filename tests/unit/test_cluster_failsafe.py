"""Failsafe mode: no two pods may ever act for one shard, whatever is late, lost, cut off, dead or new. And each rule is needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import failsafemodel
import pytest
from failsafemodel import Flaws, Process, TwoActError, World
from hypothesis import given, settings
from hypothesis import strategies as st

from modbot.cluster import failsafe, protocol
from modbot.cluster.failsafe import Failsafe
from modbot.domain.ids import Epoch, Incarnation, PodId, ShardId
from modbot.domain.outages import FAILSAFE_LIMIT

TTL = failsafemodel.TTL


@pytest.fixture(autouse=True)
def _limit_inside_a_models_life(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "model" in request.node.name:
        monkeypatch.setattr(failsafe, "FAILSAFE_LIMIT", failsafemodel.LIMIT)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_in_the_model_no_two_pods_ever_act_for_one_shard(seed: int) -> None:
    failsafemodel.live(seed)


def test_the_model_does_go_on_in_failsafe_mode() -> None:
    worlds = [failsafemodel.live(seed) for seed in range(40)]
    assert sum(world.acted_in_failsafe > 0 for world in worlds) > 5


def first_pods(flaws: Flaws, *, peers: int, seed: int) -> tuple[World, Process, list[Process]]:
    """The first pod owns everything and knows its peers; a second after that it is cut off for ever."""
    world = World(seed, flaws, pods=1)
    first = world.processes[PodId("gateway-0")]
    renewed(world, first)
    world.service.sweep(world.time, world.chance)
    renewed(world, first)
    others = [joined(world) for _ in range(peers)]
    for each in (first, *others, first, *others):
        renewed(world, each)
    assert len(first.open) == len(failsafemodel.SHARDS)
    world.time += 1.0
    first.reaches_service = False
    return world, first, others


def joined(world: World) -> Process:
    world.add_pod()
    process = list(world.processes.values())[-1]
    renewed(world, process)
    return process


def renewed(world: World, process: Process) -> None:
    process.renew()
    world.settle()


def restarted(world: World, process: Process) -> Process:
    process.stop()
    new = world.processes[process.pod_id] = Process(world, process.pod_id)
    renewed(world, new)
    return new


def asked(world: World, process: Process) -> None:
    process.ask_peers()
    world.settle()


def at(world: World, moment: float) -> None:
    """Go to a moment, counted from the first pod's last renewal."""
    world.time = moment
    world.look()


def swept(world: World) -> None:
    world.service.sweep(world.time, world.chance)
    world.look()


def given_on_within_the_promise(flaws: Flaws, seed: int) -> None:
    world, first, (peer,) = first_pods(flaws, peers=1, seed=seed)
    renewed(world, peer)
    at(world, 5.9)
    asked(world, first)
    at(world, 6.5)
    swept(world)
    renewed(world, peer)
    at(world, 11.8)


def question_that_took_long(flaws: Flaws, seed: int) -> None:
    world, first, (peer,) = first_pods(flaws, peers=1, seed=seed)
    renewed(world, peer)
    at(world, 6.5)
    first.ask_peers()
    swept(world)
    peer.renew()
    world.messages.pop().deliver()
    world.messages.pop().deliver()
    world.look()
    at(world, 9.5)
    world.settle()


def peer_that_did_not_answer(flaws: Flaws, seed: int) -> None:
    world, first, (peer,) = first_pods(flaws, peers=1, seed=seed)
    renewed(world, peer)
    at(world, 6.5)
    swept(world)
    renewed(world, peer)
    asked(world, first)


def died_before_it_opened(flaws: Flaws, seed: int) -> None:
    world, first, (peer,) = first_pods(flaws, peers=1, seed=seed)
    renewed(world, peer)
    at(world, 6.4)
    swept(world)
    asked(world, first)
    restarted(world, peer)
    at(world, 12.3)


def newcomer(flaws: Flaws, seed: int) -> None:
    world, first, _ = first_pods(flaws, peers=0, seed=seed)
    new = joined(world)
    at(world, 5.9)
    asked(world, first)
    renewed(world, new)
    at(world, 7.5)
    swept(world)
    renewed(world, new)
    asked(world, first)
    at(world, 11.0)


def newcomer_in_a_lost_answer(flaws: Flaws, seed: int) -> None:
    world, first, _ = first_pods(flaws, peers=0, seed=seed)
    new = joined(world)
    first.reaches_service = True
    first.renew()
    world.messages.pop().deliver()
    world.messages.pop().lost()
    first.reaches_service = False
    at(world, 5.9)
    renewed(world, new)
    asked(world, first)
    at(world, 7.5)
    swept(world)
    renewed(world, new)
    asked(world, first)
    at(world, 11.0)


def witness_that_confirmed_before(flaws: Flaws, seed: int) -> None:
    world, first, (peer,) = first_pods(flaws, peers=1, seed=seed)
    world.service.full.add(peer.pod_id)
    renewed(world, peer)
    new = joined(world)
    at(world, 5.9)
    asked(world, first)
    for _ in range(2):
        at(world, world.time + 0.4)
        renewed(world, new)
        swept(world)
        renewed(world, peer)
        renewed(world, peer)
    at(world, 7.2)
    swept(world)
    renewed(world, new)
    at(world, 11.8)


def lost_twice_unopened(flaws: Flaws, seed: int) -> None:
    world, first, (peer,) = first_pods(flaws, peers=1, seed=seed)
    new = joined(world)
    renewed(world, peer)
    renewed(world, peer)
    at(world, 6.5)
    renewed(world, new)
    swept(world)
    at(world, 6.9)
    asked(world, first)
    at(world, 7.1)
    swept(world)
    renewed(world, new)
    at(world, 12.0)


SCHEDULES: dict[str, Callable[[Flaws, int], None]] = {
    "no_promise": given_on_within_the_promise,
    "no_check_of_answers": question_that_took_long,
    "partial_confirmations": peer_that_did_not_answer,
    "no_first_lease": died_before_it_opened,
    "reclaim_uncontested": died_before_it_opened,
    "nobody_barred": newcomer,
    "answers_count_unacknowledged": newcomer_in_a_lost_answer,
    "witness_without_a_lease": witness_that_confirmed_before,
    "losses_forgotten": lost_twice_unopened,
}


def test_every_rule_has_its_schedule() -> None:
    assert SCHEDULES.keys() == {field.name for field in dataclasses.fields(Flaws)}


@pytest.mark.parametrize("flaw", SCHEDULES)
def test_the_model_needs_every_rule(flaw: str) -> None:
    """With all rules a schedule is harmless; without this one, two pods act for one shard."""
    for seed in range(12):
        SCHEDULES[flaw](Flaws(), seed)
    for seed in range(12):  # the sweep chooses among those that may have a shard
        try:
            SCHEDULES[flaw](Flaws(**{flaw: True}), seed)
        except TwoActError:
            return
    pytest.fail("nothing happened")


class Bench:
    """One `Failsafe` with a clock that the test sets."""

    def __init__(self, *peers: str) -> None:
        self.time = 100.0
        self.failsafe = Failsafe(PodId("gateway-0"), Incarnation("me"), now=lambda: self.time)
        self.peers = peers

    def renewed(self, *, members: bool = True) -> None:
        pods = [
            protocol.Pod(pod_id=PodId(name), incarnation=Incarnation(name), address="", state=protocol.PodState.LIVE)
            for name in ("me", *self.peers)
        ]
        self.failsafe.renewed(
            self.time,
            protocol.Grant(
                lease_seconds=TTL,
                shards=[],
                shard_count=1,
                rest_per_second=1,
                rest_open=True,
                members=pods if members else None,
            ),
        )

    def asked(self, **changes: object) -> protocol.FailsafeAnswer:
        values = {"pod_id": PodId("p"), "incarnation": Incarnation("p"), "peer": Incarnation("me")} | changes
        return self.failsafe.answer(protocol.FailsafeRequest(**({"silent_for": TTL, "seconds": TTL} | values)))  # type: ignore[arg-type]

    def concluded(self, **silences: float) -> bool:
        begun = self.failsafe.begin()
        assert begun is not None
        answers = {
            Incarnation(name): protocol.FailsafeAnswer(confirmed=True, silence=silence)
            for name, silence in silences.items()
        }
        return self.failsafe.conclude(begun, answers)


def test_nothing_is_asked_while_renewals_succeed() -> None:
    bench = Bench("p")
    assert bench.failsafe.begin() is None, "no lease at all"
    bench.renewed()
    bench.time += TTL / 4
    assert bench.failsafe.begin() is None
    bench.time += TTL / 4
    assert bench.failsafe.begin() is not None


def test_a_pod_alone_goes_on_at_once_until_the_limit() -> None:
    bench = Bench()
    bench.renewed()
    start = bench.time
    while bench.time < start + TTL + FAILSAFE_LIMIT - 10:
        bench.time += TTL / 2
        assert bench.concluded()
        assert bench.failsafe.until == min(bench.time + TTL, start + TTL + FAILSAFE_LIMIT - 5)
    bench.time = start + TTL + FAILSAFE_LIMIT - 5
    assert bench.failsafe.begin() is None
    assert not bench.failsafe.active
    assert "limit" in bench.failsafe.refusal


def test_who_was_not_told_the_members_asks_nobody() -> None:
    bench = Bench()
    bench.renewed(members=False)
    bench.time += TTL
    assert bench.failsafe.begin() is None


def test_all_must_confirm_and_the_right_counts_from_before_the_question() -> None:
    bench = Bench("p", "q")
    bench.renewed()
    bench.time += TTL / 2
    assert not bench.concluded(p=TTL / 2)
    assert "q does not answer" in bench.failsafe.refusal
    begun = bench.failsafe.begin()
    asked_at = bench.time
    bench.time += 1.0
    sure = protocol.FailsafeAnswer(confirmed=True, silence=TTL)
    assert begun is not None
    assert bench.failsafe.conclude(begun, {Incarnation("p"): sure, Incarnation("q"): sure})
    assert bench.failsafe.until == asked_at + TTL


def test_a_round_that_a_renewal_or_a_stall_overtook_says_nothing() -> None:
    for overtake in (Bench.renewed, lambda bench: bench.failsafe.void()):
        bench = Bench("p")
        bench.renewed()
        bench.time += TTL / 2
        begun = bench.failsafe.begin()
        assert begun is not None
        overtake(bench)
        answers = {Incarnation("p"): protocol.FailsafeAnswer(confirmed=True, silence=TTL)}
        assert not bench.failsafe.conclude(begun, answers)
        assert bench.failsafe.until == float("-inf")


def test_the_inequality_is_strict_at_its_edge() -> None:
    assert failsafe.counts(silent_for=9.0, silence=3.1, seconds=TTL)
    assert not failsafe.counts(silent_for=9.0, silence=3.0, seconds=TTL)


def test_a_peer_confirms_only_what_it_can() -> None:
    bench = Bench()
    assert bench.asked().reason == "this incarnation has no lease"
    bench.renewed()
    assert bench.asked().reason == "the config service answers here"
    bench.time += TTL / 2
    assert bench.asked(peer=Incarnation("my former self")).reason == "this is another incarnation"
    assert bench.asked(seconds=TTL * 2).reason == "leases differ in length"
    assert bench.asked(silent_for=TTL * 2).reason == "the config service answered here later"
    answer = bench.asked()
    assert answer.confirmed
    assert answer.silence == TTL / 2
    bench.failsafe.end()
    assert not bench.asked().confirmed


def test_what_is_contested_waits_for_the_first_lease_and_for_promises() -> None:
    bench = Bench()
    bench.renewed()
    own = protocol.Shard(shard_id=ShardId("0-of-2"), epoch=Epoch(2))
    contested = protocol.Shard(shard_id=ShardId("1-of-2"), epoch=Epoch(2), contested=True)
    assert bench.failsafe.opens_in(own) == 0
    assert bench.failsafe.opens_in(contested) == TTL
    bench.time += TTL
    assert bench.failsafe.opens_in(contested) == 0
    assert bench.asked().confirmed
    assert bench.failsafe.opens_in(contested) == TTL
    assert bench.failsafe.opens_in(own) == 0
