"""`--wait`: follows moves with a progress bar on stderr, until what was asked for is so, has failed, or takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from modbot.cli import tables
from modbot.domain.errors import UnavailableError

_EVERY = 0.25


@dataclass(frozen=True, slots=True)
class State:
    """How far it is: `left` shards of those that have to move, whether it is over, whether it failed, and a word about it."""

    left: int
    over: bool = False
    failed: bool = False
    word: str = ""


async def follow(title: str, look: Callable[[], Awaitable[State]], *, timeout: float) -> State:  # noqa: ASYNC109 - the user's
    """Ask until it is over or `timeout` seconds have passed. A config service that does not answer for a moment is asked again."""
    clock = asyncio.get_running_loop().time
    until = clock() + timeout
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=tables.console(stderr=True)) as progress:
        task = progress.add_task(title, total=None)
        most = 0
        while True:
            try:
                state = await look()
            except UnavailableError as error:
                state = State(most, word=str(error))
            most = max(most, state.left)
            progress.update(task, total=most or 1, completed=(most or 1) - state.left, description=title)
            if state.over:
                return state
            if clock() >= until:
                return State(state.left, failed=True, word=state.word or f"It is not done after {timeout:g} s.")
            await asyncio.sleep(_EVERY)
