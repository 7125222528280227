"""Rate-limit buckets, in virtual time."""

import asyncio

import pytest
import virtual
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual import now

from modbot.discord import routes
from modbot.discord.buckets import Bucket, Buckets, Limits, limits_of
from modbot.domain.ids import ChannelId
from modbot.ops.settings import Secret


def limits(remaining, *, limit=5, reset_after=10.0, name="abc"):
    return Limits(name=name, limit=limit, remaining=remaining, reset_after=reset_after)


def test_headers_are_read_or_not_at_all():
    headers = {
        "X-RateLimit-Bucket": "abc", "X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "3",
        "X-RateLimit-Reset-After": "0.25",
    }  # fmt: skip
    assert limits_of(headers) == limits(3, reset_after=0.25)
    assert limits_of({}) is None
    assert limits_of(headers | {"X-RateLimit-Remaining": "many"}) is None


def test_unknown_limit_lets_one_through_at_a_time():
    async def scenario():
        bucket = Bucket()
        await bucket.enter()
        second = asyncio.create_task(bucket.enter())
        await asyncio.sleep(100)
        assert not second.done()
        bucket.leave(limits(4))
        await second
        await bucket.enter()

    virtual.run(scenario)


def test_exhausted_bucket_waits_for_the_reset_in_order():
    async def scenario():
        bucket, order = Bucket(), []
        await bucket.enter()
        bucket.leave(limits(0, limit=2, reset_after=10))

        async def client(name):
            await bucket.enter()
            order.append((name, now()))
            await asyncio.sleep(1)
            bucket.leave(limits(0, limit=2, reset_after=10))

        await asyncio.gather(*(client(name) for name in "abcd"))
        return order

    order = virtual.run(scenario)
    assert [name for name, _ in order] == list("abcd")
    times = [time for _, time in order]
    assert times[0] == times[1] == pytest.approx(10)
    assert times[2] >= 20


def test_late_answers_of_one_window_never_raise_the_count():
    async def scenario():
        bucket = Bucket()
        await bucket.enter()
        bucket.leave(limits(2, reset_after=10))
        await bucket.enter()
        await bucket.enter()
        bucket.leave(limits(0, reset_after=10))
        bucket.leave(limits(1, reset_after=10))
        third = asyncio.create_task(bucket.enter())
        await asyncio.sleep(5)
        assert not third.done()
        await third
        return now()

    assert virtual.run(scenario) == pytest.approx(10)


def test_block_holds_everybody():
    async def scenario():
        bucket = Bucket()
        await bucket.enter()
        bucket.block(30)
        bucket.leave(limits(4, reset_after=1))
        await bucket.enter()
        return now()

    assert virtual.run(scenario) == pytest.approx(30)


def test_route_without_limits_is_not_held_up():
    async def scenario():
        bucket = Bucket()
        await bucket.enter()
        waiting = [asyncio.create_task(bucket.enter()) for _ in range(20)]
        bucket.leave(None, answered=True)
        await asyncio.gather(*waiting)
        return now()

    assert virtual.run(scenario) == 0


def test_lost_answers_and_cancelled_waiters_do_not_stop_the_queue():
    async def scenario():
        bucket = Bucket()
        await bucket.enter()
        doomed = asyncio.create_task(bucket.enter())
        granted = asyncio.create_task(bucket.enter())
        last = asyncio.create_task(bucket.enter())
        await asyncio.sleep(0)
        doomed.cancel()
        await asyncio.sleep(0)
        bucket.leave(None)
        granted.cancel()  # its turn was just given
        await last
        bucket.leave(None)
        assert bucket.idle
        with pytest.raises(asyncio.CancelledError):
            await granted

    virtual.run(scenario)


def test_a_waiter_that_a_wake_up_has_dropped_already_is_cancelled_all_the_same():
    """Somebody leaves between the cancellation of the wait and the moment when the waiter learns of it."""

    async def scenario():
        bucket = Bucket()
        await bucket.enter()
        doomed = asyncio.create_task(bucket.enter())
        await asyncio.sleep(0)
        doomed.cancel()
        bucket.leave(None)
        with pytest.raises(asyncio.CancelledError):
            await doomed
        assert bucket.idle

    virtual.run(scenario)


@settings(deadline=None, max_examples=60)
@given(
    limit=st.integers(1, 5),
    latencies=st.lists(st.floats(0.01, 3), min_size=1, max_size=25),
    window=st.floats(1, 8),
)
def test_a_server_with_fixed_windows_never_sees_more_than_its_limit(limit, latencies, window):
    """The server counts at arrival, and answers some time later."""

    class Server:
        def __init__(self):
            self.start = None
            self.count = 0
            self.refused = 0

        def arrive(self):
            if self.start is None or now() >= self.start + window - 1e-6:
                self.start, self.count = now(), 0
            self.count += 1
            self.refused += self.count > limit
            return max(0, limit - self.count), self.start + window

    async def scenario():
        bucket, server = Bucket(), Server()

        async def client(latency):
            await bucket.enter()
            remaining, end = server.arrive()
            await asyncio.sleep(latency)
            bucket.leave(limits(remaining, limit=limit, reset_after=max(0.0, end - now())))

        await asyncio.gather(*(client(each) for each in latencies))
        return server.refused

    assert virtual.run(scenario) == 0


def test_routes_share_a_bucket_once_named_but_not_across_channels():
    async def scenario():
        buckets = Buckets()
        first = routes.create_message(ChannelId(1))
        other = routes.get_messages(ChannelId(1))
        assert buckets.of(first) is not buckets.of(other)
        held = buckets.of(first)
        buckets.learn(first, held, limits(1))
        buckets.learn(other, buckets.of(other), limits(1))
        assert buckets.of(first) is buckets.of(other) is held
        assert buckets.of(routes.create_message(ChannelId(2))) is not held

    virtual.run(scenario)


def test_buckets_of_interactions_do_not_pile_up():
    async def scenario():
        buckets = Buckets()
        for number in range(5000):
            buckets.of(routes.edit_original(1, Secret(f"token{number}")))
        return len(buckets)

    assert virtual.run(scenario) <= 1001
