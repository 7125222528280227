"""The oracle on a log and files that are written by hand: what is right passes, and each kind of wrong is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from chaos.files import Snapshot
from chaos.folding import Event
from chaos.oracle import Oracle, _Session

_AUTHOR = {"id": "2"}


def _message(seq: int, message_id: int, text: str, **more: Any) -> Event:
    data = {"id": str(message_id), "channel_id": "5", "author": _AUTHOR, "type": 0, "content": text, **more}
    return Event(seq=seq, name="MESSAGE_CREATE", key=[], guild_id="1", data=data)


def _about(seq: int, name: str, **data: Any) -> Event:
    return Event(seq=seq, name=name, key=[], guild_id="1", data=data)


_LOG = [
    Event(seq=1, name="READY", key=[]),
    _message(2, 10, "two words"),
    _message(3, 11, "gone"),
    _about(4, "MESSAGE_REACTION_ADD", message_id="10", channel_id="5", user_id="3", emoji={"name": "x"}),
    _about(5, "MESSAGE_UPDATE", id="10", channel_id="5", content="three words now"),
    _about(6, "MESSAGE_DELETE", id="11", channel_id="5"),
    _message(7, 12, "by a bot", author={"id": "9", "bot": True}),
    _message(8, 13, "later"),
]
_RIGHT = Snapshot(
    path=Path("0-of-1.sqlite3"),
    shard_id="0-of-1",
    epoch=1,
    session_id="s",
    seq=7,
    causes=[f"s/{seq}" for seq in range(2, 8)],
    created=[10, 11, 12],
    rows={(1, 10): (5, 2, 15, 3, None, None, 0, None)},
    counts={(1, 10): 1},
    reactions={(1, 10): {("x", 3)}},
    notes=[],
    gaps=[],
    rollbacks=0,
    dead_letters=0,
)


def _oracle(sessions: dict[str, list[Event]] | None = None) -> Oracle:
    oracle = Oracle(None)  # type: ignore[arg-type] - these comparisons ask nobody
    for session_id, events in (sessions or {"s": _LOG}).items():
        oracle.sessions[session_id] = _Session(0, 0, list(events))
    return oracle


async def test_a_prefix_is_right() -> None:
    verdict = await _oracle().judge(_RIGHT)
    assert (verdict.lost, verdict.doubled, verdict.wrong) == (set(), set(), set())
    assert verdict.compared == 6


async def test_an_earlier_state_is_compared_with_an_earlier_fold() -> None:
    oracle = _oracle()
    await oracle.judge(_RIGHT)
    earlier = dataclasses.replace(
        _RIGHT,
        seq=2,
        causes=["s/2"],
        created=[10],
        rows={(1, 10): (5, 2, 9, 2, None, None, 0, None)},
        counts={},
        reactions={},
    )
    verdict = await oracle.judge(earlier)
    assert (verdict.lost, verdict.doubled, verdict.wrong) == (set(), set(), set())


@pytest.mark.parametrize(
    ("change", "lost", "doubled", "wrong"),
    [
        ({"causes": ["s/2", "s/4", "s/5", "s/6", "s/7"]}, {"s/3"}, set(), ""),
        ({"causes": [*_RIGHT.causes, "s/7"]}, set(), {"s/7"}, ""),
        ({"causes": ["s/3", "s/2", *_RIGHT.causes[2:]]}, set(), set(), "I3"),
        ({"causes": [*_RIGHT.causes, "s/8"]}, set(), set(), "I4"),
        ({"seq": 8}, {"s/8"}, set(), ""),
        ({"rows": {}}, set(), set(), "I4"),
        ({"rows": {(1, 10): (5, 2, 9, 2, None, None, 0, None)}}, set(), set(), "I4"),
        ({"reactions": {}, "counts": {}}, set(), set(), "I4"),
        ({"counts": {(1, 10): 2}}, set(), set(), "I4"),
        ({"dead_letters": 1}, set(), set(), "I9"),
        ({"session_id": None, "seq": 0, "causes": [], "rows": {}, "counts": {}, "reactions": {}}, set(), set(), "I8"),
    ],
)
async def test_each_kind_of_wrong_is_named(
    change: dict[str, Any], lost: set[str], doubled: set[str], wrong: str
) -> None:
    verdict = await _oracle().judge(dataclasses.replace(_RIGHT, **change))
    assert (verdict.lost, verdict.doubled) == (lost, doubled)
    assert any(each.startswith(wrong) for each in verdict.wrong) if wrong else not verdict.wrong


async def test_a_session_that_the_file_does_not_know_is_a_silent_loss() -> None:
    verdict = await _oracle({"s": _LOG, "other": [_message(2, 20, "unheard")]}).judge(_RIGHT)
    assert any(each.startswith("I9") for each in verdict.wrong)
