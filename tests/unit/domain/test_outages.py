"""When silence says something: what a sweep may conclude."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modbot.domain import outages
from modbot.domain.outages import SLACK, Sight

TTL = 6.0
CALM = Sight(since_last=0.5, same_server=True, ttl=TTL, silent_for=1.0, resumed_for=None)


def test_in_calm_times_silence_says_something() -> None:
    assert outages.decide_finding(CALM) == outages.Finding()


def test_the_first_sweep_of_all_has_nothing_to_forgive() -> None:
    assert outages.decide_finding(replace(CALM, since_last=None, silent_for=None)) == outages.Finding()


def test_before_the_first_pod_nobody_can_be_wronged() -> None:
    """A database that is new must not keep its first pods waiting for a lease."""
    late = Sight(since_last=60.0, same_server=False, ttl=0, silent_for=None)
    assert outages.decide_finding(late) == outages.Finding()


@pytest.mark.parametrize(
    "sight",
    [
        replace(CALM, since_last=TTL / 3 + SLACK + 0.1),
        replace(CALM, since_last=-0.1),
        replace(CALM, same_server=False),
        replace(CALM, since_last=3600.0, silent_for=-3600.0),
    ],
)
def test_what_interrupts_is_forgiven(sight: Sight) -> None:
    found = outages.decide_finding(sight)
    assert found.resumes
    assert found.resting
    assert found.counts


def test_while_nobody_is_heard_nothing_is_concluded_and_nothing_noted() -> None:
    found = outages.decide_finding(replace(CALM, silent_for=TTL))
    assert found.resting == "No pod is heard."
    assert not found.counts
    assert not found.resumes


@given(
    since_last=st.none() | st.floats(-1e4, 1e4),
    same_server=st.booleans(),
    silent_for=st.none() | st.floats(-1e4, 1e4),
    resumed_for=st.none() | st.floats(-1e4, 1e4),
    ttl=st.floats(0.1, 60),
)
def test_a_sweep_works_only_when_nothing_is_doubtful(
    *, since_last: float | None, same_server: bool, silent_for: float | None, resumed_for: float | None, ttl: float
) -> None:
    found = outages.decide_finding(Sight(since_last, same_server, ttl, silent_for, resumed_for))
    if found.resting:
        return
    assert silent_for is None or silent_for <= ttl / 3 + SLACK
    assert since_last is None or (same_server and 0 <= since_last <= ttl / 3 + SLACK)
    if since_last is not None and resumed_for is not None:
        assert resumed_for > ttl, "everybody has had a whole lease"
