"""`python -m chaos`: see `--help`."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click
import msgspec

from chaos import faults, measuring, reporting, running, schedules
from chaos.schedules import Schedule
from chaos.systems import Setup
from modbot.cli.stack import StartError

_BUILD = Path("build")
_STEPS_PER_RUN = 8


@click.command()
@click.option("--seconds", default=0.0, help="Begin new runs until so many seconds have passed.")
@click.option("--runs", default=1, help="How many runs, each with a system of its own.")
@click.option("--seed", type=int, help="Seed of the first run; the next ones count on. Drawn and shown when missing.")
@click.option("--faults", "wanted", default="", help="Only these, as F1,F4 or F9-storm.")
@click.option("--steps", default=_STEPS_PER_RUN, help="Faults per run.")
@click.option("--replay", type=click.Path(exists=True, path_type=Path), help="Play a schedule from build/chaos-failed-SEED.json.")
@click.option("--module", default="chaos.gateway", help="Another gateway pod, as chaos.broken.forgetful.")
@click.option("--results", default=_BUILD / "chaos.json", type=click.Path(path_type=Path), help="Where the results go.")
@click.option("--measure", default="", help="Measure the named times instead: f1,f2,f3,f4.")
@click.option("--repetitions", default=20, help="How often each of them.")
@click.option("--keep", is_flag=True, help="Keep the state folders, with the logs.")
def main(
    seconds: float, runs: int, seed: int | None, wanted: str, steps: int, replay: Path | None, module: str, results: Path, keep: bool,
    measure: str, repetitions: int,
) -> None:
    """Break the whole system in many ways and check every invariant after each."""
    if measure:
        sys.exit(_measure(measure.split(","), repetitions, seed or 0, results))
    chosen = _chosen(wanted)
    first = secrets.randbelow(10**6) if seed is None else seed
    done: list[running.Run] = []
    started = time.monotonic()
    while len(done) < runs or time.monotonic() - started < seconds:
        number = first + len(done)
        schedule = _replayed(replay) if replay else schedules.draw(number, chosen, steps=steps)
        click.echo(f"run {len(done) + 1}, seed {schedule.seed}", err=True)
        done.append(_run(schedule, module=module, keep=keep))
        reporting.write(results, done)
        if replay:
            break
    click.echo(reporting.table(reporting.rows(done)))
    sys.exit(1 if any(run.violations for run in done) else 0)


def _measure(names: list[str], repetitions: int, seed: int, results: Path) -> int:
    measured: list[measuring.Measured] = []
    for name in names:
        folder = Path(tempfile.mkdtemp(prefix="modbot-chaos-"))
        folder.chmod(0o755)  # as in `_run`
        setup = Setup(
            state=folder / "state",
            seed=seed,
            shards=measuring.SHARDS,
            events=measuring.SHARDS * measuring.EVENTS_PER_SHARD,
        )
        work = measuring.measure(
            setup, measuring.SERIES[name], runs=repetitions, tell=lambda line: click.echo(f"  {line}", err=True)
        )
        measured += asyncio.run(work)
        reporting.write_measured(results, measured)
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
        _BUILD.mkdir(exist_ok=True)
        path = _BUILD / f"chaos-failed-{schedule.seed}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(run)))
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
        fault.name: fault.draw for fault in faults.ALL.values() if not names or any(_meant(fault.name, name) for name in names)
    }


def _meant(fault: str, name: str) -> bool:
    return fault == name or fault.partition("-")[0] == name


if __name__ == "__main__":
    main()
