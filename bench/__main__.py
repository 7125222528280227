"""Run the benchmarks, print the table, write build/bench.json.

A row is {name, value, unit, target, better}; `better` says whether higher or lower is wanted. A missed target is shown, not hidden, and
does not fail the run: a figure depends on the machine.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

MODULES = ("decode", "pipeline", "interactions", "whole_way", "memory", "archives", "rebalancing")


def main(names: list[str]) -> int:
    rows: list[dict[str, object]] = []
    for name in names or MODULES:
        sys.stderr.write(f"measuring {name} …\n")
        rows += importlib.import_module(f"bench.{name}").run()
    Path("build").mkdir(exist_ok=True)
    Path("build/bench.json").write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    Console(width=110).print(_table(rows))
    return 0


def _table(rows: list[dict[str, object]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("MEASURED")
    table.add_column("VALUE", justify="right")
    table.add_column("UNIT")
    table.add_column("TARGET", justify="right")
    table.add_column("")
    for row in rows:
        target = row["target"]
        wanted = "" if target is None else f"{'≥' if row['better'] == 'higher' else '≤'} {_number(target)}"
        table.add_row(str(row["name"]), _number(row["value"]), str(row["unit"]), wanted, _verdict(row))
    return table


def _verdict(row: dict[str, object]) -> str:
    value, target = row["value"], row["target"]
    if target is None or not isinstance(value, int | float) or not isinstance(target, int | float):
        return ""
    reached = value >= target if row["better"] == "higher" else value <= target
    return "[green]reached[/]" if reached else "[red]missed[/]"


def _number(value: object) -> str:
    if isinstance(value, float) and abs(value) < 100:
        return f"{value:.2f}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


sys.exit(main(sys.argv[1:]))
