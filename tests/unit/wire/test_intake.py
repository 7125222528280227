"""Order, repetitions, holes, positions."""

import asyncio

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from modbot.discord.events import Ready, Resumed
from modbot.discord.frames import Dispatch, Dropped
from modbot.discord.intake import Hole, Intake, SessionLost, SessionStarted, Stats
from modbot.discord.objects import Object, User
from modbot.domain.offsets import Offset

RAW = msgspec.Raw(b"{}")
START = Offset(session_id="a", resume_url="wss://r", seq=10)


class Sink:
    def __init__(self):
        self.batches = []
        self.came = asyncio.Event()

    async def put(self, batch):
        self.batches.append(batch)
        self.came.set()


def event(seq):
    return Dispatch(seq, "X", Object(), RAW)


async def deliver(intake):
    intake.finish()
    await intake.deliver()


async def test_repetitions_are_dropped_and_holes_stand_where_they_are():
    sink, stats = Sink(), Stats()
    intake = Intake(sink=sink, offset=START, stats=stats)
    for seq in (9, 10, 11, 11, 14):
        intake.take(event(seq))
    await deliver(intake)
    (batch,) = sink.batches
    assert batch.items == (event(11), Hole(11, 14), event(14))
    assert batch.offset == Offset(session_id="a", resume_url="wss://r", seq=14)
    assert (stats.duplicates, stats.holes, stats.missing) == (3, 1, 2)


async def test_a_new_session_replaces_the_position_and_tells_of_the_old_one():
    sink = Sink()
    intake = Intake(sink=sink, offset=START, stats=Stats())
    ready = Ready(session_id="b", resume_gateway_url="wss://b", user=User(id=1))
    intake.take(event(11))
    intake.take(Dispatch(1, "READY", ready, RAW))
    intake.take(event(2))
    await deliver(intake)
    (batch,) = sink.batches
    kinds = [type(each) for each in batch.items]
    assert kinds == [Dispatch, SessionLost, SessionStarted, Dispatch]
    assert batch.items[1].last.seq == 11
    assert batch.offset == Offset(session_id="b", resume_url="wss://b", seq=2)


async def test_losing_nothing_says_nothing():
    sink = Sink()
    intake = Intake(sink=sink, offset=None, stats=Stats())
    intake.lose("x")
    await deliver(intake)
    assert sink.batches == []


async def test_only_unwanted_events_give_an_empty_batch_with_the_position():
    sink = Sink()
    intake = Intake(sink=sink, offset=START, stats=Stats(), progress_every=0.001)
    delivering = asyncio.create_task(intake.deliver())
    intake.take(Dropped(11))
    intake.take(Dropped(12))
    assert sink.batches == []
    async with asyncio.timeout(5):
        await sink.came.wait()
    assert sink.batches[0].items == ()
    assert sink.batches[0].offset.seq == 12
    intake.finish()
    await delivering
    assert len(sink.batches) == 1


async def test_there_is_no_room_until_the_sink_has_taken_a_batch():
    sink = Sink()
    intake = Intake(sink=sink, offset=START, stats=Stats(), capacity=2)
    intake.take(event(11))
    assert not intake.full
    intake.take(event(12))
    assert intake.full
    await deliver(intake)
    assert not intake.full
    await intake.room()


@given(st.lists(st.integers(11, 30), max_size=60))
def test_every_number_is_applied_once_in_order_or_lies_in_a_hole(numbers):
    async def scenario():
        sink = Sink()
        intake = Intake(sink=sink, offset=START, stats=Stats())
        for seq in numbers:
            intake.take(event(seq) if seq % 3 else Dropped(seq))
        intake.take(Dispatch(31, "RESUMED", Resumed(), RAW))
        await deliver(intake)
        return [each for batch in sink.batches for each in batch.items]

    items = asyncio.run(scenario())
    kept = [each.seq for each in items if isinstance(each, Dispatch)]
    missing = [seq for each in items if isinstance(each, Hole) for seq in range(each.after + 1, each.before)]
    assert kept == sorted(set(kept))
    assert not set(kept) & set(missing)
    assert len(missing) == len(set(missing))
    running = 10
    for seq in numbers:
        if seq > running:
            assert (seq in kept) == bool(seq % 3)
            running = seq
