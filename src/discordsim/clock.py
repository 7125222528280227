"""The simulator's own time: the machine's clocks plus what tests skipped.

Moving ahead moves ids, timeouts, identify windows and replay ages together. Refuses to go back.
"""

import time
from collections.abc import Callable


class SimulatorClock:
    """Wall clock and monotonic clock that can be pushed ahead by seconds."""

    def __init__(self, *, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._ahead = 0.0

    def unix(self) -> float:
        """Return unix seconds."""
        return self._wall() + self._ahead

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._steady() + self._ahead

    def advance(self, seconds: float) -> None:
        """Skip `seconds`; ValueError when negative."""
        if seconds < 0:
            raise ValueError("time only goes forward")
        self._ahead += seconds
