"""How often an application may IDENTIFY: so many per day, and one per 5 seconds and place in the concurrency ring.

Refuses to sleep or to read a clock: moments are monotonic seconds and given.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from discordsim.switches import Switches
from discordsim.world.payloads import Json

DAY = 86_400.0


class Verdict(StrEnum):
    """What becomes of an IDENTIFY."""

    ACCEPTED = "accepted"
    TOO_FAST = "too_fast"
    EXHAUSTED = "exhausted"


@dataclass(slots=True)
class IdentifyBudget:
    """The budget of one application."""

    window_start: float | None = None
    used: int = 0
    _last: dict[int, float] = field(default_factory=dict)

    def spend(self, shard_id: int, switches: Switches, now: float) -> Verdict:
        """Take one IDENTIFY for a shard if there is one."""
        self._roll(now)
        if self.used >= switches.identify_limit:
            return Verdict.EXHAUSTED
        key = shard_id % switches.max_concurrency
        if now - self._last.get(key, float("-inf")) < switches.identify_interval:
            return Verdict.TOO_FAST
        self._last[key] = now
        self.window_start = now if self.window_start is None else self.window_start
        self.used += 1
        return Verdict.ACCEPTED

    def payload(self, switches: Switches, now: float) -> Json:
        """Return the session start limit object; `reset_after` in milliseconds."""
        self._roll(now)
        left = DAY if self.window_start is None else self.window_start + DAY - now
        return {
            "total": switches.identify_limit,
            "remaining": max(switches.identify_limit - self.used, 0),
            "reset_after": int(left * 1000),
            "max_concurrency": switches.max_concurrency,
        }

    def _roll(self, now: float) -> None:
        if self.window_start is not None and now - self.window_start >= DAY:
            self.window_start, self.used = None, 0
