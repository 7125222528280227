"""The lease keeper: a pod's right to act, and the reason why it may believe in it.

What a lease is. The config service says "you own these shards for N seconds". It counts N on PostgreSQL's clock from the moment it
writes the row. The pod cannot know that moment, only that it lies after the request was sent. So the pod counts N seconds on its own
monotonic clock **from before it sent the request**: its belief ends before the service's row does, whatever the network did in
between. No two clocks are ever compared; what is left is that both run at about the same speed, and a lease of seconds makes that
error microseconds.

What a lease is for. Before an effect leaves the pod, somebody asks `valid_for(seconds)` with the whole time that the effect may take
(I2). The answer is a comparison of two numbers, can be asked from any thread and never waits.

What can go wrong, and what happens then:

- The config service or PostgreSQL is away. The keeper goes on trying, with jitter and growing pauses that never exceed the renewal
  interval, so that a short outage costs nothing and a long one ends in `on_lost` when the time is over. A later success calls
  `on_grant` again: an expired lease that nobody took is simply renewed.
- The process was stopped (SIGSTOP, a frozen machine, a long garbage collection, a blocking call on the event loop). A clock may have
  stood still or run behind meanwhile, so the numbers could look fine while the world went on. A heartbeat on the event loop notices
  that it came late; more than `STALL_LIMIT` voids the lease until a renewal *sent after that* succeeds. `valid_for` looks at the
  age of the heartbeat itself, so that code that runs first after a stall, even before the heartbeat does, gets "no".
- Somebody else became the owner. The service answers 409: this incarnation has ended and can never come back. The keeper stops and
  calls `on_dead`; the process must stop writing and start again as a new incarnation.
- All peers agree that nobody reaches the config service. Then `failsafe.py` lets the pod act for longer; its proof is there. This keeper
  tells it of every answer, and `valid_for` counts what it allows like the lease.
- The lease changes early (a shard was granted or moved). The watch stream shows it, `notice()` renews at once.
- This pod completes a handoff. The answer says what the next grant will say, so `gain()` adds it to the present one; only a renewal
  that was sent after that answer knows better, and an older one that is still under way does not take the shard away again.

Two renewals are never under way at the same time, so grants are seen in order. The callbacks run on the event loop and must return
at once. The keeper never opens or closes a shard, sends nothing to Discord, and does not decide what an ended pod does next.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog

from modbot.cluster import protocol
from modbot.cluster.failsafe import Failsafe
from modbot.domain.errors import ModbotError, StaleEpochError
from modbot.domain.ids import PodId, ShardId

STALL_LIMIT = 1.5
BEAT = 0.1
_RENEWALS_PER_LEASE = 4
_FIRST_RETRY = 0.1
_REGISTER_LIMIT = 5.0
_log = structlog.get_logger(__name__)


class Clock(Protocol):
    """Monotonic time of this process, in seconds; replaced in tests."""

    def now(self) -> float:
        """Return the time."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The real clock. Where the system has one, it is the clock that also counts the time the machine slept."""

    _source: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> float:
        """Return seconds since some fixed moment; from any thread."""
        return time.clock_gettime(self._source)

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)


class LeaseClient(Protocol):
    """The calls that the keeper makes; `ConfigClient` has them."""

    async def register(self, pod_id: PodId, request: protocol.RegisterRequest, *, limit: float = ...) -> protocol.Grant:
        """Introduce an incarnation."""

    async def renew(self, pod_id: PodId, request: protocol.RenewRequest, *, limit: float = ...) -> protocol.Grant:
        """Extend the lease."""

    async def leave(self, pod_id: PodId, request: protocol.LeaveRequest) -> None:
        """End the incarnation."""


@dataclass(frozen=True, slots=True)
class Measurements:
    """What the pod reports with a renewal."""

    shards: tuple[protocol.ShardLoad, ...] = ()
    rest_demand: float = 0.0
    invalid_requests: int = 0
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who is told. `measure` is asked before every renewal; what it counted is handed back to `unreported` when that renewal failed."""

    on_grant: Callable[[protocol.Grant], None]
    on_lost: Callable[[], None]
    on_dead: Callable[[ModbotError], None]
    measure: Callable[[], Measurements] = Measurements
    unreported: Callable[[Measurements], None] = lambda _lost: None


class LeaseKeeper:
    """Registers one incarnation and keeps its lease: `await run()` in a task of its own, ask `valid_for()` from anywhere."""

    def __init__(
        self,
        client: LeaseClient,
        pod_id: PodId,
        request: protocol.RegisterRequest,
        *,
        hooks: Hooks,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._pod_id = pod_id
        self._request = request
        self._hooks = hooks
        self._clock = clock or SystemClock()
        self._wanted = asyncio.Event()
        self._grant: protocol.Grant | None = None
        self._gained: dict[ShardId, tuple[float, protocol.Shard]] = {}
        self._until = float("-inf")
        self._voided_at = float("-inf")
        self._beat_at = float("-inf")
        self._held = False
        self._registered = False
        self.failsafe = Failsafe(pod_id, request.incarnation, now=self._clock.now)

    def valid_for(self, seconds: float) -> bool:
        """Say whether the lease is certain to last that long from now (I2). From any thread, without waiting."""
        now = self._clock.now()
        return now - self._beat_at <= BEAT + STALL_LIMIT and now + seconds <= self._acts_until()

    def seconds_left(self) -> float:
        """Return how long the lease (or what failsafe mode allows) still lasts; 0 when it is over."""
        return max(0.0, self._acts_until() - self._clock.now())

    async def valid(self, seconds: float) -> None:
        """Wait until the lease is certain to last that long."""
        while not self.valid_for(seconds):
            await self._clock.sleep(BEAT)

    @property
    def grant(self) -> protocol.Grant | None:
        """The last grant, whether or not its time is over."""
        return self._grant

    def renew_soon(self) -> None:
        """Renew now instead of at the next turn."""
        self._wanted.set()

    def gain(self, shard: protocol.Shard) -> None:
        """Add a shard that the config service has just made ours to the grant; the lease is not longer for it."""
        if self._grant is None:
            return
        self._gained[shard.shard_id] = (self._clock.now(), shard)
        self._grant = _with(self._grant, [shard])
        self._hooks.on_grant(self._grant)
        self.renew_soon()

    def notice(self, line: protocol.WatchLine) -> None:
        """Look at a line of the watch stream; renew at once when it says something about this pod that the grant does not."""
        if isinstance(line, protocol.Table | protocol.Change) and self._grant is not None and self._differs(line):
            self.renew_soon()

    async def run(self) -> None:
        """Register and renew until this incarnation has ended (then `on_dead` was called) or the task is cancelled."""
        self._beat_at = self._clock.now()
        heart = asyncio.create_task(self._beat())
        try:
            await self._keep()
        finally:
            self._until = float("-inf")
            self.failsafe.end()
            heart.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await heart

    async def leave(self, *, keep: bool) -> None:
        """Give the lease up, after the task of `run()` was ended. `keep`: the shards wait for this pod."""
        self._until = float("-inf")
        self._held = False
        self.failsafe.end()
        await self._client.leave(self._pod_id, protocol.LeaveRequest(incarnation=self._request.incarnation, keep=keep))

    async def _keep(self) -> None:
        failures = 0
        while True:
            self._wanted.clear()
            try:
                accepted = await self._ask()
            except StaleEpochError as error:
                self._end(error)
                return
            except ModbotError as error:
                failures += 1
                _log.warning("lease_not_renewed", code=error.code, error=str(error), failures=failures)
                await self._pause(self._retry_delay(failures))
                continue
            failures = 0
            if accepted:
                await self._pause(self._interval())

    async def _ask(self) -> bool:
        """Register or renew once; False when a stall meanwhile makes the answer worthless."""
        sent_at = self._clock.now()
        if self._registered:
            grant = await self._renew()
        else:
            grant = await self._client.register(self._pod_id, self._request, limit=_REGISTER_LIMIT)
        self._registered = True
        self.failsafe.answered()
        self._watch_for_stall()
        if sent_at < self._voided_at:
            return False
        self._gained = {key: each for key, each in self._gained.items() if each[0] >= sent_at}
        self._grant = _with(grant, [shard for _, shard in self._gained.values()])
        self._until = sent_at + grant.lease_seconds
        self.failsafe.renewed(sent_at, grant)
        self._held = True
        self._hooks.on_grant(self._grant)
        return True

    async def _renew(self) -> protocol.Grant:
        measured = self._hooks.measure()
        request = protocol.RenewRequest(
            incarnation=self._request.incarnation,
            shards=list(measured.shards),
            rest_demand=measured.rest_demand,
            rest_held=0.0 if self._grant is None else self._grant.rest_per_second,
            invalid_requests=measured.invalid_requests,
            draining=measured.draining,
            answer=0 if self._grant is None else self._grant.number,
        )
        try:
            return await self._client.renew(self._pod_id, request, limit=self._lease_seconds() / 3)
        except BaseException:
            self._hooks.unreported(measured)
            raise

    async def _beat(self) -> None:
        """Prove that the event loop runs, and tell when the time is over."""
        while True:
            await self._clock.sleep(BEAT)
            self._watch_for_stall()
            self._beat_at = self._clock.now()
            if self._held and self._beat_at >= self._acts_until():
                self._lose("expired")

    def _watch_for_stall(self) -> None:
        now = self._clock.now()
        if now - self._beat_at <= BEAT + STALL_LIMIT:
            return
        self._voided_at, self._beat_at, self._until = now, now, float("-inf")
        self.failsafe.void()
        self._lose("stalled")
        self.renew_soon()

    def _lose(self, reason: str) -> None:
        if self._held:
            self._held = False
            _log.warning("lease_lost", reason=reason)
            self._hooks.on_lost()

    def _end(self, error: ModbotError) -> None:
        self._until = float("-inf")
        self._held = False
        self.failsafe.end()
        _log.error("incarnation_ended", error=str(error))
        self._hooks.on_dead(error)

    def _acts_until(self) -> float:
        return max(self._until, self.failsafe.until)

    def _differs(self, line: protocol.Table | protocol.Change) -> bool:
        mine = {} if self._grant is None else {shard.shard_id: shard.epoch for shard in self._grant.shards}
        incarnation = self._request.incarnation
        coming = set() if self._grant is None else {shard.move_id for shard in self._grant.incoming}
        for shard in line.shards:
            if (shard.target_incarnation == incarnation) != (shard.move_id in coming) and shard.move_id:
                return True
            if shard.incarnation == incarnation and mine.get(shard.shard_id) != shard.epoch:
                return True
            if shard.incarnation != incarnation and shard.epoch >= mine.get(shard.shard_id, shard.epoch + 1):
                return True
        return any(
            pod.pod_id == self._pod_id and (pod.incarnation != incarnation or pod.state is not protocol.PodState.LIVE)
            for pod in line.pods
        )

    async def _pause(self, seconds: float) -> None:
        waits = [
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._wanted.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _lease_seconds(self) -> float:
        return _REGISTER_LIMIT if self._grant is None else self._grant.lease_seconds

    def _interval(self) -> float:
        return self._lease_seconds() / _RENEWALS_PER_LEASE

    def _retry_delay(self, failures: int) -> float:
        longest = min(self._interval(), _FIRST_RETRY * 2.0 ** min(failures, 10))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret


def _with(grant: protocol.Grant, gained: Sequence[protocol.Shard]) -> protocol.Grant:
    """Return a grant with shards that it may not know yet, in place of what it says about their handoffs."""
    known = {shard.shard_id: shard.epoch for shard in grant.shards}
    new = [shard for shard in gained if shard.epoch > known.get(shard.shard_id, -1)]
    names, arrived = {shard.shard_id for shard in new}, {shard.since_move for shard in new}
    return msgspec.structs.replace(
        grant,
        shards=[*(shard for shard in grant.shards if shard.shard_id not in names), *new],
        incoming=[shard for shard in grant.incoming if shard.move_id not in arrived],
    )
