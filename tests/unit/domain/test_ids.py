"""Ids and the arithmetic that ties them."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modbot.domain import ids
from modbot.domain.errors import InvalidInputError
from modbot.domain.ids import FormulaShard, GuildId, ShardId

_QUIET = settings(deadline=None, database=None, derandomize=True)


@_QUIET
@given(st.integers(0, 2**63 - 1), st.integers(1, 4096))
def test_a_guild_belongs_to_one_shard_that_can_be_read_back(guild_id, count):
    shard = ids.shard_of_guild(GuildId(guild_id), count)
    assert ids.parse_formula_shard(shard) == FormulaShard((guild_id >> 22) % count, count)
    assert ids.formula_shard_id((guild_id >> 22) % count, count) == shard


@_QUIET
@given(st.integers(0, 2**63 - 1))
def test_the_first_snowflake_of_a_moment_is_not_after_any_of_it(snowflake):
    moment = ids.snowflake_time(snowflake)
    first = ids.first_snowflake_at(moment)
    assert first <= snowflake
    assert abs(ids.snowflake_time(first) - moment) <= timedelta(milliseconds=1)


@pytest.mark.parametrize("name", ["", "3", "16-of-16", "3-of-0", "-1-of-4", "a-of-4", "3-of-16 ", "guild-1"])
def test_what_is_no_formula_shard_is_refused(name):
    with pytest.raises(InvalidInputError):
        ids.parse_formula_shard(ShardId(name))


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a" * 64, "a/b", "a\n"])
def test_what_is_no_pod_name_is_refused(name):
    with pytest.raises(InvalidInputError):
        ids.parse_pod_id(name)


def test_pod_names():
    assert ids.parse_pod_id("gateway-0") == "gateway-0"
