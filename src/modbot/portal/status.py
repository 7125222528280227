"""What the public status page shows: numbers about pods and shards, never a guild's name or id (I10), no addresses.

The same model is the page and its JSON twin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

import msgspec


class PodRow(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway pod. `lease_seconds` is what remains; `lag_seconds` is the worst of its shards."""

    name: str
    state: str
    shards: int
    capacity: int
    guilds: int
    events_per_second: float
    lag_seconds: float
    lease_seconds: float


class ShardRow(msgspec.Struct, frozen=True, kw_only=True):
    """A shard with its owner, or with the reason why it has none."""

    name: str
    owner: str | None
    epoch: int
    guilds: int
    events_per_second: float
    lag_seconds: float
    connected: bool
    waiting: str = ""


class Overall(StrEnum):
    """The state of the whole in one word."""

    SERVING = "serving"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the page. `age_seconds`: how old the numbers are, null when there never were any; `stale`: they cannot be renewed."""

    overall: Overall
    sentence: str
    age_seconds: float | None
    stale: bool
    shards_served: int
    shards_total: int
    pods_live: int
    guilds: int
    events_per_second: float
    pods: list[PodRow]
    shards: list[ShardRow]


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar of the distribution; `width` in per cent of the widest."""

    label: str
    value: int
    width: float


def build(pods: Sequence[PodRow], shards: Sequence[ShardRow], *, age_seconds: float | None, stale: bool) -> Status:
    """Sum the rows up and say in one sentence how things are."""
    served = sum(1 for shard in shards if shard.connected)
    overall, sentence = _verdict(served, len(shards), age_seconds=age_seconds, stale=stale)
    return Status(
        overall=overall,
        sentence=sentence,
        age_seconds=age_seconds,
        stale=stale,
        shards_served=served,
        shards_total=len(shards),
        pods_live=Counter(pod.state for pod in pods)["live"],
        guilds=sum(shard.guilds for shard in shards),
        events_per_second=round(sum(shard.events_per_second for shard in shards), 1),
        pods=list(pods),
        shards=list(shards),
    )


def distribution(status: Status) -> list[Bar]:
    """Return the guilds per live pod as bars, in the order of the pods."""
    pods = [pod for pod in status.pods if pod.state == "live"]
    widest = max((pod.guilds for pod in pods), default=0) or 1
    return [Bar(label=pod.name, value=pod.guilds, width=round(100 * pod.guilds / widest, 1)) for pod in pods]


def _verdict(served: int, total: int, *, age_seconds: float | None, stale: bool) -> tuple[Overall, str]:
    if age_seconds is None:
        return Overall.UNKNOWN, "The config service does not answer, so nothing is known about the pods right now."
    if stale:
        return Overall.UNKNOWN, "The config service does not answer. What follows is the last that was known."
    if not total:
        return Overall.DEGRADED, "There are no shards yet."
    if served == total:
        return Overall.SERVING, f"All {total} shards are served."
    missing = total - served
    verb = "is" if missing == 1 else "are"
    return Overall.DEGRADED, f"{missing} of {total} shards {verb} not connected. Their events wait and are caught up."
