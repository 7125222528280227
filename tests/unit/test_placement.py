"""Placement and shares: nothing is overfilled, nobody starts without data, the budget holds."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from modbot.domain import pins, placement
from modbot.domain.ids import PodId, ShardId
from modbot.domain.placement import Candidate, FreeShard

PODS = [PodId(name) for name in "abcd"]
stores = st.sampled_from([None, "s3://one", "s3://two"])
free_shards = st.lists(
    st.builds(
        FreeShard,
        shard_id=st.integers(0, 63).map(lambda number: ShardId(f"{number}-of-64")),
        last_owner=st.sampled_from([None, *PODS]),
        replica_store=stores,
        weight=st.floats(10, 1e6),
        pin=st.sampled_from([None, None, "a", "zone=a"]),
    ),
    unique_by=lambda shard: shard.shard_id,
    max_size=20,
)
candidates = st.lists(
    st.builds(
        Candidate,
        pod_id=st.sampled_from(PODS),
        capacity=st.integers(1, 8),
        shards=st.integers(0, 8),
        load=st.floats(0, 1e6),
        replica_store=stores,
        labels=st.sampled_from([{}, {"zone": "a"}]),
        closed=st.sampled_from([False, False, True]),
    ),
    unique_by=lambda pod: pod.pod_id,
    max_size=4,
)


@given(shards=free_shards, pods=candidates)
def test_every_plan_is_sound(shards: list[FreeShard], pods: list[Candidate]) -> None:
    plan = placement.decide_placement(shards, pods)
    by_pod = {pod.pod_id: pod for pod in pods}
    counts = {pod.pod_id: pod.shards for pod in pods}
    for pod_id in plan.grants.values():
        counts[pod_id] += 1
    assert plan.grants.keys() | plan.waiting.keys() == {shard.shard_id for shard in shards}
    assert not plan.grants.keys() & plan.waiting.keys()
    assert all(plan.waiting.values()), "whoever waits is told why"
    assert all(counts[pod.pod_id] <= max(pod.capacity, pod.shards) for pod in pods)
    for shard in shards:
        able = [pod for pod in pods if not pod.closed and placement.may_serve(shard, pod)]
        wanted = [pod for pod in able if shard.pin and pins.matches(shard.pin, pod)] or able
        if shard.shard_id in plan.grants:
            assert by_pod[plan.grants[shard.shard_id]] in wanted, "a closed pod or against the pin"
        else:
            able = wanted
            assert all(counts[pod.pod_id] >= pod.capacity for pod in able), "room was left unused"


@given(count=st.integers(0, 64), pods=st.integers(1, 8))
def test_fresh_shards_are_spread_evenly(count: int, pods: int) -> None:
    shards = [FreeShard(ShardId(f"{number}-of-64")) for number in range(count)]
    plan = placement.decide_placement(shards, [Candidate(PodId(f"p{number}"), 64) for number in range(pods)])
    given_to = [list(plan.grants.values()).count(PodId(f"p{number}")) for number in range(pods)]
    assert max(given_to) - min(given_to) <= 1


def test_the_lighter_pod_gets_a_shard_even_when_it_has_more_of_them() -> None:
    pods = [Candidate(PodId("a"), 9, 1, 50.0), Candidate(PodId("b"), 9, 2, 20.0)]
    assert placement.decide_placement([FreeShard(ShardId("0-of-1"))], pods).grants == {"0-of-1": "b"}


def test_a_served_shard_goes_only_where_its_data_can_be() -> None:
    served = FreeShard(ShardId("0-of-1"), last_owner=PodId("a"), replica_store=None)
    away = placement.decide_placement([served], [Candidate(PodId("b"), 9, replica_store="s3://one")])
    assert away.waiting == {"0-of-1": "Its file is on a, which is not live and had no replica store."}
    back = placement.decide_placement([served], [Candidate(PodId("b"), 9), Candidate(PodId("a"), 9, shards=5)])
    assert back.grants == {"0-of-1": "a"}


def test_a_pin_is_waited_for_only_where_its_pod_is_live_and_full() -> None:
    shard = FreeShard(ShardId("0-of-1"), pin="zone=a")
    full = Candidate(PodId("a"), 1, 1, labels={"zone": "a"})
    other = Candidate(PodId("b"), 9)
    waiting = placement.decide_placement([shard], [full, other])
    assert waiting.waiting == {"0-of-1": "It is pinned to zone=a, where every pod is full."}
    assert placement.decide_placement([shard], [other]).grants == {"0-of-1": "b"}
    closed = Candidate(PodId("a"), 9, labels={"zone": "a"}, closed=True)
    assert placement.decide_placement([shard], [closed, other]).grants == {"0-of-1": "b"}
    alone = placement.decide_placement([FreeShard(ShardId("0-of-1"), last_owner=PodId("a"))], [closed, other])
    assert alone.waiting == {"0-of-1": "Only a draining pod could serve it."}


def test_restricted_shards_do_not_lose_their_place_to_free_ones() -> None:
    shards = [FreeShard(ShardId("0-of-2")), FreeShard(ShardId("1-of-2"), last_owner=PodId("a"))]
    plan = placement.decide_placement(shards, [Candidate(PodId("a"), 1), Candidate(PodId("b"), 1)])
    assert plan.grants == {"1-of-2": "a", "0-of-2": "b"}


def test_placement_waits_for_late_comers_but_not_for_ever() -> None:
    assert not placement.decide_settled(youngest=0.1, oldest=0.3, free_for=100, settle=2)
    assert placement.decide_settled(youngest=2.0, oldest=2.1, free_for=100, settle=2)
    assert not placement.decide_settled(youngest=0.1, oldest=500, free_for=9.9, settle=2)
    assert placement.decide_settled(youngest=0.1, oldest=500, free_for=10, settle=2)


@given(
    total=st.integers(1, 500),
    demands=st.lists(st.floats(0, 1e308), min_size=1, max_size=40),
    held=st.lists(st.floats(0, 50), min_size=40, max_size=40),
)
def test_shares_never_exceed_the_budget(total: int, demands: list[float], held: list[float]) -> None:
    reserved = [min(each, total / len(demands)) for each in held[: len(demands)]]
    for turn in range(len(demands)):
        others = sum(reserved) - reserved[turn]
        share = placement.decide_rest_share(total=total, mine=demands[turn], demands=demands, reserved_by_others=others)
        assert share >= 0
        assert math.isfinite(share)
        reserved[turn] = share
        assert sum(reserved) <= total + 1e-6


def test_the_budget_follows_demand_above_a_floor() -> None:
    shares = [
        placement.decide_rest_share(total=45, mine=mine, demands=[30, 10, 0], reserved_by_others=0)
        for mine in (30, 10, 0)
    ]
    assert shares == [29.125, 10.375, 1.0]


def test_a_newcomer_has_a_share_before_the_others_have_renewed() -> None:
    held = placement.decide_rest_share(total=45, mine=0, demands=[0], reserved_by_others=0)
    share = placement.decide_rest_share(total=45, mine=0, demands=[0, 0], reserved_by_others=held)
    assert share == 1.0
    assert held + share <= 45
