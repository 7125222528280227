"""F15: a system clock that jumps moves no timer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modbot.ops.clocks import SLEW, SteadyClock

START = 1_790_000_000.0


class Times:
    def __init__(self) -> None:
        self.wall, self.mono = START, 50.0
        self.clock = SteadyClock(wall=lambda: self.wall, monotonic=lambda: self.mono)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds

    def told(self) -> float:
        return self.clock().timestamp()


def test_it_tells_the_time_of_day() -> None:
    times = Times()
    assert times.clock() == datetime.fromtimestamp(START, UTC)
    times.passes(3600)
    assert times.told() == START + 3600


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_jump_of_an_hour_is_followed_over_half_a_day(jump: float) -> None:
    times = Times()
    times.wall += jump
    assert times.told() == START
    times.passes(1.0)
    assert abs(times.told() - (START + 1)) <= SLEW
    for _ in range(12 * 60):
        times.passes(60)
        times.told()
    assert times.told() == pytest.approx(times.wall, abs=0.001)


@given(steps=st.lists(st.tuples(st.floats(0, 100), st.floats(-1e5, 1e5))))
def test_it_never_goes_back_and_never_jumps(steps: list[tuple[float, float]]) -> None:
    times = Times()
    last = times.told()
    for passed, jump in steps:
        times.passes(passed)
        times.wall += jump
        now = times.told()
        assert -1e-3 <= now - last <= passed * (1 + SLEW) + 1e-3
        last = now
