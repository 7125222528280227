"""The sums and the sentence of the status page."""

from __future__ import annotations

import pytest

from modbot.portal import status
from modbot.portal.status import Overall, PodRow, ShardRow


def pod(name: str, guilds: int, state: str = "live") -> PodRow:
    return PodRow(
        name=name,
        state=state,
        shards=1,
        capacity=8,
        guilds=guilds,
        events_per_second=1.0,
        lag_seconds=0.0,
        lease_seconds=1.0,
    )


def shard(*, connected: bool) -> ShardRow:
    return ShardRow(
        name="0-of-2", owner="a", epoch=1, guilds=5, events_per_second=1.25, lag_seconds=0.0, connected=connected
    )


@pytest.mark.parametrize(
    ("connected", "overall", "sentence"),
    [
        ([], Overall.DEGRADED, "There are no shards yet."),
        ([True, True], Overall.SERVING, "All 2 shards are served."),
        ([True, False], Overall.DEGRADED, "1 of 2 shards is not connected."),
        ([False, False], Overall.DEGRADED, "2 of 2 shards are not connected."),
    ],
)
def test_one_sentence_says_how_things_are(connected: list[bool], overall: Overall, sentence: str) -> None:
    found = status.build([], [shard(connected=each) for each in connected], age_seconds=0.1, stale=False)
    assert found.overall is overall
    assert found.sentence.startswith(sentence)


def test_old_numbers_are_never_called_serving() -> None:
    assert status.build([], [shard(connected=True)], age_seconds=9.0, stale=True).overall is Overall.UNKNOWN
    assert status.build([], [], age_seconds=None, stale=True).overall is Overall.UNKNOWN


def test_the_sums() -> None:
    pods = [pod("a", 5), pod("b", 0, state="lost")]
    found = status.build(pods, [shard(connected=True)] * 2, age_seconds=0.0, stale=False)
    assert (found.guilds, found.events_per_second, found.pods_live) == (10, 2.5, 1)


def test_the_widest_bar_is_full_and_lost_pods_have_none() -> None:
    found = status.build([pod("a", 50), pod("b", 200), pod("c", 9, state="lost")], [], age_seconds=0.0, stale=False)
    assert [(bar.label, bar.width) for bar in status.distribution(found)] == [("a", 25.0), ("b", 100.0)]


def test_bars_without_guilds_are_empty() -> None:
    found = status.build([pod("a", 0)], [], age_seconds=0.0, stale=False)
    assert [bar.width for bar in status.distribution(found)] == [0.0]
