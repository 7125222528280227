"""The time of day for rows and timers, unmoved by a clock that jumps.

Somebody sets a node's clock, or it was wrong and NTP corrects it: the system clock jumps by an hour, and every timer of an hour would
fire at once, or late. So the time of day is read once, at the start; from then on it goes on by the monotonic clock, and follows the
system clock slowly, by at most `SLEW` of the time that passes. A difference of an hour is made good within half a day. Leases,
limits and deadlines use no time of day at all.

It never goes back. It does not know which of the two clocks is right, and asks nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

SLEW = 0.1
NOTABLE = 5.0
"""A difference of this many seconds is logged, once."""
_log = structlog.get_logger(__name__)


class SteadyClock:
    """Call it for the time of day (aware, UTC). From any thread; `wall` and `monotonic` are replaced in tests."""

    def __init__(
        self, *, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._known = (monotonic(), wall())
        self._warned = False

    def __call__(self) -> datetime:
        """Return the time of day."""
        then, told = self._known
        now = self._monotonic()
        elapsed = max(0.0, now - then)
        steady = told + elapsed
        difference = self._wall() - steady
        self._notice(difference)
        most = elapsed * SLEW
        moment = max(told, steady + max(-most, min(most, difference)))
        self._known = (now, moment)  # one assignment: two threads at once cost a slew, never a jump
        return datetime.fromtimestamp(moment, UTC)

    def _notice(self, difference: float) -> None:
        differs = abs(difference) >= NOTABLE
        if differs == self._warned:
            return
        self._warned = differs
        if differs:
            _log.warning("system_clock_differs", seconds=round(difference, 1))
        else:
            _log.info("system_clock_agrees")
