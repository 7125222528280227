"""What we send on a gateway connection, and how often we may.

Discord disconnects a client that sends a payload above 4096 bytes (4002) or more than 120 in 60 seconds (4008). The limiter keeps
`RESERVE` of the 120 for heartbeats, since a heartbeat that has to wait looks like a dead client. The token appears in the bytes
built here and nowhere else: not in errors, not in `repr`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec

from modbot.discord.frames import Op
from modbot.domain.errors import InvalidInputError
from modbot.domain.offsets import Offset
from modbot.ops.settings import Secret

LARGEST_SEND: Final = 4096
LIMIT: Final = 120
WINDOW: Final = 60.0
RESERVE: Final = 10


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are on the gateway: token, intents (bit set), `[number, count]` of the shard."""

    token: Secret
    intents: int
    shard: tuple[int, int]


class SendLimiter:
    """A sliding window over the sends of one connection. Pure: `now` in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._sent: deque[float] = deque()

    def delay(self, now: float, *, heartbeat: bool) -> float:
        """Return the seconds to wait before the next send of this kind; 0 when it may go now."""
        while self._sent and self._sent[0] <= now - WINDOW:
            self._sent.popleft()
        allowed = LIMIT if heartbeat else LIMIT - RESERVE
        if len(self._sent) < allowed:
            return 0.0
        return self._sent[len(self._sent) - allowed] + WINDOW - now

    def sent(self, now: float) -> None:
        """Count a send."""
        self._sent.append(now)


def identify(identity: Identity) -> bytes:
    """Return an IDENTIFY. `large_threshold` is the least, as modbot does not use the member lists of GUILD_CREATE."""
    return _payload(
        Op.IDENTIFY,
        {
            "token": identity.token.reveal(),
            "intents": identity.intents,
            "shard": identity.shard,
            "large_threshold": 50,
            "properties": {"os": "linux", "browser": "modbot", "device": "modbot"},
        },
    )


def resume(identity: Identity, offset: Offset) -> bytes:
    """Return a RESUME of the events after `offset`."""
    return _payload(Op.RESUME, {"token": identity.token.reveal(), "session_id": offset.session_id, "seq": offset.seq})


def heartbeat(durable_seq: int | None) -> bytes:
    """Return a heartbeat that acknowledges nothing beyond what is durable."""
    return _payload(Op.HEARTBEAT, durable_seq)


def _payload(op: Op, body: Any) -> bytes:
    data = msgspec.json.encode({"op": int(op), "d": body})
    if len(data) > LARGEST_SEND:
        raise InvalidInputError(
            f"A gateway payload with opcode {int(op)} has {len(data)} of at most {LARGEST_SEND} bytes."
        )
    return data
