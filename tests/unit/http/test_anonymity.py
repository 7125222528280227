"""Product rule 5: nothing of an anonymous person is left, whatever Discord sends about them, now or later."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modbot.discord import interactions
from modbot.domain import anonymity
from modbot.domain.errors import InvalidInputError

KEY = b"k" * 32
USER, GUILD = 987654321012345678, 123456789012345678
PERSON = {"id": str(USER), "username": "their-name", "avatar": "their-avatar", "something_new": {"user_id": str(USER)}}


def told(**changes: Any) -> dict[str, Any]:
    return {
        "id": "5",
        "type": 2,
        "token": "t",
        "guild_id": str(GUILD),
        "channel_id": "6",
        "member": {"user": PERSON, "nick": "their-nick", "roles": ["1"], "permissions": "8", "joined_at": "2020"},
        "data": {"id": "7", "name": "Report", "type": 3, "target_id": "8"},
    } | changes


def test_the_person_becomes_a_number_and_what_is_needed_stays() -> None:
    found = anonymity.anonymous(told(), KEY)
    number = anonymity.pseudonym(KEY, guild_id=GUILD, user_id=USER)
    assert found["member"] == {"user": {"id": str(number)}, "roles": ["1"], "permissions": "8"}
    assert {name: found[name] for name in ("id", "type", "token", "guild_id", "channel_id", "data")} == {
        name: told()[name] for name in ("id", "type", "token", "guild_id", "channel_id", "data")
    }
    decoded = interactions.decode(msgspec.json.encode(found))
    assert decoded.invoker is not None
    assert decoded.invoker.id == number


PLACES = {
    "user": PERSON,
    "entitlements": [{"user_id": str(USER)}],
    "authorizing_integration_owners": {"1": str(USER)},
    "channel": {"id": "6", "type": 11, "owner_id": str(USER), "member": {"user_id": str(USER)}},
    "message": {"id": "9", "channel_id": "6", "interaction_metadata": {"user": PERSON}, "mentions": [PERSON]},
    "guild": {"owner": str(USER)},
    "something_new": [{"deep": {"id": USER}}],
}


@pytest.mark.parametrize("place", PLACES)
def test_the_id_is_nowhere_in_the_output(place: str) -> None:
    source = told(**{place: PLACES[place]})
    assert str(USER) in str(source)
    left = str(anonymity.anonymous(source, KEY))
    assert [word for word in (str(USER), "their-name", "their-avatar", "their-nick") if word in left] == []


json_values = st.recursive(
    st.one_of(st.just(USER), st.just(str(USER)), st.booleans(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
names = st.one_of(st.sampled_from([*PLACES, "locale", "app_permissions"]), st.text(max_size=12))
_KEPT = {"id", "application_id", "type", "token", "version", "guild_id", "channel_id", "data", "context", "member"}


@given(st.dictionaries(names, json_values, max_size=5), st.dictionaries(st.text(max_size=12), json_values, max_size=4))
def test_whatever_else_is_sent_is_dropped(extra: dict[str, Any], about_member: dict[str, Any]) -> None:
    described = {"id", "type", "guild_id", "name", "parent_id", "flags", "channel_id"}
    extra = {
        name: {k: v for k, v in value.items() if k not in described} if isinstance(value, dict) else value
        for name, value in extra.items()
        if name not in _KEPT
    }
    about_member = {name: value for name, value in about_member.items() if name not in {"roles", "permissions"}}
    source = told(**extra, member={**about_member, "user": PERSON})
    assert str(USER) not in str(anonymity.anonymous(source, KEY))


def test_the_input_is_left_as_it_is() -> None:
    source = told()
    anonymity.anonymous(source, KEY)
    assert source == told()


def test_the_number_depends_on_person_guild_and_key_and_on_nothing_else() -> None:
    first = anonymity.pseudonym(KEY, guild_id=GUILD, user_id=USER)
    assert first == anonymity.pseudonym(KEY, guild_id=GUILD, user_id=USER)
    others = {
        anonymity.pseudonym(b"j" * 32, guild_id=GUILD, user_id=USER),
        anonymity.pseudonym(KEY, guild_id=GUILD + 1, user_id=USER),
        anonymity.pseudonym(KEY, guild_id=GUILD, user_id=USER + 1),
        anonymity.pseudonym(KEY, guild_id=USER, user_id=GUILD),
    }
    assert len(others | {first}) == 5


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_the_number_fits_a_snowflake_field(key: bytes, guild_id: int, user_id: int) -> None:
    assert 0 < anonymity.pseudonym(key, guild_id=guild_id, user_id=user_id) < 2**53


@pytest.mark.parametrize(
    "changes",
    [
        {"guild_id": None},
        {"member": None},
        {"member": {}},
        {"member": {"user": {"id": "x"}}},
        {"member": {"user": {"id": str(2**64)}}},
        {"guild_id": "-1"},
    ],
)
def test_without_a_guild_and_a_member_nobody_can_be_anonymous(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        anonymity.anonymous(told(**changes), KEY)
