"""The metrics of all services, in one place: their names are an interface.

Labels never carry guild or user ids. Every process exposes what it has at `/metrics` in Prometheus' text format.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
CONNECTED: Final = Gauge(
    "modbot_gateway_connected", "1 while the shard's gateway session is live.", ["shard"], registry=REGISTRY
)


def exposition() -> bytes:
    """Return all metrics of this process in Prometheus' text format."""
    return generate_latest(REGISTRY)
