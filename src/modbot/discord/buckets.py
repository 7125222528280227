"""Discord's rate limit per route, kept on our side of the wire.

Discord names a limit in the answer (`X-RateLimit-Bucket`), not before it: several routes may share one, and each top-level resource
(channel, guild, webhook) has its own copy. So a route starts with a bucket of its own and, once an answer has named it, shares the
bucket of that name and resource. We never know a limit from anywhere but answers.

A bucket lets requests through strictly in the order in which they came:

* Before the first answer only one request is under way, so that a burst on an unknown route costs one request, not a row of 429s.
* After it, `remaining` counts down; at zero everybody waits for `reset`. Answers may arrive out of order, so within one window the
  count only ever shrinks, and requests under way count against a new window.
* A 429 blocks the bucket for as long as it says, whatever the counts were.
* A route whose answers carry no limit is not held up.

A guild lives on one pod, so buckets need no agreement between pods. The clock is the event loop's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec

from modbot.discord.routes import Route

_PRUNE_ABOVE: Final = 1000
_SAME_WINDOW: Final = 0.25
"""Seconds by which two answers of one window may disagree about its end."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says about its bucket. `reset_after` in seconds."""

    name: str
    limit: int
    remaining: int
    reset_after: float


def limits_of(headers: Mapping[str, str]) -> Limits | None:
    """Read the limit from an answer's headers; `None` when it has none that makes sense."""
    try:
        return Limits(
            name=headers["X-RateLimit-Bucket"],
            limit=max(1, int(headers["X-RateLimit-Limit"])),
            remaining=max(0, int(headers["X-RateLimit-Remaining"])),
            reset_after=max(0.0, float(headers["X-RateLimit-Reset-After"])),
        )
    except (KeyError, ValueError):
        return None


class Bucket:
    """One limit of one resource. `enter` before a request, `leave` after it, always."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit: int | None = None
        self._remaining = 1
        self._reset_at: float | None = None
        self._blocked_until = 0.0
        self._in_flight = 0
        self._unlimited = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether forgetting the bucket loses nothing."""
        now = self._loop.time()
        resting = self._reset_at is None or self._reset_at <= now
        return resting and not self._waiting and not self._in_flight and self._blocked_until <= now

    async def enter(self) -> None:
        """Wait for our turn and take it."""
        if not self._waiting and self._free():
            self._take()
            return
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(turn)
        self._arm()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(None)  # our turn came in the same moment: pass it on
            elif turn in self._waiting:  # a wake-up between the cancellation and this line has dropped it already
                self._waiting.remove(turn)
            raise

    def leave(self, limits: Limits | None, *, answered: bool = False) -> None:
        """Give back our turn. `answered`: Discord did answer, so the absence of limits means that there is none."""
        self._in_flight -= 1
        if limits is not None:
            self._learn(limits)
        elif answered and self._limit is None:
            self._unlimited = True
        elif self._in_flight == 0 and self._reset_at is None:
            self._remaining = max(self._remaining, self._limit or 1)
        self._wake()

    def block(self, seconds: float) -> None:
        """Let nobody through for some time (429)."""
        self._blocked_until = max(self._blocked_until, self._loop.time() + seconds)

    def _learn(self, limits: Limits) -> None:
        reset_at = self._loop.time() + limits.reset_after
        same_window = self._reset_at is not None and reset_at <= self._reset_at + _SAME_WINDOW
        expected = limits.remaining - self._in_flight
        self._remaining = max(0, min(self._remaining, limits.remaining) if same_window else expected)
        self._reset_at = max(reset_at, self._reset_at) if same_window and self._reset_at is not None else reset_at
        self._limit = limits.limit
        self._unlimited = False

    def _free(self) -> bool:
        now = self._loop.time()
        if now < self._blocked_until:
            return False
        if self._reset_at is not None and now >= self._reset_at:
            self._reset_at = None
            self._remaining = max(0, (self._limit or 1) - self._in_flight)
        return self._unlimited or self._remaining > 0

    def _take(self) -> None:
        self._in_flight += 1
        self._remaining = max(0, self._remaining - 1)

    def _wake(self) -> None:
        while self._waiting and self._free():
            turn = self._waiting.popleft()
            if not turn.done():
                self._take()
                turn.set_result(None)
        self._arm()

    def _arm(self) -> None:
        """Wake up when time alone will free the bucket; otherwise the next `leave` does."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = max(self._blocked_until, self._reset_at or 0.0)
        if self._waiting and due > self._loop.time():
            self._timer = self._loop.call_at(due, self._wake)


class Buckets:
    """All buckets of one client."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def of(self, route: Route) -> Bucket:
        """Return the bucket that a request of this route has to pass now."""
        name = self._names.get((route.method, route.template), str(route))
        key = (name, route.major)
        if key not in self._buckets:
            self._prune()
            self._buckets[key] = Bucket()
        return self._buckets[key]

    def learn(self, route: Route, bucket: Bucket, limits: Limits) -> None:
        """Note the name that an answer gave to the bucket that the request has passed."""
        self._names[route.method, route.template] = limits.name
        self._buckets.setdefault((limits.name, route.major), bucket)

    def __len__(self) -> int:
        return len(self._buckets)

    def _prune(self) -> None:
        """Interactions have a bucket each: forget those that are at rest."""
        if len(self._buckets) >= _PRUNE_ABOVE:
            self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.idle}
