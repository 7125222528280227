"""Is this HTTP request from Discord? Ed25519 over the timestamp header followed by the raw body.

The check must see the very bytes that arrived: decode the body only after it was verified. Malformed keys and signatures are
an answer (no), never an exception, because Discord probes the address with forged requests and expects a plain 401.
"""

from __future__ import annotations

from functools import lru_cache

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

_SIGNATURE_BYTES = 64


def verify(public_key: str, signature: str, timestamp: str, body: bytes) -> bool:
    """Tell whether `signature` (128 hexadecimal digits) is `public_key`'s (64 digits) over `timestamp + body`."""
    try:
        key = _key(public_key)
        raw = bytes.fromhex(signature)
        message = timestamp.encode("ascii") + body
        if len(raw) != _SIGNATURE_BYTES:
            return False
        key.verify(message, raw)
    except (BadSignatureError, ValueError):
        return False
    return True


@lru_cache(maxsize=8)
def _key(public_key: str) -> VerifyKey:
    return VerifyKey(bytes.fromhex(public_key))
