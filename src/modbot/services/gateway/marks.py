"""What is known to be in the replica of one shard, and since when something is missing there.

Every commit that changed the file is counted. Before a barrier is asked for, the count and the committed offset are noted; when it was
passed, the replica holds at least what was noted. Everything here errs to one side: a commit may be in the replica already and still
count as missing, never the other way round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from modbot.domain.offsets import Offset


@dataclass(frozen=True, slots=True)
class Noted:
    """What is committed before a barrier is asked for."""

    changes: int
    offset: Offset | None


class Marks:
    """The account of one shard under one owner; all on the event loop."""

    def __init__(self, held: Offset | None, *, now: Callable[[], float]) -> None:
        self.held = held
        self._now = now
        self._changes = 0
        self._covered = -1  # what the file held at the start is not covered yet
        self._missing_since: float | None = now()
        self._asked_since: float | None = None
        self._moved = asyncio.Event()
        self._closed = False

    @property
    def lag(self) -> float:
        """Seconds since the oldest commit that is not known to be in the replica; 0 when there is none."""
        since = self._asked_since if self._asked_since is not None else self._missing_since
        return 0.0 if since is None else max(0.0, self._now() - since)

    def changed(self) -> None:
        """Count a commit."""
        self._changes += 1
        if self._missing_since is None:
            self._missing_since = self._now()

    def note(self, offset: Offset | None) -> Noted:
        """Note what is committed now; a barrier that is asked for after this covers it."""
        if self._asked_since is None:  # else an earlier barrier was never answered
            self._asked_since = self._missing_since
        self._missing_since = None
        return Noted(self._changes, offset)

    def confirm(self, noted: Noted) -> None:
        """The barrier was passed."""
        self._asked_since = None
        self._covered = noted.changes
        self.held = noted.offset
        self._ring()

    def give_back(self) -> None:
        """The barrier failed: what was noted is still missing."""
        if self._asked_since is not None:
            self._missing_since, self._asked_since = self._asked_since, None

    def close(self) -> None:
        """Nobody confirms any more."""
        self._closed = True
        self._ring()

    async def reached(self) -> bool:
        """Wait until everything counted so far is covered; False when the account was closed before."""
        wanted = self._changes
        while self._covered < wanted:
            if self._closed:
                return False
            await self._moved.wait()
        return True

    def _ring(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
