"""What runs came to: build/chaos.json and a table of 80 columns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from chaos import faults
from chaos.measuring import Measured
from chaos.percentiles import percentile
from chaos.running import Observation, Run

RESULTS = Path("build/chaos.json")
_BEGINS, _ENDS = "<!-- {}: written by python -m chaos --page -->", "<!-- end of {} -->"


class Row(msgspec.Struct):
    """All times that one fault struck. `p50`, `p99`: the longest standstill of a shard, in seconds."""

    fault: str
    what: str
    runs: int
    p50: float
    p99: float
    target: float | None
    lost: int
    doubled: int
    named: int
    identifies: int
    identifies_allowed: int
    violations: list[str]


class Results(msgspec.Struct):
    """The content of build/chaos.json. What was measured by name stays when only faults are drawn, and the other way round."""

    seeds: list[int] = []
    events: int = 0
    interactions: int = 0
    unjudged: int = 0
    slowest_answer_ms: float = 0.0
    rows: list[Row] = []
    violations: list[str] = []
    measured: list[Measured] = []
    runs: list[Run] = []
    """All that the numbers above are made of, so that more can be added later."""


def read(path: Path) -> Results:
    """Return earlier results, or empty ones."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else Results()


def rows(runs: Iterable[Run]) -> list[Row]:
    """Put the observations of all runs together, by fault."""
    by_fault: dict[str, list[Observation]] = {}
    for run in runs:
        for one in run.observations:
            by_fault.setdefault(one.fault, []).append(one)
    return [_row(name, by_fault[name]) for name in faults.ALL if name in by_fault]


def write(path: Path, runs: list[Run]) -> None:
    """Write what the faults came to."""
    results = Results(
        seeds=[run.schedule.seed for run in runs],
        events=sum(run.events for run in runs),
        interactions=sum(run.interactions for run in runs),
        unjudged=sum(run.unjudged for run in runs),
        slowest_answer_ms=max(run.slowest_answer_ms for run in runs),
        rows=rows(runs),
        violations=sorted({each for run in runs for each in run.violations}),
        measured=read(path).measured,
        runs=runs,
    )
    _write(path, results)


def write_measured(path: Path, measured: list[Measured]) -> None:
    """Write what was measured by name."""
    results = read(path)
    fresh = {each.what for each in measured}
    results.measured = [each for each in results.measured if each.what not in fresh] + measured
    _write(path, results)


def _write(path: Path, results: Results) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")


def table_of_measured(measured: Iterable[Measured]) -> str:
    """Return the table of the named times for a terminal."""
    lines = [f"{'MEASURED':<48}{'RUNS':>5}{'P50 s':>7}{'P99 s':>7}{'TARGET':>12}"]
    lines += [f"{each.what:<48}{each.runs:>5}{each.p50:>7.2f}{each.p99:>7.2f}{_targets(each):>12}" for each in measured]
    return "\n".join(lines)


def _targets(one: Measured) -> str:
    told = [f"{target:.1f}" for target in (one.target_p50, one.target_p99) if target is not None]
    return "/".join(told) or "-"


def table(found: Iterable[Row]) -> str:
    """Return the table for a terminal."""
    lines = [
        f"{'FAULT':<16}{'RUNS':>5}{'P50 s':>8}{'P99 s':>8}{'TARGET':>8}{'LOST':>6}{'TWICE':>6}{'IDENT':>6}{'BROKEN':>8}"
    ]
    for row in found:
        target = "-" if row.target is None else f"{row.target:.1f}"
        lines.append(
            f"{row.fault:<16}{row.runs:>5}{row.p50:>8.2f}{row.p99:>8.2f}{target:>8}"
            f"{row.lost:>6}{row.doubled:>6}{row.identifies:>6}{len(row.violations):>8}"
        )
    return "\n".join(lines)


def remember(run: Run) -> Path:
    """Write a run that failed to where `--replay` finds it."""
    path = RESULTS.with_name(f"chaos-failed-{run.schedule.seed}.json")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run)))
    return path


def rewrite(page: Path, results: Results) -> None:
    """Write the results into the tables of a page."""
    text = page.read_text("utf-8")
    for name, lines in (("measured", _measured_lines(results.measured)), ("drawn", _drawn_lines(results))):
        begins, ends = _BEGINS.format(name), _ENDS.format(name)
        before, _, rest = text.partition(begins)
        _, _, after = rest.partition(ends)
        text = f"{before}{begins}\n{lines}\n{ends}{after}"
    page.write_text(text, "utf-8")


def _measured_lines(measured: Iterable[Measured]) -> str:
    lines = [
        "| what | times | p50 s | p99 s | target p50 / p99 | lost | doubled | IDENTIFYs | interactions | … without a valid answer | … not judged | times made again | load of the machine |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {each.what} | {each.runs} | {each.p50:.2f} | {each.p99:.2f}{_missed(each)} | {_targets(each)} | {each.lost} | "
        f"{each.doubled} | {each.identifies} | {each.interactions} | {each.without_answer} | {each.unjudged} | {each.thrown_away} | {each.machine_load:.0f} |"
        for each in measured
    ]
    return "\n".join(lines)


def _missed(one: Measured) -> str:
    over = (
        one.target_p50 is not None and one.p50 > one.target_p50,
        one.target_p99 is not None and one.p99 > one.target_p99,
    )
    return " **missed**" if any(over) else ""


def _drawn_lines(results: Results) -> str:
    lines = [
        "| fault | what happens | times | stood still: p50 s | p99 s | lost | doubled | named losses | IDENTIFYs | promises broken |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.fault.partition('-')[0]} | {row.what} | {row.runs} | {row.p50:.2f} | {row.p99:.2f} | {row.lost} | {row.doubled} | "
        f"{row.named} | {row.identifies} | {len(row.violations)} |"
        for row in results.rows
    ]
    told = (
        f"{len(results.seeds)} runs (seeds {min(results.seeds, default=0)} to {max(results.seeds, default=0)}), "
        f"{results.interactions:,} interactions ({results.unjudged} not judged), the slowest first answer after {results.slowest_answer_ms / 1000:.1f} s."
    )
    return "\n".join([*lines, "", told])


def _row(name: str, seen: list[Observation]) -> Row:
    fault = faults.ALL[name]
    times = [one.standstill for one in seen]
    return Row(
        fault=name,
        what=fault.what,
        runs=len(seen),
        p50=round(percentile(times, 0.5), 3),
        p99=round(percentile(times, 0.99), 3),
        target=fault.target,
        lost=sum(one.lost for one in seen),
        doubled=sum(one.doubled for one in seen),
        named=sum(one.named for one in seen),
        identifies=sum(one.identifies for one in seen),
        identifies_allowed=sum(one.identifies for one in seen if one.identifies_allowed),
        violations=sorted({each for one in seen for each in one.violations}),
    )
