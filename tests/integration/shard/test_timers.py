"""Timers: once, in order, over restarts; one that fails is buried and holds up nobody."""

from datetime import timedelta

import msgspec
import pytest
import shardkit

from modbot.domain.ids import GuildId
from modbot.shard.feature import Feature
from modbot.shard.migrations import Series

TABLES = Series("play_tables", ("CREATE TABLE fired (number INTEGER PRIMARY KEY, name TEXT, due INTEGER)",))
feature = Feature("play")


class Named(msgspec.Struct, frozen=True):
    """Arguments."""

    name: str


@feature.timer
def ring(tx, args: Named):
    tx.execute("INSERT INTO fired (name, due) VALUES (?, ?)", (args.name, tx.now_ms))
    if args.name == "sick":
        raise ValueError("sick")
    if args.name == "cancels other":
        tx.cancel_timer(ring, key="other")
    if args.name == "moves other":
        tx.timer(ring, Named("other"), key="other", after=timedelta(seconds=60))
    if args.name == "again":
        tx.timer(ring, Named("last"), key="again", after=timedelta(seconds=5))


@pytest.fixture
async def world(make_world):
    return await make_world(feature, series=[TABLES])


async def wind(world, name, seconds, *, key=None):
    def work(tx):
        tx.guild_id = GuildId(shardkit.GUILD)
        tx.timer(ring, Named(name), key=key or name, after=timedelta(seconds=seconds))

    await world.engine.commit(work)


async def fired(world):
    return [row[0] for row in await world.rows("SELECT name FROM fired ORDER BY number")]


async def test_timers_fire_once_in_the_order_of_their_times(world):
    for name, seconds in (("b", 20), ("a", 10), ("c", 30)):
        await wind(world, name, seconds)
    await world.fire_timers(5)
    assert await fired(world) == []
    await world.fire_timers(20)
    await world.fire_timers()
    assert await fired(world) == ["a", "b"]
    await world.fire_timers(20)
    assert await fired(world) == ["a", "b", "c"]


async def test_a_timer_that_is_due_at_once_needs_no_other_reason_to_fire(world):
    await wind(world, "now", 0)
    await world.fire_timers()
    assert await fired(world) == ["now"]


async def test_timers_survive_a_restart(world):
    await wind(world, "a", 10)
    await world.engine.close()
    world.clock.advance(100)
    await world.open(expected=True)
    await world.fire_timers()
    assert await fired(world) == ["a"]


async def test_a_timer_that_fails_is_buried_once_and_holds_up_nobody(world):
    await wind(world, "sick", 1)
    await wind(world, "well", 2)
    await world.fire_timers(5)
    assert await fired(world) == ["well"]
    cause, handler = await world.row("SELECT cause, handler FROM dead_letters")
    assert (cause.startswith("timer/play.ring/sick/"), handler) == (True, "play.ring")


async def test_a_timer_of_an_unknown_kind_is_buried_and_holds_up_nobody(world):
    await world.rows("INSERT INTO timers VALUES (1, 'gone.kind', 'k', 0, '{}')")
    await wind(world, "well", 1)
    await world.fire_timers(5)
    assert await fired(world) == ["well"]
    assert await world.row("SELECT handler FROM dead_letters") == ("gone.kind",)


async def test_moving_a_timer_keeps_one(world):
    await wind(world, "first", 10, key="k")
    await wind(world, "second", 20, key="k")
    await world.fire_timers(15)
    assert await fired(world) == []
    await world.fire_timers(15)
    assert await fired(world) == ["second"]


async def test_a_cancelled_timer_does_not_fire(world):
    await wind(world, "a", 10)
    assert await world.engine.commit(lambda tx: _cancel(tx, "a")) is True
    assert await world.engine.commit(lambda tx: _cancel(tx, "a")) is False
    await world.fire_timers(20)
    assert await fired(world) == []


def _cancel(tx, key):
    tx.guild_id = GuildId(shardkit.GUILD)
    return tx.cancel_timer(ring, key=key)


@pytest.mark.parametrize(("name", "left"), [("cancels other", 0), ("moves other", 1)])
async def test_a_timer_that_is_due_can_still_be_cancelled_or_moved_by_an_earlier_one(world, name, left):
    await wind(world, name, 1)
    await wind(world, "other", 2)
    await world.fire_timers(5)
    assert await fired(world) == [name]
    assert await world.rows("SELECT count(*) FROM timers") == [(left,)]


async def test_a_timer_may_set_itself_again(world):
    await wind(world, "again", 1)
    await world.fire_timers(2)
    assert await fired(world) == ["again"]
    await world.fire_timers(5)
    assert await fired(world) == ["again", "last"]


async def test_more_timers_than_one_round_takes(world):
    def work(tx):
        for number in range(450):
            tx.timer(ring, Named(str(number)), key=str(number), after=timedelta(milliseconds=number))

    await world.engine.commit(work)
    await world.fire_timers(5)
    assert await fired(world) == [str(number) for number in range(450)]
