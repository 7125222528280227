"""Decompression: whole, split and hostile streams."""

import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from modbot.discord import transports
from modbot.discord.transports import Compression, FrameError, inflator

PAYLOADS = [b'{"op":10}', b"x" * 100_000, b'{"op":11}']


def zlib_messages(payloads=PAYLOADS):
    context = zlib.compressobj()
    return [context.compress(each) + context.flush(zlib.Z_SYNC_FLUSH) for each in payloads]


def zstd_messages(payloads=PAYLOADS):
    context = zstandard.ZstdCompressor().compressobj()
    return [context.compress(each) + context.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for each in payloads]


def test_plain_gives_the_message_itself():
    assert inflator(Compression.NONE).feed(b"abc") == b"abc"


def test_zlib_keeps_one_context_over_all_messages():
    stream = inflator(Compression.ZLIB)
    assert [stream.feed(each) for each in zlib_messages()] == PAYLOADS


def test_zstd_keeps_one_endless_frame_over_all_messages():
    stream = inflator(Compression.ZSTD)
    assert [stream.feed(each) for each in zstd_messages()] == PAYLOADS


def test_zstd_message_larger_than_a_slice_is_one_payload():
    payload = bytes(range(256)) * 400 + zlib.compress(b"noise" * 999)
    noisy = b"".join(zlib.crc32(bytes([n % 256, n // 256])).to_bytes(4, "big") for n in range(9000)) + payload
    (message,) = zstd_messages([noisy])
    assert len(message) > 4 * 4096
    assert inflator(Compression.ZSTD).feed(message) == noisy


@given(st.lists(st.integers(min_value=1, max_value=40), min_size=1))
def test_zlib_payload_may_come_in_any_pieces(sizes):
    stream = inflator(Compression.ZLIB)
    found = []
    for message in zlib_messages([b'{"op":1,"d":"%d"}' % n for n in range(3)]):
        rest, number = message, 0
        while rest:
            size = sizes[number % len(sizes)]
            piece, rest = rest[:size], rest[size:]
            number += 1
            found.append(stream.feed(piece))
    assert [each for each in found if each is not None] == [b'{"op":1,"d":"%d"}' % n for n in range(3)]


def test_zlib_gives_nothing_before_the_flush():
    stream = inflator(Compression.ZLIB)
    message = zlib_messages()[0]
    assert stream.feed(message[:-2]) is None
    assert stream.feed(b"") is None
    assert stream.feed(message[-2:]) == PAYLOADS[0]


@pytest.mark.parametrize("compression", [Compression.ZLIB, Compression.ZSTD])
def test_broken_stream_is_a_frame_error_that_quotes_nothing(compression):
    with pytest.raises(FrameError) as caught:
        inflator(compression).feed(b"secret-bytes\x00\x00\xff\xff")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("compression", "pack"), [(Compression.ZLIB, zlib_messages), (Compression.ZSTD, zstd_messages)]
)
def test_bomb_is_refused(compression, pack, monkeypatch):
    monkeypatch.setattr(transports, "LARGEST_PAYLOAD", 10_000)
    (bomb,) = pack([b"\x00" * 200_000])
    assert len(bomb) < 2_000
    with pytest.raises(FrameError):
        inflator(compression).feed(bomb)


def test_zlib_payload_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(transports, "LARGEST_PAYLOAD", 1_000)
    stream = inflator(Compression.ZLIB)
    assert stream.feed(b"\x01" * 900) is None
    with pytest.raises(FrameError):
        stream.feed(b"\x01" * 200)
