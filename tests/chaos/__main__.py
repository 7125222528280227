"""`python -m chaos`: see `--help`."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from chaos import faults, measuring, reporting, running, schedules
from chaos.schedules import Schedule
from chaos.systems import Setup
from modbot.cli.stack import StartError

_STEPS_PER_RUN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line asks for."""

    seconds: float
    runs: int
    seed: int | None
    faults: str
    steps: int
    replay: Path | None
    module: str
    results: Path
    measure: str
    repetitions: int
    page: Path | None
    keep: bool
    add: bool


@click.command()
@click.option("--seconds", default=0.0, help="Begin new runs until so many seconds have passed.")
@click.option("--runs", default=1, help="How many runs, each with a system of its own.")
@click.option("--seed", type=int, help="Seed of the first run; the next ones count on. Drawn and shown when missing.")
@click.option("--faults", default="", help="Only these, as F1,F4 or F9-storm.")
@click.option("--steps", default=_STEPS_PER_RUN, help="Faults per run.")
@click.option(
    "--replay", type=click.Path(exists=True, path_type=Path), help="Play a schedule from build/chaos-failed-SEED.json."
)
@click.option("--module", default="chaos.gateway", help="Another gateway pod, as chaos.broken.forgetful.")
@click.option("--results", default=reporting.RESULTS, type=click.Path(path_type=Path), help="Where the results go.")
@click.option("--measure", default="", help="Measure the named times instead: f1,f2,f3,f4.")
@click.option("--repetitions", default=20, help="How often each of them.")
@click.option("--add", is_flag=True, help="Add the runs to those that the results hold already.")
@click.option("--page", type=click.Path(path_type=Path), help="Only write the results into the tables of this page.")
@click.option("--keep", is_flag=True, help="Keep the state folders, with the logs.")
def main(**given: Any) -> None:
    """Break the whole system in many ways and check every invariant after each."""
    wanted = Wanted(**given)
    if wanted.page is not None:
        reporting.rewrite(wanted.page, reporting.read(wanted.results))
        return
    sys.exit(_measure(wanted) if wanted.measure else _draw(wanted))


def _draw(wanted: Wanted) -> int:
    chosen = _chosen(wanted.faults)
    first = secrets.randbelow(10**6) if wanted.seed is None else wanted.seed
    before = reporting.read(wanted.results).runs if wanted.add else []
    done: list[running.Run] = []
    started = time.monotonic()
    while len(done) < wanted.runs or time.monotonic() - started < wanted.seconds:
        schedule = schedules.draw(first + len(done), chosen, steps=wanted.steps)
        if wanted.replay is not None:
            schedule = _replayed(wanted.replay)
        click.echo(f"run {len(done) + 1}, seed {schedule.seed}", err=True)
        done.append(_run(schedule, module=wanted.module, keep=wanted.keep))
        reporting.write(wanted.results, before + done)
    click.echo(reporting.table(reporting.rows(before + done)))
    worst = max(run.slowest_answer_ms for run in done)
    click.echo(f"{sum(run.interactions for run in done)} interactions, the slowest first answer after {worst:.0f} ms")
    return 1 if any(run.violations for run in done) else 0


def _measure(wanted: Wanted) -> int:
    measured: list[measuring.Measured] = []
    for name in wanted.measure.split(","):
        folder = Path(tempfile.mkdtemp(prefix="modbot-chaos-"))
        folder.chmod(0o755)  # as in `_run`
        setup = Setup(
            state=folder / "state",
            seed=wanted.seed or 0,
            shards=measuring.SHARDS,
            events=measuring.SHARDS * measuring.EVENTS_PER_SHARD,
        )
        work = measuring.measure(
            setup, measuring.SERIES[name], runs=wanted.repetitions, tell=lambda line: click.echo(f"  {line}", err=True)
        )
        measured += asyncio.run(work)
        reporting.write_measured(wanted.results, measured)
        for violation in measured[-1].violations[:10]:
            click.echo(f"  ! {violation}", err=True)
        if measured[-1].violations:
            click.echo(f"  state kept in {folder}", err=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    click.echo(reporting.table_of_measured(measured))
    return 1 if any(each.violations for each in measured) else 0


def _run(schedule: Schedule, *, module: str, keep: bool) -> running.Run:
    folder = Path(tempfile.mkdtemp(prefix="modbot-chaos-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
    setup = Setup(state=folder / "state", seed=schedule.seed, module=module)
    try:
        run = asyncio.run(running.play(setup, schedule, tell=lambda line: click.echo(f"  {line}", err=True)))
    except StartError as error:
        click.echo(f"{error}\nstate kept in {folder}", err=True)
        raise
    for violation in run.violations[:10]:
        click.echo(f"  ! {violation}", err=True)
    if run.violations:
        path = reporting.remember(run)
        click.echo(f"  {len(run.violations)} violations; state kept in {folder}; replay with --replay {path}", err=True)
    elif keep:
        click.echo(f"  state kept in {folder}", err=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return run


def _replayed(path: Path) -> Schedule:
    return msgspec.json.decode(path.read_bytes(), type=running.Run).schedule


def _chosen(wanted: str) -> dict[str, schedules.Draw]:
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    unknown = [name for name in names if not any(_meant(fault, name) for fault in faults.ALL)]
    if unknown:
        raise click.BadParameter(f"no such fault: {', '.join(unknown)}; there are {', '.join(faults.ALL)}")
    return {
        fault.name: fault.draw
        for fault in faults.ALL.values()
        if not names or any(_meant(fault.name, name) for name in names)
    }


def _meant(fault: str, name: str) -> bool:
    return fault == name or fault.partition("-")[0] == name


if __name__ == "__main__":
    main()
