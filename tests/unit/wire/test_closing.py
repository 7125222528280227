"""The close-code table, every row of it."""

import pytest

from modbot.discord import closing
from modbot.discord.closing import Next, decide_after_close


@pytest.mark.parametrize("code", [None, 1000, 1001, 1006, 1011, 4000, 4001, 4002, 4003, 4005, 4008, 4999])
def test_session_is_kept(code):
    ending = decide_after_close(code)
    assert (ending.next, ending.code) == (Next.RESUME, code)
    assert ending.reason


@pytest.mark.parametrize("code", [4006, 4007, 4009])
def test_session_is_over(code):
    assert decide_after_close(code).next is Next.NEW_SESSION


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (4004, closing.TokenRefusedError),
        (4010, closing.ShardingRefusedError),
        (4011, closing.ShardingRefusedError),
        (4012, closing.VersionRefusedError),
        (4013, closing.IntentsRefusedError),
        (4014, closing.IntentsRefusedError),
    ],
)
def test_nothing_helps_but_the_operator(code, kind):
    with pytest.raises(kind, match=str(code)) as caught:
        decide_after_close(code)
    assert isinstance(caught.value, closing.GatewayRefusedError)
    assert caught.value.hint
    assert not caught.value.retry


def test_our_own_close_code_keeps_the_session():
    assert closing.VOLUNTARY not in {1000, 1001}
    assert decide_after_close(closing.VOLUNTARY).next is Next.RESUME
