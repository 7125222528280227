"""Ids as Discord makes them: milliseconds since 2015, a worker, a counter. Strictly rising, even when the clock is not.

Refuses to use chance: the same clock readings give the same ids.
"""

from collections.abc import Callable

EPOCH_MS = 1_420_070_400_000
_COUNTER_BITS = 22


def at(seconds: float, increment: int = 0) -> int:
    """Return the snowflake of a moment in unix seconds; `increment` tells several of one millisecond apart."""
    return max(int(seconds * 1000) - EPOCH_MS, 0) << _COUNTER_BITS | increment


def created_at(snowflake: int) -> float:
    """Return the unix seconds at which an id was made."""
    return ((snowflake >> _COUNTER_BITS) + EPOCH_MS) / 1000


class Snowflakes:
    """A source of ids over a clock in unix seconds."""

    def __init__(self, clock: Callable[[], float], *, after: int = 0) -> None:
        self._clock = clock
        self._last = after

    @property
    def last(self) -> int:
        """Return the highest id given so far."""
        return self._last

    def next(self) -> int:
        """Return an id above all ids given before."""
        self._last = max(at(self._clock()), self._last + 1)
        return self._last
