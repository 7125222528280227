"""Faults by chance against everything that is promised: the short form of `make chaos`, and the proof that it can fail.

Invariants are asserted. Times are only told: they belong to the machine.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import pytest

from chaos import faults, reporting, running, schedules
from chaos.schedules import Schedule
from chaos.systems import Setup

_FIXED = 20261124
_STEPS = 5
_SHORT = {fault.name: fault.draw for fault in faults.ALL.values() if fault.short}


def _tell(line: str) -> None:
    sys.stderr.write(f"  {line}\n")


@pytest.mark.parametrize(
    "seed", [pytest.param(_FIXED, id="fixed"), pytest.param(None, id="by chance", marks=pytest.mark.long)]
)
async def test_no_promise_breaks(state_folder: Path, seed: int | None) -> None:
    drawn = secrets.randbelow(10**6) if seed is None else seed
    sys.stderr.write(f"\nseed {drawn}\n")
    schedule = schedules.draw(drawn, _SHORT, steps=_STEPS)
    run = await running.play(Setup(state=state_folder / "state", seed=drawn), schedule, tell=_tell)
    replay = f"make chaos ARGS='--replay {reporting.remember(run)}'" if run.violations else ""
    assert run.violations == [], replay
    assert run.events > 1000
    assert run.interactions > 100


@pytest.mark.parametrize(
    ("module", "fault", "parameters", "invariants"),
    [
        pytest.param("forgetful", "F1-kill", {"pod": 0}, {"I3"}, marks=pytest.mark.long),
        pytest.param("acknowledging", "F8-behind", {"pod": 0, "seconds": 5.0}, {"I3", "I6"}, marks=pytest.mark.long),
        ("careless", "F4-move", {"seed": 1, "moves": 6}, {"I3", "I4"}),
        ("ungated", "F6-freeze", {"pod": 0, "seconds": 10.0}, {"I2"}),
        pytest.param("repeating", "F1-kill", {"pod": 0}, {"I5"}, marks=pytest.mark.long),
    ],
)
async def test_broken_pods_are_found(
    state_folder: Path, module: str, fault: str, parameters: dict[str, object], invariants: set[str]
) -> None:
    """If these were found to be right, the test above could not fail."""
    steps = tuple(schedules.Step(pause=1.0, fault=fault, parameters=parameters) for _ in range(4))
    setup = Setup(state=state_folder / "state", module=f"chaos.broken.{module}", events=400.0)
    run = await running.play(
        setup, Schedule(seed=1, steps=steps[:1] if module == "repeating" else steps), tell=_tell, until_broken=True
    )
    found = {violation.partition(" ")[0] for violation in run.violations}
    assert found & invariants, run.violations
