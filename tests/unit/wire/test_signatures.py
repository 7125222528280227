"""Only Discord's own signature is accepted; everything malformed is a plain no."""

import pytest
from nacl.signing import SigningKey

from modbot.discord.signatures import verify

KEY = SigningKey(b"\x07" * 32)
PUBLIC = bytes(KEY.verify_key).hex()
BODY = '{"type":1,"name":"ä"}'.encode()
TIME = "1790000000"
GOOD = KEY.sign(TIME.encode() + BODY).signature.hex()


def test_good_signature_is_accepted():
    assert verify(PUBLIC, GOOD, TIME, BODY)
    assert verify(PUBLIC, GOOD.upper(), TIME, BODY)


@pytest.mark.parametrize(
    ("public", "signature", "timestamp", "body"),
    [
        (PUBLIC, GOOD, TIME, BODY + b" "),
        (PUBLIC, GOOD, "1790000001", BODY),
        (PUBLIC, KEY.sign(BODY).signature.hex(), TIME, BODY),
        (bytes(SigningKey(b"\x08" * 32).verify_key).hex(), GOOD, TIME, BODY),
        (PUBLIC, "", TIME, BODY),
        (PUBLIC, "zz" * 64, TIME, BODY),
        (PUBLIC, GOOD[:-2], TIME, BODY),
        (PUBLIC, GOOD + "00", TIME, BODY),
        (PUBLIC, GOOD, "17900é", BODY),
        ("", GOOD, TIME, BODY),
        ("not hex", GOOD, TIME, BODY),
        (PUBLIC[:-2], GOOD, TIME, BODY),
    ],
)
def test_everything_else_is_refused_without_an_exception(public, signature, timestamp, body):
    assert verify(public, signature, timestamp, body) is False
