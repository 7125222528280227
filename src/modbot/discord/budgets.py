"""This pod's share of what all pods together may send, and its report of what went wrong.

Discord allows 50 requests per second per bot, whatever the route, and bans the *address* that sends 10,000 requests in ten minutes
that are answered with 401, 403 or 429. Both are facts of the fleet, not of a pod. The config service therefore leases each pod
a rate, asks how many invalid requests it had, and closes the egress of an address (the breaker) well before the ban.

The budget is a token bucket that holds at most a tenth of a second's tokens (at least one): a second never sees more than 1.1
times the rate, and unused time is not saved up. Waiters are served in order. What can wait (`background`) gets a token only while nobody else waits, and at most every other one, so that
an urgent request finds the bucket at most one token short. Without a share nothing leaves. Answers to
interactions are outside Discord's global limit and do not take tokens, but a closed breaker holds for them too.

The clock is the event loop's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from modbot.domain.errors import UnavailableError

_BURST_SECONDS: Final = 0.1


class EgressClosedError(UnavailableError):
    """Too many requests from this address were invalid, so the fleet holds all requests back to avoid Discord's ban."""

    code = "egress_closed"
    hint = "Look for what causes 401, 403 or 429; the egress opens by itself within ten minutes."


class Budget:
    """See the module's essay."""

    def __init__(self, *, per_second: float = 0.0, open_: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._rate = per_second
        self._open = open_
        self._tokens = self._most()
        self._counted_at = self._loop.time()
        self._paused_until = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._background: deque[asyncio.Future[None]] = deque()
        self._background_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._invalid = 0
        self._demand = 0

    def set_share(self, per_second: float, open_: bool) -> None:  # noqa: FBT001 - the two facts of a grant
        """Take over a grant: requests per second, and whether anything may leave at all."""
        self._refill()
        self._rate = per_second
        self._open = open_
        self._tokens = min(self._tokens, self._most())
        if not open_:
            self._refuse_waiting()
        self._wake()

    def check_open(self) -> None:
        """Raise `EgressClosedError` while the breaker is open."""
        if not self._open:
            raise EgressClosedError("The egress of this address is closed.")

    async def take(self, *, background: bool = False) -> None:
        """Wait for a token and take it; `EgressClosedError` when the breaker opens meanwhile."""
        self._demand += 1
        self.check_open()
        waiting = self._background if background else self._waiting
        turn: asyncio.Future[None] = self._loop.create_future()
        waiting.append(turn)
        self._wake()
        try:
            await turn
        finally:
            if turn in waiting:
                waiting.remove(turn)

    def pause(self, seconds: float) -> None:
        """Let nothing through for some time (a global 429)."""
        self._paused_until = max(self._paused_until, self._loop.time() + seconds)

    def count_invalid(self) -> None:
        """Count an answer that counts towards the ban."""
        self._invalid += 1

    def take_invalid(self) -> int:
        """Return the invalid requests since the last call."""
        count, self._invalid = self._invalid, 0
        return count

    def take_demand(self) -> int:
        """Return how many requests asked for a token since the last call."""
        count, self._demand = self._demand, 0
        return count

    def _most(self) -> float:
        return max(1.0, self._rate * _BURST_SECONDS) if self._rate > 0 else 0.0

    def _refill(self) -> None:
        now = self._loop.time()
        self._tokens = min(self._most(), self._tokens + (now - self._counted_at) * self._rate)
        self._counted_at = now

    def _free(self) -> bool:
        self._refill()
        return self._tokens >= 1.0 - 1e-9 and self._loop.time() >= self._paused_until

    def _wake(self) -> None:
        while self._waiting and self._free():
            self._give(self._waiting)
        while self._background and not self._waiting and self._loop.time() >= self._background_at and self._free():
            if self._give(self._background):
                self._background_at = self._loop.time() + 2 / self._rate
        self._arm()

    def _give(self, waiting: deque[asyncio.Future[None]]) -> bool:
        """Give a token to the first one that still waits for it; False when there was none."""
        turn = waiting.popleft()
        if turn.done():
            return False
        self._tokens -= 1
        turn.set_result(None)
        return True

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (self._waiting or self._background) and self._rate > 0:
            self._refill()
            token_at = self._loop.time() + max(0.0, 1.0 - self._tokens) / self._rate
            earliest = self._paused_until if self._waiting else max(self._paused_until, self._background_at)
            self._timer = self._loop.call_at(max(token_at, earliest), self._wake)

    def _refuse_waiting(self) -> None:
        while self._waiting or self._background:
            turn = (self._waiting or self._background).popleft()
            if not turn.done():
                turn.set_exception(EgressClosedError("The egress of this address is closed."))
