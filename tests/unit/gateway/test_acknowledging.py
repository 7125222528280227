"""An acknowledgement is an effect: only what the replica holds, and only from an owner."""

from __future__ import annotations

from typing import Any

import pytest

from modbot.domain.offsets import Offset
from modbot.services.gateway.acknowledging import Acknowledgement


class Around:
    """A replica and a lease."""

    def __init__(self) -> None:
        self.confirmed: Offset | None = None
        self.leased = True
        self.asked: list[str] = []

    def durable(self, _engine: Any) -> Offset | None:
        self.asked.append("replica")
        return self.confirmed

    def valid_for(self, _seconds: float) -> bool:
        self.asked.append("lease")
        return self.leased

    def confirm(self, seq: int, session: str = "s") -> None:
        self.confirmed = Offset(session_id=session, resume_url="u", seq=seq)


@pytest.fixture
def around() -> Around:
    return Around()


@pytest.fixture
def acknowledgement(around: Any) -> Acknowledgement:
    return Acknowledgement(around, around, around)


def test_an_owner_acknowledges_what_the_replica_holds(around: Around, acknowledgement: Acknowledgement) -> None:
    assert acknowledgement.seq() is None
    around.confirm(7)
    assert acknowledgement.seq() == 7
    assert around.asked[-2:] == ["replica", "lease"], "first what is confirmed, then whether we still are the owner"


def test_without_a_lease_nothing_more_is_acknowledged(around: Around, acknowledgement: Acknowledgement) -> None:
    around.confirm(7)
    acknowledgement.seq()
    around.leased = False
    around.confirm(9)
    assert acknowledgement.seq() == 7, "a successor may have restored less than 9"
    around.leased = True
    assert acknowledgement.seq() == 9


def test_a_number_of_another_session_is_never_acknowledged(around: Around, acknowledgement: Acknowledgement) -> None:
    around.confirm(700, "old")
    acknowledgement.seq()
    around.leased = False
    around.confirm(2, "new")
    assert acknowledgement.seq() is None
    around.confirmed = None
    assert acknowledgement.seq() is None
    around.leased = True
    around.confirm(3, "new")
    assert acknowledgement.seq() == 3
