"""`modbot demo`: a scripted day with a killed pod in the middle, and a table of what was expected and what was found."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from modbot.cli import guilds as simulated
from modbot.cli.scripted_day import Check, Day
from modbot.cli.stack import Plan, Stack
from modbot.domain.errors import ModbotError

_talk = Console(stderr=True, highlight=False)


def run(*, keep: bool, guilds: int) -> int:
    """Play the day; 0 when everything is as expected, 1 otherwise."""
    folder = Path(tempfile.mkdtemp(prefix="modbot-demo-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
    started = time.monotonic()
    try:
        checks = asyncio.run(_run(folder / "state", guilds))
    except ModbotError as error:
        _talk.print(f"[red]{error}[/]\n{error.hint}\n[dim]state kept in {folder}[/]", soft_wrap=True)
        return 1
    Console().print(table(checks))
    wrong = sum(not check.right for check in checks)
    _talk.print(f"[dim]{time.monotonic() - started:.0f} s[/]")
    if keep or wrong:
        _talk.print(f"[dim]state kept in {folder}[/]", soft_wrap=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if wrong else 0


def table(checks: Sequence[Check]) -> Table:
    """Build the evening's table; it fits 80 columns."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("WHAT", no_wrap=True)
    made.add_column("EXPECTED", justify="right")
    made.add_column("FOUND", justify="right")
    made.add_column("")
    for check in checks:
        verdict = "[green]✓[/]" if check.right else "[red]✗[/]"
        made.add_row(check.what, f"{check.expected:,}", f"{check.found:,}", verdict)
    return made


async def _run(state: Path, guilds: int) -> list[Check]:
    plan = Plan(
        state=state,
        guilds=guilds,
        chat_port=0,
        portal_port=0,
        config_port=0,
        gateway_port=0,
        tell=lambda line: _talk.print(f"[yellow]{line}[/]", soft_wrap=True),
    )
    _talk.print(
        "[dim]starting PostgreSQL, a simulated Discord, 1 config, 3 gateway and 2 http pods …[/]", soft_wrap=True
    )
    async with Stack.prepare(plan) as stack:
        people = await simulated.discover(stack)
        await simulated.set_up(stack, people)
        day = Day(stack, people, tell=lambda line: _talk.print(line, soft_wrap=True))
        await day.play()
        return await day.evening()
