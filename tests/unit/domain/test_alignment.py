"""Where the events that one shard has applied and another one holds meet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modbot.domain import alignment
from modbot.domain.alignment import Meeting


@given(
    events=st.lists(st.integers(), min_size=1, max_size=60, unique=True),
    cut=st.integers(0, 59),
    begin=st.integers(0, 59),
    noted=st.integers(0, 59),
    foreign=st.sets(st.integers(0, 80)),
)
def test_what_was_applied_and_what_comes_behind_make_the_whole(
    events: list[int], cut: int, begin: int, noted: int, foreign: set[int]
) -> None:
    """The giver applied up to `cut` and noted from `noted` on, the taker holds from `begin` on: nothing twice, nothing left out."""
    cut %= len(events)
    begin, noted = min(begin, cut + 1), min(noted, cut)
    held: list[int | None] = []
    for number, event in enumerate(events[begin:]):
        if number in foreign:
            held.append(None)  # came to the taker's session only
        held.append(event)
    found = alignment.decide(events[noted : cut + 1], held)
    rest = [held[index] for index in found.rest]
    assert [each for each in rest if each is not None] == events[cut + 1 :]
    assert (found.meeting is Meeting.ALIGNED) == (begin <= cut)


def test_repeated_contents_are_told_apart_by_what_came_before() -> None:
    on, off, other = 1, 2, 3
    applied = [other, on, off, on]
    held = [on, off, on, off, on, off]
    assert alignment.find_end(applied, held) == 2
    assert alignment.decide(applied, held).rest == (3, 4, 5)


def test_the_first_place_wins_where_the_record_says_too_little() -> None:
    assert alignment.find_end([1], [1, 5, 1]) == 0


def test_a_common_event_in_the_middle_of_something_else_is_no_meeting() -> None:
    """Both sides differ before it: one of them missed something, and content decides."""
    found = alignment.decide([7, 8, 5], [9, 5, 6])
    assert (found.rest, found.meeting) == ((0, 2), Meeting.DEDUPLICATED)


def test_a_quiet_guild_has_nothing_in_common() -> None:
    assert alignment.decide([1, 2], []).meeting is Meeting.QUIET
    assert alignment.decide([], [None, 4]).rest == (0, 1)
    assert not alignment.overlaps([1, 2], [3, None])
    assert alignment.overlaps([1, 2], [3, 2])


def test_what_came_twice_and_was_applied_once_is_left_out_once() -> None:
    assert alignment.decide([9, 4], [5, 4, 4]).rest == (0, 2)
