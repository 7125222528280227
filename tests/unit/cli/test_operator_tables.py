"""What the operator's verbs print: rows of 80 columns that tell who moves, who waits and why."""

from __future__ import annotations

import io
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console, RenderableType

from modbot.cli import showing, tables, waiting
from modbot.cli.main import main
from modbot.cluster import protocol
from modbot.domain.errors import UnavailableError
from modbot.domain.ids import Epoch, Incarnation, PodId, ShardId
from modbot.domain.rebalancing import Cause

A, B = PodId("gateway-0"), PodId("gateway-1")


def printed(found: RenderableType) -> str:
    sink = io.StringIO()
    Console(file=sink, width=tables.WIDTH).print(found)
    lines = [line.rstrip() for line in sink.getvalue().splitlines()]
    assert all(len(line) <= tables.WIDTH for line in lines)
    return "\n".join(lines)


def shard(number: int, **changes: Any) -> protocol.ShardDetail:
    values: dict[str, Any] = {"epoch": Epoch(1), "owner": A, "last_owner": A, "replica_store": None, "weight": 12.34}
    return protocol.ShardDetail(shard_id=ShardId(f"{number}-of-4"), **(values | changes))


def pod(pod_id: PodId, **changes: Any) -> protocol.PodHealth:
    values: dict[str, Any] = {
        "incarnation": Incarnation("i"), "address": "http://pod", "state": protocol.PodState.LIVE,
        "lease_seconds": 5.0, "capacity": 64, "shards": [],
    }  # fmt: skip
    return protocol.PodHealth(pod_id=pod_id, **(values | changes))


def plan(**changes: Any) -> protocol.RebalancePlan:
    move = protocol.PlannedMove(
        shard_id=ShardId("3-of-4"), source=A, target=B, cause=Cause.DRAIN, reason="gateway-0 is drained.", now=True
    )
    values: dict[str, Any] = {
        "moves": [move], "held": [protocol.HeldShard(shard_id=ShardId("1-of-4"), reason="No other pod is live and open.")],
        "verdict": "The most loaded pod will carry 1.02 times the mean.", "waits": "",
        "imbalance": 1.5, "imbalance_after": 1.02, "paused": False, "asked": False,
    }  # fmt: skip
    return protocol.RebalancePlan(**(values | changes))


def test_shards_tell_where_they_go_and_why_they_wait() -> None:
    long = "Neither gateway-0 nor a pod that can restore from its replica store is live."
    text = printed(tables.shards([shard(0), shard(1, target=B, pin="zone=b"), shard(2, owner=None, waiting=long)]))
    assert text.splitlines()[1:3] == [
        "0-of-4  gateway-0      1    12.3",
        "1-of-4  gateway-0      1    12.3  zone=b  moving to gateway-1",
    ]
    assert " ".join(long.split()) in " ".join(text.replace("2-of-4", "").split()).replace("- 1 12.3 ", "")


def test_pods_tell_what_comes_and_goes_and_who_is_emptied() -> None:
    found = [
        pod(B, cordoned=True, labels={"zone": "b", "track": "canary"}),
        pod(A, draining=True),
        pod(PodId("gateway-2"), state=protocol.PodState.LOST),
    ]
    text = printed(tables.pods(found, [shard(0), shard(1, target=B)]))
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["gateway-0", "stopping", "2/64", "12.3", "1"],
        ["gateway-1", "drained", "0/64", "12.3", "1", "track=canary,", "zone=b"],
        ["gateway-2", "lost", "0/64", "0.0"],
    ]


def test_a_plan_tells_what_moves_what_stays_and_why() -> None:
    assert printed(tables.plan(plan())).splitlines() == [
        "SHARD   FROM       TO         WHY",
        "3-of-4  gateway-0  gateway-1  gateway-0 is drained.",
        "1-of-4 stays: No other pod is live and open.",
        "1 move; most loaded pod: 1.50 → 1.02 times the mean.",
        "The most loaded pod will carry 1.02 times the mean.",
    ]
    quiet = printed(tables.plan(plan(moves=[], held=[], waits="Moves are paused.")))
    assert quiet.splitlines() == ["Moves are paused.", "The most loaded pod will carry 1.02 times the mean."]
    assert printed(tables.plan(plan(), only=frozenset({ShardId("2-of-4")}))) == ""


def test_the_status_shows_draining_pods_and_moves() -> None:
    rows = showing.rows([pod(A, cordoned=True), pod(B)], [shard(0), shard(1, target=B)])
    assert [(row.pod, row.state, row.shards, row.moving) for row in rows] == [
        (A, "draining", 2, 1),
        (B, "live", 0, 1),
    ]
    assert "(1 moving)" in printed(showing.table(rows))


async def test_waiting_goes_on_through_an_outage_and_ends_with_the_work() -> None:
    told: list[waiting.State | Exception] = [
        waiting.State(3),
        UnavailableError("The config service does not answer."),
        waiting.State(0, over=True),
    ]

    async def look() -> waiting.State:
        found = told.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    assert await waiting.follow("draining", look, timeout=60) == waiting.State(0, over=True)


async def test_waiting_ends_after_its_time_and_says_what_is_left() -> None:
    async def look() -> waiting.State:
        return waiting.State(2, word="3-of-4 stays: Every pod that may have it is full.")

    late = await waiting.follow("draining", look, timeout=0)
    assert (late.failed, late.left, late.word) == (True, 2, "3-of-4 stays: Every pod that may have it is full.")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["move", "third", "gateway-0"], "'third' is not a shard: expected a name like 3-of-16 or guild-123."),
        (["move", "3-of-4", "Gateway"], "'Gateway' is not a pod name"),
        (["pin", "3-of-4", "zone="], "use a pod's name or a label such as zone=a"),
        (["drain", "a_b"], "is not a pod name"),
    ],
)
def test_what_is_misspelt_is_refused_before_anything_is_asked(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.parametrize("verb", ["shards", "pods", "rebalance", "pause", "resume"])
def test_without_a_system_every_verb_says_where_to_look(
    verb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.delenv("MODBOT_CONFIG_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [verb])
    assert result.exit_code == 2
    assert "Start `modbot dev` here, or set MODBOT_CONFIG_URL." in result.output
