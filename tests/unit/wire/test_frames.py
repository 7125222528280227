"""Reading frames: what is kept, what is dropped, what is refused."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modbot.discord.events import TYPES, Guild, MemberAdded, Ready
from modbot.discord.frames import Control, Dispatch, Dropped, FrameReader, Unreadable
from modbot.discord.objects import Message
from modbot.discord.transports import Compression, FrameError
from modbot.domain.errors import InvalidInputError

GUILD = 197038439483310086


def reader(*wanted, guilds=None):
    return FrameReader(compression=Compression.NONE, wanted=wanted, guilds=guilds)


def frame(name, data, seq=7, **extra):
    return json.dumps({"t": name, "s": seq, "op": 0, "d": data} | extra, separators=(",", ":")).encode()


def reordered(name, data, seq=7):
    return json.dumps({"op": 0, "d": data, "s": seq, "t": name}).encode()


MESSAGE = {
    "id": "11",
    "channel_id": "22",
    "guild_id": str(GUILD),
    "author": {"id": "33", "username": "a"},
    "content": "x",
}


def test_wanted_event_becomes_a_typed_dispatch_with_integer_ids():
    found = reader("MESSAGE_CREATE").read(frame("MESSAGE_CREATE", MESSAGE))
    assert isinstance(found, Dispatch)
    assert (found.seq, found.name) == (7, "MESSAGE_CREATE")
    assert isinstance(found.data, Message)
    assert (found.data.id, found.data.channel_id, found.data.guild_id, found.data.author.id) == (11, 22, GUILD, 33)
    assert json.loads(bytes(found.raw)) == MESSAGE


@pytest.mark.parametrize("write", [frame, reordered])
def test_unwanted_event_keeps_only_its_number(write):
    assert reader("MESSAGE_CREATE").read(write("PRESENCE_UPDATE", {"user": {"id": "1"}}, seq=99)) == Dropped(99)


@pytest.mark.parametrize("write", [frame, reordered])
def test_order_of_keys_does_not_matter(write):
    assert isinstance(reader("MESSAGE_CREATE").read(write("MESSAGE_CREATE", MESSAGE)), Dispatch)


def test_a_name_that_begins_like_a_wanted_one_is_not_it():
    assert reader("MESSAGE_DELETE").read(frame("MESSAGE_DELETE_BULK", {}, seq=3)) == Dropped(3)


def test_ready_and_resumed_are_always_read():
    data = {
        "session_id": "s",
        "resume_gateway_url": "wss://r",
        "user": {"id": "5"},
        "guilds": [{"id": "1", "unavailable": True}],
    }
    found = reader().read(frame("READY", data, seq=1))
    assert isinstance(found.data, Ready)
    assert found.data.guilds[0].id == 1
    assert isinstance(reader().read(frame("RESUMED", {"_trace": []})), Dispatch)


def test_control_payloads_carry_their_body():
    assert reader().read(b'{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}') == Control(
        10, {"heartbeat_interval": 41250}
    )
    assert reader().read(b'{"op":11}') == Control(11, None)
    assert reader().read(b'{"op":9,"d":false}') == Control(9, False)


def test_texts_that_look_like_null_numbers_or_truth_stay_texts():
    texts = {"nick": "null", "user": {"id": "1", "username": "123", "global_name": "true"}, "guild_id": "2"}
    found = reader("GUILD_MEMBER_ADD").read(frame("GUILD_MEMBER_ADD", texts)).data
    assert isinstance(found, MemberAdded)
    assert (found.nick, found.user.username, found.user.global_name) == ("null", "123", "true")


def test_absent_and_null_and_unknown_fields_are_accepted():
    data = {"id": "1", "channel_id": "2", "edited_timestamp": None, "brand_new": {"deep": [1]}}
    found = reader("MESSAGE_UPDATE").read(frame("MESSAGE_UPDATE", data)).data
    assert found.edited_timestamp is None
    assert found.content is msgspec.UNSET
    assert found.text == ""


def test_body_of_another_shape_is_unreadable_but_keeps_its_place_and_shows_no_value():
    found = reader("MESSAGE_CREATE").read(frame("MESSAGE_CREATE", MESSAGE | {"content": ["private words"]}, seq=12))
    assert isinstance(found, Unreadable)
    assert (found.seq, found.name) == (12, "MESSAGE_CREATE")
    assert "content" in found.reason
    assert "private" not in found.reason


def test_guild_filter_lets_through_its_guild_and_what_has_none():
    mine = reader("MESSAGE_CREATE", "GUILD_CREATE", guilds=lambda guild_id: guild_id == GUILD)
    assert isinstance(mine.read(frame("MESSAGE_CREATE", MESSAGE)), Dispatch)
    assert mine.read(frame("MESSAGE_CREATE", MESSAGE | {"guild_id": "5"})) == Dropped(7)
    assert isinstance(mine.read(frame("MESSAGE_CREATE", {"id": "1", "channel_id": "2"})), Dispatch)
    assert mine.read(frame("GUILD_CREATE", {"id": "5"})) == Dropped(7)
    kept = mine.read(frame("GUILD_CREATE", {"id": str(GUILD), "name": "g"}))
    assert isinstance(kept.data, Guild)


def test_unknown_event_name_cannot_be_asked_for():
    with pytest.raises(InvalidInputError, match="NO_SUCH_EVENT"):
        reader("NO_SUCH_EVENT")


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"null", b"[]", b"{", b'{"op":"x"}', b'{"op":0,"t":null,"s":1}', b'{"op":0,"t":"MESSAGE_CREATE","s":null}',
        b'{"t":"MESSAGE_CREATE","s":1,"op":0,"d":{', b'{"op":10,"d":{"a":}}', b"\xff\xfe", b'{"t":"X","s":-1,"op":0,"d":tru',
        b'{"op":10,"d":' + b"[" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_gateway_payload_is_a_frame_error(payload):
    with pytest.raises(FrameError):
        reader("MESSAGE_CREATE").read(payload)


@given(st.binary(max_size=60))
def test_any_bytes_give_a_frame_or_a_frame_error(noise):
    for payload in (noise, b'{"t":"' + noise, b'{"t":"X","s":' + noise):
        try:
            found = reader("MESSAGE_CREATE").read(payload)
        except FrameError:
            continue
        assert isinstance(found, Dispatch | Dropped | Control | Unreadable)


@pytest.mark.parametrize("body", [None, {}, {"_trace": ["x"]}, []])
def test_the_end_of_a_replay_needs_no_body(body):
    assert reader().read(frame("RESUMED", body)).name == "RESUMED"


@pytest.mark.parametrize("name", sorted(TYPES.keys() - {"RESUMED"}))
def test_every_event_type_reads_a_body_of_the_wrong_shape_as_unreadable(name):
    assert isinstance(reader(name).read(frame(name, [1, 2])), Unreadable)
