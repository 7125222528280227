"""How gateway payloads look on the wire, and what clients may send.

A dispatch's data is encoded once and wrapped per session with its sequence number. Refuses to know sockets.
"""

from typing import Any

import msgspec

from discordsim.gateway.codes import Op
from discordsim.world.payloads import Json

MAX_INBOUND_BYTES = 4096
_encode = msgspec.json.Encoder().encode


def encoded(data: Any) -> bytes:
    """Return JSON bytes."""
    return _encode(data)


def dispatch(seq: int, name: str, data: bytes) -> bytes:
    """Return an op 0 payload around encoded data."""
    return b'{"t":"%b","s":%d,"op":0,"d":%b}' % (name.encode(), seq, data)


def control(op: Op, data: Any = None) -> bytes:
    """Return any other payload."""
    return _encode({"t": None, "s": None, "op": int(op), "d": data})


class Inbound(msgspec.Struct):
    """What every payload of a client has."""

    op: int
    d: Any = None


class Identify(msgspec.Struct):
    """The data of op 2."""

    token: str
    properties: Json
    intents: int
    shard: tuple[int, int] | None = None
    compress: bool = False
    large_threshold: int = 50
    presence: Json | None = None


class Resume(msgspec.Struct):
    """The data of op 6."""

    token: str
    session_id: str
    seq: int


class RequestMembers(msgspec.Struct):
    """The data of op 8."""

    guild_id: str | list[str]
    query: str | None = None
    limit: int = 0
    presences: bool = False
    user_ids: str | list[str] | None = None
    nonce: str | None = None


class PresenceUpdate(msgspec.Struct):
    """The data of op 3."""

    status: str
    afk: bool
    activities: list[Json]
    since: int | None = None


class VoiceStateUpdate(msgspec.Struct):
    """The data of op 4."""

    guild_id: str
    channel_id: str | None
    self_mute: bool = False
    self_deaf: bool = False


inbound = msgspec.json.Decoder(Inbound)
