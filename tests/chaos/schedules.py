"""Which fault comes when, with which parameters: drawn from a seed, so that a run that failed can be played again.

Pure. A schedule is data; `faults` knows what its names mean.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

Draw = Callable[[random.Random], dict[str, Any]]
_PAUSES = (1.0, 3.0)


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`pause` seconds after the system has settled from the step before, `fault` strikes."""

    pause: float
    fault: str
    parameters: dict[str, Any] = {}


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run of the whole system."""

    seed: int
    steps: tuple[Step, ...]


def draw(seed: int, faults: Mapping[str, Draw], *, steps: int) -> Schedule:
    """Draw a run: every fault comes once before any comes twice."""
    chance = random.Random(seed)
    names = _in_turns(chance, sorted(faults), steps)
    return Schedule(
        seed=seed,
        steps=tuple(
            Step(pause=round(chance.uniform(*_PAUSES), 2), fault=name, parameters=faults[name](chance))
            for name in names
        ),
    )


def repeated(seed: int, name: str, parameters: Draw, *, times: int) -> Schedule:
    """Draw a run of one fault, again and again: what the measurements use."""
    chance = random.Random(seed)
    steps = [
        Step(pause=round(chance.uniform(*_PAUSES), 2), fault=name, parameters=parameters(chance)) for _ in range(times)
    ]
    return Schedule(seed=seed, steps=tuple(steps))


def without(schedule: Schedule, position: int) -> Schedule:
    """Leave out one step: to find the smallest schedule that still fails."""
    return Schedule(seed=schedule.seed, steps=schedule.steps[:position] + schedule.steps[position + 1 :])


def _in_turns(chance: random.Random, names: Sequence[str], steps: int) -> list[str]:
    drawn: list[str] = []
    while len(drawn) < steps:
        turn = list(names)
        chance.shuffle(turn)
        drawn += turn
    return drawn[:steps]
