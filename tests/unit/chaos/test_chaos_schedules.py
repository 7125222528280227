"""Schedules are data that follow from a seed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaos import faults, schedules

_DRAWS = {name: fault.draw for name, fault in faults.ALL.items()}


@given(st.integers(0, 2**31), st.integers(1, 60))
def test_the_same_seed_gives_the_same_schedule(seed: int, steps: int) -> None:
    assert schedules.draw(seed, _DRAWS, steps=steps) == schedules.draw(seed, _DRAWS, steps=steps)


@given(st.integers(0, 2**31))
def test_every_fault_comes_once_before_any_comes_twice(seed: int) -> None:
    drawn = [step.fault for step in schedules.draw(seed, _DRAWS, steps=2 * len(_DRAWS)).steps]
    assert sorted(drawn[: len(_DRAWS)]) == sorted(_DRAWS)
    assert sorted(drawn[len(_DRAWS) :]) == sorted(_DRAWS)


def test_seeds_differ() -> None:
    drawn = [schedules.draw(seed, _DRAWS, steps=8).steps for seed in range(20)]
    assert len({str(steps) for steps in drawn}) == 20
