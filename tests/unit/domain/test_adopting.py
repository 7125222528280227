"""Where a guild was served last, and what is behind: the pure part of an adoption."""

from __future__ import annotations

import itertools

import pytest

from modbot.domain import adopting
from modbot.domain.adopting import Home, Row, Settlement
from modbot.domain.ids import Epoch, ShardId, TransferId

STATES = (None, "recording", "cut", "away", "holding")
CANCELLED_TO_OWN, CANCELLED_BACK = Settlement(TransferId(7), True, False), Settlement(TransferId(7), False, False)
FINISHED = Settlement(TransferId(7), True, True)
A, B = ShardId("0-of-2"), ShardId("1-of-2")


def _row(state: str | None) -> Row | None:
    return None if state is None else Row(state, TransferId(7))


@pytest.mark.parametrize(
    ("formula", "own", "home", "settlements"),
    [
        (None, "away", Home.FORMULA, ()),  # it went back, or never came
        (None, "cut", Home.FORMULA, ()),  # it has just come back
        ("away", None, Home.OWN, ()),
        ("away", "recording", Home.OWN, (CANCELLED_BACK,)),  # the way back had begun
        (
            "holding",
            "cut",
            Home.OWN,
            (CANCELLED_BACK,),
        ),  # the way back was not decided, or nothing of it had been handled
        ("holding", None, Home.OWN, (CANCELLED_BACK,)),
        ("recording", "away", Home.FORMULA, (CANCELLED_TO_OWN,)),  # the way there had begun
        ("cut", "holding", Home.FORMULA, (CANCELLED_TO_OWN,)),
        ("cut", None, Home.OWN, (FINISHED,)),  # it arrived; the giver has not removed it yet
        (None, None, Home.UNCLEAR, ()),
        ("away", "away", Home.UNCLEAR, ()),
        ("holding", "holding", Home.UNCLEAR, ()),
    ],
)
def test_the_rows_of_both_files_say_where_a_guild_was_served_last(
    formula: str | None, own: str | None, home: Home, settlements: tuple[Settlement, ...]
) -> None:
    verdict = adopting.decide_home(_row(formula), _row(own))
    assert (verdict.home, verdict.settlements) == (home, settlements)


@pytest.mark.parametrize(("formula", "own"), [*itertools.product(STATES, STATES)])
def test_nobody_gets_a_guild_whose_rows_it_does_not_have(formula: str | None, own: str | None) -> None:
    """`away` and `holding` have none; what was recorded is on the side that does not say so."""
    verdicts = [adopting.decide_home(_row(formula), _row(own))]
    verdicts += [adopting.decide_told(home, _row(formula), _row(own)) for home in (Home.FORMULA, Home.OWN)]
    for verdict in verdicts:
        if verdict.home is not Home.UNCLEAR:
            chosen = formula if verdict.home is Home.FORMULA else own
            assert chosen not in {"away", "holding"}


@pytest.mark.parametrize(("formula", "own"), [*itertools.product(STATES, STATES)])
def test_afterwards_one_side_serves_it(formula: str | None, own: str | None) -> None:
    """Every row in the middle of a transfer is settled at the side that is served, so that no guild is left between two shards."""
    verdict = adopting.decide_home(_row(formula), _row(own))
    if verdict.home is Home.UNCLEAR:
        return
    unsettled = {"recording", "cut", "holding"}
    served = [_row(formula)] + ([_row(own)] if verdict.home is Home.OWN else [])
    if any(row is not None and row.state in unsettled for row in served):
        assert len(verdict.settlements) == 1


def test_a_persons_word_counts_where_both_have_the_guild() -> None:
    told = adopting.decide_told(Home.OWN, None, None)
    assert told.settlements == (Settlement(TransferId(0), True, True),), "the other side removes what it has"
    assert adopting.decide_told(Home.FORMULA, None, None) == adopting.Verdict(Home.FORMULA)
    assert adopting.decide_told(Home.FORMULA, _row("away"), _row("away")).home is Home.UNCLEAR


def test_a_database_that_knows_all_adopts_nothing_and_an_old_one_everything() -> None:
    store = {A: Epoch(5), B: Epoch(3)}
    assert adopting.decide_behind(store, store, ours=True) == {}
    assert adopting.decide_behind(store, {A: Epoch(6), B: Epoch(3)}, ours=True) == {}
    assert adopting.decide_behind(store, {A: Epoch(4), B: Epoch(3)}, ours=True) == store, "it is an old copy in all"
    assert adopting.decide_behind(store, {}, ours=True) == store


def test_in_a_store_of_another_everything_has_gone_on_elsewhere() -> None:
    store, known = {A: Epoch(5), B: Epoch(3)}, {A: Epoch(4), B: Epoch(9)}
    assert adopting.decide_behind(store, known, ours=False) == {A: 5, B: 9}, (
        "an epoch that was granted is never granted again"
    )


def test_shards_of_another_count_are_found() -> None:
    assert adopting.foreign_counts([A, ShardId("guild-5")], 2) == []
    assert adopting.foreign_counts([A, ShardId("3-of-16"), ShardId("1-of-4")], 2) == [4, 16]
