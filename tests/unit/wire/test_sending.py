"""Payload sizes and the limit of sends."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modbot.discord import sending
from modbot.discord.sending import LIMIT, RESERVE, WINDOW, Identity, SendLimiter
from modbot.domain.errors import InvalidInputError
from modbot.domain.offsets import Offset
from modbot.ops.settings import Secret

IDENTITY = Identity(token=Secret("tok"), intents=513, shard=(3, 16))


def test_payloads_are_what_discord_expects():
    said = json.loads(sending.identify(IDENTITY))
    assert said["op"] == 2
    assert (said["d"]["token"], said["d"]["shard"], said["d"]["intents"]) == ("tok", [3, 16], 513)
    assert "compress" not in said["d"]
    offset = Offset(session_id="s", resume_url="wss://x", seq=7)
    assert json.loads(sending.resume(IDENTITY, offset)) == {"op": 6, "d": {"token": "tok", "session_id": "s", "seq": 7}}
    assert json.loads(sending.heartbeat(None)) == {"op": 1, "d": None}
    assert json.loads(sending.heartbeat(12)) == {"op": 1, "d": 12}


def test_too_large_a_payload_is_never_sent_and_never_shown():
    with pytest.raises(InvalidInputError) as caught:
        sending.identify(Identity(token=Secret("t" * 4096), intents=1, shard=(0, 1)))
    assert "ttt" not in str(caught.value)
    assert "ttt" not in repr(Identity(token=Secret("t" * 4096), intents=1, shard=(0, 1)))


def test_heartbeats_have_a_reserve():
    limiter = SendLimiter()
    for _ in range(LIMIT - RESERVE):
        assert limiter.delay(5.0, heartbeat=False) == 0
        limiter.sent(5.0)
    assert limiter.delay(6.0, heartbeat=False) == pytest.approx(59.0)
    for _ in range(RESERVE):
        assert limiter.delay(6.0, heartbeat=True) == 0
        limiter.sent(6.0)
    assert limiter.delay(6.0, heartbeat=True) == pytest.approx(59.0)
    assert limiter.delay(65.0, heartbeat=False) == 0


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=400))
def test_no_window_ever_holds_more_than_the_limit(steps):
    limiter, now, sent = SendLimiter(), 0.0, []
    for step, heartbeat in steps:
        now += step
        now += limiter.delay(now, heartbeat=heartbeat)
        assert limiter.delay(now, heartbeat=heartbeat) <= 1e-6
        limiter.sent(now)
        sent.append(now)
    for first, last in zip(sent, sent[LIMIT:], strict=False):
        assert last - first >= WINDOW - 1e-6
