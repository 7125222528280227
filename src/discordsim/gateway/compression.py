"""Turning payloads into websocket messages: plain text, zlib-stream, zstd-stream or single compressed payloads.

A transport stream is one context per connection, flushed after each message. Refuses to compress twice.
"""

import zlib
from collections.abc import Callable
from enum import StrEnum

import zstandard
from aiohttp import WSMsgType

LARGE_PAYLOAD = 1024
_LEVEL = 1  # tests on shared cores need speed more than size


class Transport(StrEnum):
    """Values of the `compress` query parameter; NONE stands for its absence."""

    NONE = ""
    ZLIB = "zlib-stream"
    ZSTD = "zstd-stream"


Encoder = Callable[[bytes], tuple[bytes, WSMsgType]]


def encoder(transport: Transport) -> Encoder:
    """Return the encoder of a new connection."""
    makers: dict[Transport, Callable[[], Encoder]] = {
        Transport.NONE: lambda: _plain,
        Transport.ZLIB: _zlib_stream,
        Transport.ZSTD: _zstd_stream,
    }
    return makers[transport]()


def _plain(payload: bytes) -> tuple[bytes, WSMsgType]:
    return payload, WSMsgType.TEXT


def payload_encoder(payload: bytes) -> tuple[bytes, WSMsgType]:
    """Compress large payloads one by one, as `compress: true` in IDENTIFY asks for."""
    if len(payload) < LARGE_PAYLOAD:
        return payload, WSMsgType.TEXT
    return zlib.compress(payload, _LEVEL), WSMsgType.BINARY


def _zlib_stream() -> Encoder:
    context = zlib.compressobj(_LEVEL)

    def encode(payload: bytes) -> tuple[bytes, WSMsgType]:
        return context.compress(payload) + context.flush(zlib.Z_SYNC_FLUSH), WSMsgType.BINARY

    return encode


def _zstd_stream() -> Encoder:
    context = zstandard.ZstdCompressor(level=_LEVEL).compressobj()

    def encode(payload: bytes) -> tuple[bytes, WSMsgType]:
        return context.compress(payload) + context.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK), WSMsgType.BINARY

    return encode
