"""The metrics of all services, in one place: their names are an interface.

Labels never carry guild or user ids. Every process exposes what it has at `/metrics` in Prometheus' text format.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from modbot.ops import versions

REGISTRY: Final = CollectorRegistry()

EVENTS: Final = Counter("modbot_events_total", "Gateway dispatches committed.", ["shard"], registry=REGISTRY)
EVENT_LAG: Final = Histogram(
    "modbot_event_lag_seconds",
    "Time from receiving a dispatch to its commit.",
    ["shard"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
DEAD_LETTERS: Final = Counter(
    "modbot_dead_letters_total", "Events, timers and interactions whose handler failed.", ["handler"], registry=REGISTRY
)
EFFECTS: Final = Counter(
    "modbot_effects_total", "Effects by name and outcome.", ["effect", "outcome"], registry=REGISTRY
)
INTERACTIONS: Final = Counter(
    "modbot_interactions_total", "Interactions applied, by kind of first answer.", ["answer"], registry=REGISTRY
)
LOCAL_ANONYMITY_KEYS: Final = Counter(
    "modbot_local_anonymity_keys_total",
    "Anonymous interactions numbered with a key of this pod's own, because the shared one could not be had.",
    registry=REGISTRY,
)
GAPS: Final = Counter(
    "modbot_gaps_total",
    "Gaps in the stream of events: sessions lost, numbers skipped, messages that stopped.",
    ["shard", "reason"],
    registry=REGISTRY,
)
HANDOFF_PAUSE: Final = Histogram(
    "modbot_handoff_pause_seconds",
    "Time from the source's last event to the first event at the target of a handoff.",
    buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30),
    registry=REGISTRY,
)
HANDOFFS: Final = Counter("modbot_handoffs_total", "Handoffs to this pod, by outcome.", ["outcome"], registry=REGISTRY)
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
GAP_GUILDS: Final = Gauge("modbot_gap_guilds", "Guilds whose gaps are not repaired yet.", ["shard"], registry=REGISTRY)
SILENCES: Final = Counter(
    "modbot_gateway_silences_total",
    "Times at which a session brought no messages although Discord had newer ones.",
    ["shard"],
    registry=REGISTRY,
)
TRANSFERS: Final = Counter(
    "modbot_transfers_total",
    "Guilds that came from another shard, by how the two streams were joined; deduplicated ones had no common run of events.",
    ["outcome"],
    registry=REGISTRY,
)
CONNECTED: Final = Gauge(
    "modbot_gateway_connected", "1 while the shard's gateway session is live.", ["shard"], registry=REGISTRY
)
REPLICA_LAG: Final = Gauge(
    "modbot_replica_lag_seconds",
    "Age of the oldest commit that is not known to be in the replica.",
    ["shard"],
    registry=REGISTRY,
)
REPLICA_SYNCS: Final = Counter(
    "modbot_replica_syncs_total", "Barriers of replication, by how they ended.", ["outcome"], registry=REGISTRY
)
SIDECAR_UP: Final = Gauge(
    "modbot_litestream_up", "1 while the Litestream sidecar answers, by kind of store.", ["store"], registry=REGISTRY
)
WAL_BYTES: Final = Gauge("modbot_wal_bytes", "Size of the log (WAL) of a shard file.", ["shard"], registry=REGISTRY)
RESTORES: Final = Counter(
    "modbot_restores_total", "Epochs that a restore has looked at, by what they were.", ["outcome"], registry=REGISTRY
)
STALE_FILES: Final = Counter(
    "modbot_stale_files_total", "Shard files of an earlier ownership that were deleted.", registry=REGISTRY
)
LOG_LINES_LOST: Final = Counter(
    "modbot_log_lines_lost_total", "Writes to the log that failed; their lines may be missing.", registry=REGISTRY
)
FAILSAFE: Final = Gauge(
    "modbot_failsafe",
    "1 while the lease is over and all peers agree that nobody reaches the config service, so this pod goes on.",
    registry=REGISTRY,
)
BUILD: Final = versions.announce(REGISTRY)


def exposition() -> bytes:
    """Return all metrics of this process in Prometheus' text format."""
    return generate_latest(REGISTRY)
