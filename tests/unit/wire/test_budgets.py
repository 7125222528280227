"""The pod's share of the global limit, in virtual time."""

import asyncio

import pytest
import virtual
from virtual import now

from modbot.discord.budgets import Budget, EgressClosedError


async def takers(budget, count):
    times = []

    async def one():
        await budget.take()
        times.append(now())

    await asyncio.gather(*(one() for _ in range(count)))
    return times


def test_no_second_sees_more_than_a_tenth_above_the_rate():
    async def scenario():
        return await takers(Budget(per_second=20), 100)

    times = virtual.run(scenario)
    assert times == sorted(times)
    for start in times:
        assert sum(start <= time < start + 1 - 1e-6 for time in times) <= 22
    assert times[-1] == pytest.approx(98 / 20, abs=0.01)


def test_newcomers_do_not_postpone_those_who_wait():
    async def scenario():
        budget = Budget(per_second=1)
        await budget.take()
        first = asyncio.create_task(budget.take())
        rest = []
        for _ in range(9):
            await asyncio.sleep(0.1)
            rest.append(asyncio.create_task(budget.take()))
        await first
        at = now()
        for each in rest:
            each.cancel()
        return at

    assert virtual.run(scenario) == pytest.approx(1.0)


def test_without_a_share_nothing_leaves_and_a_grant_lets_go():
    async def scenario():
        budget = Budget()
        waiting = asyncio.create_task(budget.take())
        await asyncio.sleep(50)
        assert not waiting.done()
        budget.set_share(10, True)
        await waiting
        return now()

    assert virtual.run(scenario) == pytest.approx(50.1)


def test_pause_holds_all():
    async def scenario():
        budget = Budget(per_second=50)
        budget.pause(7)
        await budget.take()
        return now()

    assert virtual.run(scenario) == pytest.approx(7)


def test_breaker_refuses_new_and_waiting_requests_until_it_closes():
    async def scenario():
        budget = Budget(per_second=1)
        await budget.take()
        waiting = asyncio.create_task(budget.take())
        await asyncio.sleep(0)
        budget.set_share(1, False)
        with pytest.raises(EgressClosedError):
            await waiting
        with pytest.raises(EgressClosedError):
            await budget.take()
        budget.set_share(1, True)
        await budget.take()

    virtual.run(scenario)


def test_reports_are_given_once():
    async def scenario():
        budget = Budget(per_second=50)
        for _ in range(3):
            budget.count_invalid()
        await takers(budget, 4)
        return budget.take_invalid(), budget.take_invalid(), budget.take_demand(), budget.take_demand()

    assert virtual.run(scenario) == (3, 0, 4, 0)


def test_a_waiter_that_gives_up_leaves_the_line():
    async def scenario():
        budget = Budget(per_second=1)
        await budget.take()
        gone = asyncio.create_task(budget.take())
        stays = asyncio.create_task(budget.take())
        await asyncio.sleep(0)
        gone.cancel()
        await stays
        return now()

    assert virtual.run(scenario) == pytest.approx(1.0)


def test_what_can_wait_waits_for_everybody_else():
    async def scenario():
        budget, order = Budget(per_second=5), []

        async def one(name, *, background):
            await budget.take(background=background)
            order.append(name)

        await budget.take()
        tasks = [asyncio.create_task(one("later", background=True)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(one("now", background=False)) for _ in range(5)]
        await asyncio.gather(*tasks)
        return order

    assert virtual.run(scenario) == ["now"] * 5 + ["later"] * 3


def test_what_can_wait_takes_at_most_half_of_the_rate():
    async def scenario():
        budget, times = Budget(per_second=10), []
        for _ in range(20):
            await budget.take(background=True)
            times.append(now())
        return times

    assert virtual.run(scenario)[-1] == pytest.approx(19 * 2 / 10, abs=0.05)


def test_an_urgent_request_finds_the_bucket_at_most_one_token_short():
    async def scenario():
        budget = Budget(per_second=4)

        async def read_back():
            while True:
                await budget.take(background=True)

        reading = asyncio.create_task(read_back())
        waits = []
        for _ in range(10):
            await asyncio.sleep(0.73)
            started = now()
            await budget.take()
            waits.append(now() - started)
        reading.cancel()
        return waits

    assert max(virtual.run(scenario)) <= 1 / 4 + 0.01


def test_a_breaker_that_opens_refuses_what_can_wait_as_well():
    async def scenario():
        budget = Budget(per_second=0)
        waiting = asyncio.create_task(budget.take(background=True))
        await asyncio.sleep(1)
        budget.set_share(0, False)
        with pytest.raises(EgressClosedError):
            await waiting

    virtual.run(scenario)
