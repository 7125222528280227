"""From bytes to typed events, dropping early what nobody wants.

Nine of ten dispatches of a large guild (presences, typing, voice states) are of no interest to a moderation bot, and building
objects for them is what makes general libraries slow. So a payload is looked at in three steps, each only if the one before
says so:

1. *Peek.* Discord writes `{"t":"NAME","s":123,"op":0,"d":{…}}`. When a payload begins like that, the name is read from the raw
   bytes. An unwanted name ends here: its number is noted (an unwanted event moves the shard's position too) and the body is
   never parsed.
2. *Envelope.* Everything else, and every payload with another order of keys, is parsed once for `op`, `s`, `t`; `d` stays raw
   bytes, a view without a copy. An optional guild filter looks at the guild's id only.
3. *Body.* A wanted body is decoded straight into its type, without a dictionary in between.

Peeking gives away one thing: the body of an unwanted event is not checked to be JSON. Nothing is done with it either.

A wanted body that does not fit its type (Discord changed something) becomes `Unreadable`, which keeps its place in the order and
is counted by the owner (I9); it does not end the session. A payload that is no gateway payload is a `FrameError`.

Bench: `bench/decode.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any, Final

import msgspec

from modbot.discord.events import TYPES, Resumed
from modbot.discord.objects import Object
from modbot.discord.transports import Compression, FrameError, inflator
from modbot.domain.errors import InvalidInputError
from modbot.domain.ids import GuildId

GuildFilter = Callable[[GuildId], bool]
_SESSION_EVENTS: Final = frozenset({"READY", "RESUMED"})
_HEAD: Final = b'{"t":"'
_LONGEST_HEAD: Final = 96
"""Bytes in which the name and the number of a dispatch must stand to be peeked at."""


class Op(IntEnum):
    """Gateway opcodes."""

    DISPATCH = 0
    HEARTBEAT = 1
    IDENTIFY = 2
    RESUME = 6
    RECONNECT = 7
    INVALID_SESSION = 9
    HELLO = 10
    HEARTBEAT_ACK = 11


class Dispatch(msgspec.Struct, frozen=True, gc=False):
    """A wanted event: its number in the session, its name, its typed body and the bytes of the body (for content hashes)."""

    seq: int
    name: str
    data: Object
    raw: msgspec.Raw


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """A wanted event whose body does not fit its type. `reason` names the field, never its value."""

    seq: int
    name: str
    reason: str


class Dropped(msgspec.Struct, frozen=True, gc=False):
    """An event that nobody wants."""

    seq: int


class Control(msgspec.Struct, frozen=True, gc=False):
    """A payload that is not a dispatch. `d` is its decoded body."""

    op: int
    d: Any = None


Frame = Dispatch | Unreadable | Dropped | Control


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    op: int
    d: msgspec.Raw = msgspec.Raw(b"null")
    s: int | None = None
    t: str | None = None


class _GuildOf(msgspec.Struct, frozen=True, gc=False):
    guild_id: GuildId | None = None
    id: int | None = None


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_GUILD_OF: Final = msgspec.json.Decoder(_GuildOf, strict=False)
_GUILD_IS_ID: Final = frozenset({"GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"})


class FrameReader:
    """Reads the payloads of one connection, in order.

    `wanted` are event names of `events.TYPES`; READY and RESUMED are always read. `guilds`, when given, is asked for each wanted
    event that belongs to a guild; events of other guilds are dropped.
    """

    def __init__(self, *, compression: Compression, wanted: Iterable[str], guilds: GuildFilter | None = None) -> None:
        names = frozenset(wanted) | _SESSION_EVENTS
        if unknown := sorted(names - TYPES.keys()):
            raise InvalidInputError(f"There is no type for the events {', '.join(unknown)}.")
        self._feed = inflator(compression).feed
        self._decoders = {name: msgspec.json.Decoder(TYPES[name], strict=False) for name in names}
        self._heads = frozenset(name.encode() for name in names)
        self._guilds = guilds

    def read(self, message: bytes) -> Frame | None:
        """Take one websocket message; return what it completes, `None` for a part. `FrameError` ends the connection."""
        payload = self._feed(message)
        if payload is None:
            return None
        if (seq := self._peek_unwanted(payload)) is not None:
            return Dropped(seq)
        try:
            envelope = _ENVELOPE.decode(payload)
            if envelope.op != Op.DISPATCH:
                return Control(envelope.op, msgspec.json.decode(envelope.d))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise FrameError("A payload is not valid JSON of the gateway.") from None
        if envelope.t is None or envelope.s is None:
            raise FrameError("A dispatch has no name or no number.")
        return self._dispatch(envelope.t, envelope.s, envelope.d)

    def _peek_unwanted(self, payload: bytes) -> int | None:
        """Return the number of a dispatch whose name is not wanted, if the payload begins in Discord's usual way."""
        if not payload.startswith(_HEAD):
            return None
        end = payload.find(b'"', 6, _LONGEST_HEAD)
        if end < 0 or payload[6:end] in self._heads or payload[end : end + 6] != b'","s":':
            return None
        comma = payload.find(b",", end + 6, _LONGEST_HEAD)
        digits = payload[end + 6 : comma]
        return int(digits) if comma > 0 and digits.isdigit() else None

    def _dispatch(self, name: str, seq: int, body: msgspec.Raw) -> Frame:
        decoder = self._decoders.get(name)
        if decoder is None:
            return Dropped(seq)
        if name == "RESUMED":  # says nothing but its name; whatever its body is, the replay is over
            return Dispatch(seq, name, Resumed(), body)
        try:
            if self._guilds is not None and not self._of_interest(name, body, self._guilds):
                return Dropped(seq)
            return Dispatch(seq, name, decoder.decode(body), body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return Unreadable(seq, name, _reason(error))

    @staticmethod
    def _of_interest(name: str, body: msgspec.Raw, guilds: GuildFilter) -> bool:
        found = _GUILD_OF.decode(body)
        guild_id = found.id if name in _GUILD_IS_ID else found.guild_id
        return guild_id is None or guilds(GuildId(guild_id))


def _reason(error: Exception) -> str:
    """Say which field is wrong; texts of other errors could quote the event."""
    return str(error) if isinstance(error, msgspec.ValidationError) else type(error).__name__
