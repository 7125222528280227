"""When to send a heartbeat, and when a silent connection is dead.

Discord's rule: the first beat after `interval * random`, then one per interval; no acknowledgement between two beats means a
zombie connection. Taken literally the rule kills healthy connections: while a flood of GUILD_CREATEs is being read, or while we
do not read because the owner's queue is full, the acknowledgement waits in line behind the data, and reconnecting starts the
flood anew. So a missing acknowledgement is judged by what else happened since the beat:

* we were not reading (back-pressure): nothing is known, the connection lives;
* nothing at all arrived: dead, at the first missing acknowledgement;
* data arrived: alive, for at most `PATIENCE` beats, after which a connection that delivers but never acknowledges is dead too.

Pure: the clock's values come in as arguments (seconds, monotonic).
"""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 3


class Heart:
    """The heartbeat of one connection."""

    def __init__(self, *, interval: float, fraction: float, now: float) -> None:
        """`interval` in seconds from HELLO; `fraction` in [0, 1) spreads the first beats of many sessions."""
        self._interval = interval
        self._due = now + interval * fraction
        self._sent_at: float | None = None
        self._unanswered = 0
        self._frames = 0
        self._blocked = False
        self.latency: float | None = None

    def seconds_until_due(self, now: float) -> float:
        """Return how long to wait for the next beat."""
        return max(0.0, self._due - now)

    def beaten(self, now: float) -> None:
        """Note that a regular beat was sent."""
        self._due = now + self._interval
        self._sent_at = now
        self._unanswered += 1
        self._frames = 0
        self._blocked = False

    def acknowledged(self, now: float) -> None:
        """Note an acknowledgement, of a regular or a requested beat."""
        if self._sent_at is not None and self._unanswered:
            self.latency = now - self._sent_at
        self._unanswered = 0

    def frame_seen(self) -> None:
        """Note that anything was read."""
        self._frames += 1

    def reading_blocked(self) -> None:
        """Note that the socket was not being read for a while."""
        self._blocked = True

    def why_dead(self) -> str | None:
        """Return why the connection counts as dead when the next beat is due, or `None` while it lives."""
        if not self._unanswered or self._blocked:
            return None
        if not self._frames:
            return "no heartbeat acknowledgement and no data"
        if self._unanswered >= PATIENCE:
            return f"no acknowledgement of {self._unanswered} heartbeats"
        return None
