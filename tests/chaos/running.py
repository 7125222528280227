"""Playing a schedule against a system, and writing down what each fault came to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec

from chaos import faults, systems
from chaos.checking import Checks, Found
from chaos.schedules import Schedule, Step
from chaos.systems import Setup, System
from modbot.cli.stack import StartError


class Observation(msgspec.Struct):
    """What one fault came to. Times in seconds; `violations` are those that were not there before it."""

    fault: str
    parameters: dict[str, Any]
    standstill: float
    took: float
    lost: int = 0
    doubled: int = 0
    named: int = 0
    identifies: int = 0
    identifies_allowed: bool = False
    violations: list[str] = []


class Run(msgspec.Struct):
    """What one schedule came to."""

    schedule: Schedule
    observations: list[Observation]
    events: int = 0
    interactions: int = 0
    unjudged: int = 0
    slowest_answer_ms: float = 0.0
    violations: list[str] = []
    """All of them; those that only the end has shown belong to no fault."""
    seconds: float = 0.0


class _Known:
    """What was found before, so that each finding is told once."""

    def __init__(self) -> None:
        self.lost: set[str] = set()
        self.doubled: set[str] = set()
        self.violations: set[str] = set()

    def new(self, found: Found) -> tuple[int, int, list[str]]:
        lost, doubled = found.verdict.lost - self.lost, found.verdict.doubled - self.doubled
        violations = found.all() - self.violations
        self.lost |= lost
        self.doubled |= doubled
        self.violations |= violations
        return len(lost), len(doubled), sorted(violations)


async def play(setup: Setup, schedule: Schedule, *, tell: Callable[[str], None], until_broken: bool = False) -> Run:
    """Play a schedule from beginning to end; with `until_broken`, only until a promise is found broken."""
    started, known = time.monotonic(), _Known()
    run = Run(schedule, [])
    async with systems.running(setup) as system:
        checks = Checks(system)
        if not await system.flowing():
            raise StartError("Events did not begin to flow.")
        for step in schedule.steps:
            observation = await _strike(system, checks, step, known)
            run.observations.append(observation)
            tell(told(observation))
            if until_broken and known.violations:
                run.violations = sorted(known.violations)
                return run
        found = await checks.at_rest()
        known.new(found)
        run.events, run.violations = found.verdict.compared, sorted(known.violations)
        summary = (await system.stack.control("GET", "interactions"))["summary"]
        run.unjudged = found.unjudged
        run.interactions, run.slowest_answer_ms = system.load.used, summary["first_response_ms_max"] or 0.0
    run.seconds = round(time.monotonic() - started, 1)
    return run


async def _strike(system: System, checks: Checks, step: Step, known: _Known) -> Observation:
    fault = faults.ALL[step.fault]
    await asyncio.sleep(step.pause)
    parameters = step.parameters
    if "pod" in parameters:
        parameters = {**parameters, "pod": await system.victim(parameters["pod"])}
    since = time.time()
    troubles: list[str] = []
    try:
        await fault.inflict(system, parameters)
    except StartError as error:
        troubles.append(f"I10 {step.fault}: {error}")
    if not await system.flowing():
        troubles.append(f"I10 {step.fault}: not every shard flows again after a minute")
    until = time.time()
    checks.renewed = checks.renewed or fault.renews(step.parameters)
    found = await checks.in_motion()
    found.violations |= set(troubles)
    lost, doubled, violations = known.new(found)
    return Observation(
        fault=step.fault,
        parameters=parameters,
        standstill=round(max(track.standstill(since, until) for track in system.watcher.tracks.values()), 3),
        took=round(until - since, 3),
        lost=lost,
        doubled=doubled,
        named=found.verdict.named,
        identifies=found.identifies,
        identifies_allowed=fault.renews(step.parameters),
        violations=violations,
    )


def told(one: Observation) -> str:
    """Say in one line what a fault came to."""
    wrong = f"  {len(one.violations)} VIOLATIONS, as {one.violations[0]}" if one.violations else ""
    parameters = " ".join(f"{key}={value}" for key, value in one.parameters.items() if key != "seed")
    return f"{one.fault:<15} {parameters:<28.28} stood still {one.standstill:6.2f} s{wrong}"
