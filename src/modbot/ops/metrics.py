"""The metrics of a gateway pod, and what the metrics of all services share: their names are an interface.

Labels never carry guild or user ids. A dedicated shard is named after its guild, so the label of a shard is made here and nowhere else
(`PerShard`): formula shards keep their name, dedicated ones are `dedicated-1`, `dedicated-2` … in the order in which this process met
them. Two pods may number them differently; the pod's `GET /shards` says which is which.

A gauge says what is, so that of a shard which is served elsewhere now is taken out (`forget_shard`). A counter says what has happened and
stays: what was counted in the last seconds before a shard went must still be read. Counters whose label has few known values begin at 0
for all of them, because Prometheus sees no growth in a series that is not there before.

Every process exposes what it has at `/metrics` in Prometheus' text format.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from modbot.domain import ids
from modbot.domain.ids import ShardId
from modbot.ops import resources, versions

_M = TypeVar("_M", bound=MetricWrapperBase)
_NETWORK: Final = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3)
_numbers: Final[dict[ShardId, int]] = {}

REGISTRY: Final = CollectorRegistry()
resources.watch(REGISTRY)


def shard_label(shard_id: ShardId) -> str:
    """Return how a shard is called in labels: without its guild."""
    if ids.dedicated_guild(shard_id) is None:
        return shard_id
    return f"dedicated-{_numbers.setdefault(shard_id, len(_numbers) + 1)}"


class PerShard(Generic[_M]):
    """A metric whose first label is a shard."""

    def __init__(self, family: _M) -> None:
        self.family = family

    def of(self, shard_id: ShardId, *others: str) -> _M:
        """Return the series of a shard."""
        return self.family.labels(shard_label(shard_id), *others)

    def forget(self, shard_id: ShardId) -> None:
        """Take the series of a shard out; there may be none."""
        self.family.remove_by_labels({"shard": shard_label(shard_id)})


def _per_shard(kind: type[_M], name: str, text: str, *others: str, **more: Any) -> PerShard[_M]:
    return PerShard(kind(name, text, ["shard", *others], registry=REGISTRY, **more))


def _known(counter: Counter, *values: str) -> Counter:
    """Begin at 0 for these values of the only label."""
    for value in values:
        counter.labels(value)
    return counter


EVENTS: Final = _per_shard(Counter, "modbot_events_total", "Gateway dispatches committed.")
EVENT_LAG: Final = _per_shard(
    Histogram,
    "modbot_event_lag_seconds",
    "Time from receiving a dispatch to its commit.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
DEAD_LETTERS: Final = Counter(
    "modbot_dead_letters_total", "Events, timers and interactions whose handler failed.", ["handler"], registry=REGISTRY
)
EFFECTS: Final = Counter(
    "modbot_effects_total", "Effects by name and outcome.", ["effect", "outcome"], registry=REGISTRY
)
EFFECT_SECONDS: Final = Histogram(
    "modbot_effect_seconds",
    "Time from asking for an effect to its end.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
    registry=REGISTRY,
)
EFFECTS_PENDING: Final = _per_shard(Gauge, "modbot_effects_pending", "Effects that wait or are under way.")
EFFECT_WAITING: Final = _per_shard(
    Gauge, "modbot_effect_oldest_seconds", "Time since the oldest effect that is not done was due first; 0 without one."
)
INTERACTIONS: Final = Counter(
    "modbot_interactions_total", "Interactions applied, by kind of first answer.", ["answer"], registry=REGISTRY
)
LOCAL_ANONYMITY_KEYS: Final = Counter(
    "modbot_local_anonymity_keys_total",
    "Anonymous interactions numbered with a key of this pod's own, because the shared one could not be had.",
    registry=REGISTRY,
)
GAPS: Final = _per_shard(
    Counter,
    "modbot_gaps_total",
    "Gaps in the stream of events: sessions lost, numbers skipped, messages that stopped.",
    "reason",
)
HANDOFF_PAUSE: Final = Histogram(
    "modbot_handoff_pause_seconds",
    "Time from the source's last event to the first event at the target of a handoff.",
    buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30),
    registry=REGISTRY,
)
HANDOFFS: Final = _known(
    Counter("modbot_handoffs_total", "Handoffs to this pod, by outcome.", ["outcome"], registry=REGISTRY),
    "completed",
    "failed",
)
GAP_RECOVERED: Final = Counter(
    "modbot_gap_recovered_total",
    "Messages, audit log entries and changes of bans that were read back.",
    ["kind"],
    registry=REGISTRY,
)
GAP_UNREADABLE: Final = Counter(
    "modbot_gap_unreadable_total",
    "Channels, audit logs and ban lists that a repair could not read.",
    ["kind"],
    registry=REGISTRY,
)
GAP_GUILDS: Final = _per_shard(Gauge, "modbot_gap_guilds", "Guilds whose gaps are not repaired yet.")
SILENCES: Final = _per_shard(
    Counter,
    "modbot_gateway_silences_total",
    "Times at which a session brought no messages although Discord had newer ones.",
)
TRANSFERS: Final = Counter(
    "modbot_transfers_total",
    "Guilds that came from another shard, by how the two streams were joined; deduplicated ones had no common run of events.",
    ["outcome"],
    registry=REGISTRY,
)
OPEN: Final = _per_shard(Gauge, "modbot_shard_open", "1 while a granted shard's file is open, 0 while it is not.")
CONNECTED: Final = _per_shard(Gauge, "modbot_gateway_connected", "1 while the shard's gateway session is live.")
GUILDS: Final = _per_shard(Gauge, "modbot_shard_guilds", "Guilds of a shard.")
SHARD_BYTES: Final = _per_shard(Gauge, "modbot_shard_bytes", "Size of a shard file, without its log.")
REPLICA_LAG: Final = _per_shard(
    Gauge, "modbot_replica_lag_seconds", "Age of the oldest commit that is not known to be in the replica."
)
REPLICA_SYNCS: Final = Counter(
    "modbot_replica_syncs_total", "Barriers of replication, by how they ended.", ["outcome"], registry=REGISTRY
)
SIDECAR_UP: Final = Gauge(
    "modbot_litestream_up", "1 while the Litestream sidecar answers, by kind of store.", ["store"], registry=REGISTRY
)
WAL_BYTES: Final = _per_shard(Gauge, "modbot_wal_bytes", "Size of the log (WAL) of a shard file.")
RESTORES: Final = _known(
    Counter(
        "modbot_restores_total",
        "Epochs that a restore has looked at, by what they were: restored, behind (restored, but older than what was known to be replicated), or passed over because they were incomplete, damaged or wrong.",
        ["outcome"],
        registry=REGISTRY,
    ),
    "restored",
    "behind",
    "incomplete",
    "damaged",
    "wrong",
)
STALE_FILES: Final = Counter(
    "modbot_stale_files_total", "Shard files of an earlier ownership that were deleted.", registry=REGISTRY
)
VOLUME_BYTES: Final = Gauge("modbot_volume_bytes", "Size of the file system with the shard files.", registry=REGISTRY)
VOLUME_FREE: Final = Gauge(
    "modbot_volume_free_bytes", "What is free on the file system with the shard files.", registry=REGISTRY
)
LOG_LINES_LOST: Final = Counter(
    "modbot_log_lines_lost_total", "Writes to the log that failed; their lines may be missing.", registry=REGISTRY
)
LEASE: Final = Gauge(
    "modbot_lease_seconds", "What is left of the lease by the pod's own clock; 0 when it is over.", registry=REGISTRY
)
FAILSAFE: Final = Gauge(
    "modbot_failsafe",
    "1 while the lease is over and all peers agree that nobody reaches the config service, so this pod goes on.",
    registry=REGISTRY,
)
BUILD: Final = versions.announce(REGISTRY)
REST_REQUESTS: Final = _known(
    Counter(
        "modbot_rest_requests_total",
        "Tries of requests to Discord, by what came of them: done (2xx), denied (401, 403), refused (other 4xx), limited (429), failed (5xx), unanswered, or fenced (not sent, because the lease was too short).",
        ["outcome"],
        registry=REGISTRY,
    ),
    "done",
    "denied",
    "refused",
    "limited",
    "failed",
    "unanswered",
    "fenced",
)
REST_LIMITED: Final = _known(
    Counter(
        "modbot_rest_limited_total",
        "Rate limits hit, by scope: user (the route), shared (somebody else used it up), global, or local (given up here after waiting too long).",
        ["scope"],
        registry=REGISTRY,
    ),
    "user",
    "shared",
    "global",
    "local",
)
REST_SECONDS: Final = Histogram(
    "modbot_rest_seconds", "Time from sending a request to Discord's answer.", buckets=_NETWORK, registry=REGISTRY
)
REST_WAIT: Final = Histogram(
    "modbot_rest_wait_seconds",
    "Time that a request waited for its route's limit and for the pod's share of the global one.",
    buckets=(0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60),
    registry=REGISTRY,
)
REST_SHARE: Final = Gauge(
    "modbot_rest_share_per_second", "Requests to Discord per second that this pod may send.", registry=REGISTRY
)
REST_OPEN: Final = Gauge(
    "modbot_rest_open",
    "1 while requests may leave, 0 while the breaker of this address holds them back.",
    registry=REGISTRY,
)

_GAUGES_OF_SHARDS: Final = tuple(
    each for each in list(vars().values()) if isinstance(each, PerShard) and isinstance(each.family, Gauge)
)


def forget_shard(shard_id: ShardId) -> None:
    """Take out every gauge of a shard that this pod does not serve any more."""
    for gauge in _GAUGES_OF_SHARDS:
        gauge.forget(shard_id)


def exposition() -> bytes:
    """Return all metrics of this process in Prometheus' text format."""
    return generate_latest(REGISTRY)
