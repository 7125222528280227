"""Identifiers and the arithmetic that ties them: snowflake -> guild -> shard.

Snowflakes are plain integers in memory and decimal strings in Discord's JSON. A shard is named the way people say it:
`3-of-16` (formula shard) or `guild-123` (dedicated shard). The name is also its file name and its replica path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NewType

from modbot.domain.errors import InvalidInputError

GuildId = NewType("GuildId", int)
ChannelId = NewType("ChannelId", int)
MessageId = NewType("MessageId", int)
UserId = NewType("UserId", int)
RoleId = NewType("RoleId", int)
InteractionId = NewType("InteractionId", int)
ShardId = NewType("ShardId", str)
PodId = NewType("PodId", str)
Incarnation = NewType("Incarnation", str)
Epoch = NewType("Epoch", int)
MoveId = NewType("MoveId", int)
TransferId = NewType("TransferId", int)
ClusterId = NewType("ClusterId", str)

NO_CLUSTER = ClusterId("")
"""Not told."""
DISCORD_EPOCH = datetime(2015, 1, 1, tzinfo=UTC)
_TIMESTAMP_SHIFT = 22
_FORMULA = re.compile(r"(?P<number>\d+)-of-(?P<count>[1-9]\d*)")
_DEDICATED = re.compile(r"guild-(?P<guild_id>[1-9]\d{0,18})")
_POD = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class FormulaShard:
    """Discord's `[shard_id, shard_count]`: every guild with `(guild_id >> 22) % count == number`."""

    number: int
    count: int


def formula_shard_id(number: int, count: int) -> ShardId:
    """Name the formula shard `[number, count]`."""
    if not 0 <= number < count:
        raise InvalidInputError(f"There is no shard {number} of {count}.")
    return ShardId(f"{number}-of-{count}")


def parse_formula_shard(shard_id: ShardId) -> FormulaShard:
    """Read a formula shard's name; `InvalidInputError` when it is not one."""
    match = _FORMULA.fullmatch(shard_id)
    if match is None or int(match["number"]) >= int(match["count"]):
        raise InvalidInputError(f"{shard_id!r} is not a shard: expected a name like 3-of-16 or guild-123.")
    return FormulaShard(int(match["number"]), int(match["count"]))


def shard_of_guild(guild_id: GuildId, count: int) -> ShardId:
    """Return the formula shard that Discord routes a guild to (platform rule: `(guild_id >> 22) % count`)."""
    return ShardId(f"{(guild_id >> _TIMESTAMP_SHIFT) % count}-of-{count}")


def dedicated_shard_id(guild_id: GuildId) -> ShardId:
    """Name the shard that is dedicated to one guild."""
    return ShardId(f"guild-{guild_id}")


def dedicated_guild(shard_id: ShardId) -> GuildId | None:
    """Return the guild of a dedicated shard, or None for a formula shard."""
    match = _DEDICATED.fullmatch(shard_id)
    return None if match is None else GuildId(int(match["guild_id"]))


def parse_shard_id(name: str) -> ShardId:
    """Accept the name of a formula shard or of a dedicated one."""
    if _DEDICATED.fullmatch(name) is None:
        parse_formula_shard(ShardId(name))
    return ShardId(name)


def parse_pod_id(name: str) -> PodId:
    """Accept a pod name that is a DNS label, such as `gateway-0`."""
    if _POD.fullmatch(name) is None:
        raise InvalidInputError(f"{name!r} is not a pod name: use lower-case letters, digits and dashes.")
    return PodId(name)


def snowflake_time(snowflake: int) -> datetime:
    """Return the moment a snowflake was made (UTC, millisecond precision)."""
    return DISCORD_EPOCH + timedelta(milliseconds=snowflake >> _TIMESTAMP_SHIFT)


def first_snowflake_at(moment: datetime) -> int:
    """Return the smallest snowflake of a moment: the bound for `after=` and `before=` queries."""
    return max(0, int((moment - DISCORD_EPOCH).total_seconds() * 1000)) << _TIMESTAMP_SHIFT
