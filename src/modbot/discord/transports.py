"""Undo the transport compression of a gateway connection: `none`, `zlib-stream`, `zstd-stream`.

One decompressor lives as long as its connection, because Discord keeps one compression context per connection. `feed` takes one
websocket message and returns the bytes of one gateway payload, or `None` while a zlib payload is still incomplete.

What arrives is not trusted: output beyond `LARGEST_PAYLOAD` and broken streams are a `FrameError`, after which the connection
must be given up, since its context is lost.
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import Final, Protocol

import zstandard

from modbot.domain.errors import ModbotError

LARGEST_PAYLOAD: Final = 64 * 1024 * 1024
"""Bytes of one decompressed payload; the GUILD_CREATE of the largest guilds stays an order of magnitude below."""
_FLUSH: Final = b"\x00\x00\xff\xff"
_ZSTD_SLICE: Final = 4096
"""A zstd block holds at least 4 bytes and gives at most 128 KiB: a slice of this size cannot give more than 128 MiB at once."""
_ZSTD_LARGEST_WINDOW: Final = 8 * 1024 * 1024


class FrameError(ModbotError):
    """A gateway connection carried bytes that are not a gateway payload; it is closed and resumed."""

    code = "frame"
    status = 502
    hint = "If it repeats, set MODBOT_GATEWAY_COMPRESSION=none and look for a proxy between modbot and Discord."
    retry = True


class Compression(StrEnum):
    """The value of the gateway address's `compress` parameter."""

    NONE = "none"
    ZLIB = "zlib-stream"
    ZSTD = "zstd-stream"


class Inflator(Protocol):
    """Turns websocket messages into gateway payloads."""

    def feed(self, data: bytes) -> bytes | None:
        """Return the payload that this message completes, if it completes one."""


class Plain:
    """No compression: a message is a payload."""

    def feed(self, data: bytes) -> bytes | None:
        """Return the message."""
        return data


class Zlib:
    """One zlib stream; a payload ends where a message ends with an empty stored block."""

    def __init__(self) -> None:
        self._context = zlib.decompressobj()
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """Return the payload once its last part is here."""
        if self._held or not data.endswith(_FLUSH):
            self._held += data
            if len(self._held) > LARGEST_PAYLOAD:
                raise FrameError("A compressed payload does not end.")
            if not self._held.endswith(_FLUSH):
                return None
            data = bytes(self._held)
            self._held.clear()
        try:
            payload = self._context.decompress(data, LARGEST_PAYLOAD)
        except zlib.error:
            raise FrameError("The zlib stream is broken.") from None
        if self._context.unconsumed_tail:
            raise FrameError("A payload is too large.")
        return payload


class Zstd:
    """One zstd frame without an end; every message completes a payload."""

    def __init__(self) -> None:
        self._context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_LARGEST_WINDOW).decompressobj()

    def feed(self, data: bytes) -> bytes | None:
        """Return the payload of this message."""
        try:
            payload = self._context.decompress(data) if len(data) <= _ZSTD_SLICE else self._sliced(data)
        except zstandard.ZstdError:
            raise FrameError("The zstd stream is broken.") from None
        if len(payload) > LARGEST_PAYLOAD:
            raise FrameError("A payload is too large.")
        return payload

    def _sliced(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        size = 0
        for start in range(0, len(data), _ZSTD_SLICE):
            part = self._context.decompress(data[start : start + _ZSTD_SLICE])
            size += len(part)
            if size > LARGEST_PAYLOAD:
                raise FrameError("A payload is too large.")
            parts.append(part)
        return b"".join(parts)


_KINDS: Final[dict[Compression, type[Plain | Zlib | Zstd]]] = {
    Compression.NONE: Plain,
    Compression.ZLIB: Zlib,
    Compression.ZSTD: Zstd,
}


def inflator(compression: Compression) -> Inflator:
    """Make the decompressor for a new connection."""
    return _KINDS[compression]()
