"""What is known to be in a replica: never more than there is."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from modbot.domain.offsets import Offset
from modbot.services.gateway.marks import Marks, Noted


def offset(seq: int) -> Offset:
    return Offset(session_id="s", resume_url="u", seq=seq)


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_the_lag_is_the_age_of_the_oldest_commit_that_may_be_missing() -> None:
    clock = Clock()
    marks = Marks(None, now=clock)
    clock.time += 2
    assert marks.lag == 2, "what the file held at the start may be missing"
    marks.confirm(marks.note(offset(1)))
    assert (marks.lag, marks.held) == (0, offset(1))
    marks.changed()
    clock.time += 3
    marks.changed()
    noted = marks.note(offset(2))
    clock.time += 4
    marks.changed()
    assert marks.lag == 7
    marks.give_back()
    assert marks.lag == 7, "a barrier that failed covers nothing"
    noted = marks.note(offset(3))
    marks.changed()
    clock.time += 1
    marks.confirm(noted)
    assert marks.lag == 1, "what came after the barrier was asked for is missing"
    assert marks.held == offset(3)


def test_a_barrier_that_was_never_answered_covers_nothing() -> None:
    clock = Clock()
    marks = Marks(None, now=clock)
    marks.note(offset(1))
    clock.time += 5
    noted = marks.note(offset(1))
    assert marks.lag == 5
    marks.confirm(noted)
    assert marks.lag == 0


async def test_whoever_waits_goes_on_when_their_commit_is_covered() -> None:
    marks = Marks(None, now=Clock())
    first = marks.note(offset(1))
    marks.changed()
    waiting = asyncio.create_task(marks.reached())
    await asyncio.sleep(0)
    marks.confirm(first)
    await asyncio.sleep(0)
    assert not waiting.done(), "the barrier was asked for before the commit"
    marks.confirm(marks.note(offset(2)))
    assert await waiting


async def test_whoever_waits_when_the_shard_is_closed_is_told() -> None:
    marks = Marks(None, now=Clock())
    waiting = asyncio.create_task(marks.reached())
    await asyncio.sleep(0)
    marks.close()
    assert not await waiting


@given(st.lists(st.sampled_from(["commit", "note", "pass", "fail", "tick"]), max_size=60))
def test_nothing_counts_as_held_before_a_barrier_that_covers_it(steps: list[str]) -> None:
    clock = Clock()
    marks = Marks(None, now=clock)
    seq = in_replica = 0
    asked: Noted | None = None
    committed_at: dict[int, float] = {}
    for step in steps:
        if step == "commit":
            seq += 1
            committed_at[seq] = clock.time
            marks.changed()
        elif step == "note" and asked is None:
            asked = marks.note(offset(seq))
        elif step == "pass" and asked is not None and asked.offset is not None:
            in_replica = asked.offset.seq
            marks.confirm(asked)
            asked = None
        elif step == "fail" and asked is not None:
            marks.give_back()
            asked = None
        elif step == "tick":
            clock.time += 1
        held = 0 if marks.held is None else marks.held.seq
        assert held <= in_replica
        oldest = min((at for number, at in committed_at.items() if number > in_replica), default=clock.time)
        assert marks.lag >= clock.time - oldest
