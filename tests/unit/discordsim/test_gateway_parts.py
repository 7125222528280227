import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from discordsim.clock import SimulatorClock
from discordsim.gateway import buffering, compression, events, routing
from discordsim.gateway.budgets import DAY, IdentifyBudget, Verdict
from discordsim.gateway.buffering import Entry, ReplayBuffer
from discordsim.switches import Switches, changed


@pytest.mark.parametrize(
    ("guilds", "size"), [(0, 100), (1, 100), (10, 750), (47, 3500), (2500, 3500), (2, 172), (46, 3425)]
)
def test_buffer_sizes_follow_the_known_points(guilds, size):
    assert buffering.size_for(guilds) == size


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 60))
def test_a_buffer_gives_all_or_nothing(count, limit, asked):
    buffer = ReplayBuffer()
    for seq in range(1, count + 1):
        buffer.append(Entry(seq, float(seq), "X", b""), limit=limit)
    found = buffer.after(asked)
    missed = list(range(asked + 1, count + 1))
    if len(missed) <= limit:
        assert [entry.seq for entry in found] == missed
    else:
        assert found is None


def test_a_buffer_forgets_by_age_and_acknowledgement():
    buffer = ReplayBuffer()
    for seq in range(1, 6):
        buffer.append(Entry(seq, float(seq), "X", b""), limit=100)
    buffer.drop_before(3.0)
    assert (buffer.floor, len(buffer), buffer.after(1)) == (2, 3, None)
    buffer.drop_through(4)
    assert [entry.seq for entry in buffer.after(4)] == [5]


def test_budgets_by_key_and_day():
    budget, switches = IdentifyBudget(), Switches(max_concurrency=2, identify_limit=3)
    assert budget.spend(0, switches, 0.0) is Verdict.ACCEPTED
    assert budget.spend(1, switches, 0.0) is Verdict.ACCEPTED
    assert budget.spend(2, switches, 4.9) is Verdict.TOO_FAST
    assert budget.spend(2, switches, 5.0) is Verdict.ACCEPTED
    assert budget.spend(3, switches, 20.0) is Verdict.EXHAUSTED
    assert budget.payload(switches, 100.0) == {
        "total": 3,
        "remaining": 0,
        "reset_after": 86_300_000,
        "max_concurrency": 2,
    }
    assert budget.spend(3, switches, DAY) is Verdict.ACCEPTED
    assert budget.payload(switches, DAY)["remaining"] == 2


def test_streams_carry_one_context():
    texts = [b"first", b"second" * 50, b""]
    zlib_stream, inflate = compression.encoder(compression.Transport.ZLIB), zlib.decompressobj()
    zstd_stream, expand = (
        compression.encoder(compression.Transport.ZSTD),
        zstandard.ZstdDecompressor().decompressobj(),
    )
    for text in texts:
        packed = zlib_stream(text)[0]
        assert packed.endswith(b"\x00\x00\xff\xff")
        assert inflate.decompress(packed) == text
        assert expand.decompress(zstd_stream(text)[0]) == text


def test_keys_name_what_an_event_is_about():
    data = {"message_id": "5", "user_id": "6", "emoji": {"id": None, "name": "x"}}
    assert events.key_of(data) == ("5", "6", "x")
    assert events.key_of({"ids": ["1", "2"], "channel_id": "9"}) == ("1", "2")


@given(st.integers(0, 2**63), st.integers(1, 64))
def test_shards(guild_id, shards):
    assert routing.shard_of(guild_id, shards) == (guild_id >> 22) % shards
    assert routing.shard_of(None, shards) == 0


def test_switches_change_together_or_not_at_all():
    switches = Switches()
    with pytest.raises(ValueError, match="buffer_events"):
        changed(switches, {"max_concurrency": 3, "buffer_events": -1})
    assert switches == Switches()
    assert changed(switches, {"max_concurrency": 3}) is switches
    assert switches.max_concurrency == 3


def test_time_only_goes_forward():
    clock = SimulatorClock(wall=lambda: 100.0, steady=lambda: 5.0)
    clock.advance(2.5)
    assert (clock.unix(), clock.monotonic()) == (102.5, 7.5)
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)
