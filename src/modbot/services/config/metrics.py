"""What the config service counts, in Prometheus's words. Labels never carry a guild, a user or a token.

Nothing here is labelled with a shard: a dedicated shard is named after its guild. What a single shard is like, its owner says.
"""

from __future__ import annotations

from collections.abc import Sequence

import prometheus_client

from modbot.cluster import protocol
from modbot.ops import resources, versions
from modbot.services.config.board import Holding

_FAST = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The registry of one config process."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        resources.watch(self.registry)
        self.calls = prometheus_client.Counter(
            "modbot_config_calls", "Calls by operation and status.", ["operation", "status"], registry=self.registry
        )
        self.assignment_seconds = prometheus_client.Histogram(
            "modbot_config_assignment_seconds",
            "Time to answer where guilds live.",
            buckets=_FAST,
            registry=self.registry,
        )
        self.call_seconds = prometheus_client.Histogram(
            "modbot_config_call_seconds",
            "Time to answer a call.",
            ["operation"],
            buckets=_FAST,
            registry=self.registry,
        )
        self.pool = self._gauge("modbot_config_pool_connections", "Connections to PostgreSQL by use.", ["use"])
        self.pool_limit = self._gauge(
            "modbot_config_pool_limit", "Connections to PostgreSQL that this replica opens at most."
        )
        self.database_up = self._gauge(
            "modbot_config_database_up", "1 while this replica reads the table of pods and shards from PostgreSQL."
        )
        self.pods = self._gauge("modbot_config_pods", "Pods by state.", ["state"])
        self.owned_shards = self._gauge("modbot_config_owner_shards", "Shards by the pod that owns them.", ["owner"])
        self.owned_guilds = self._gauge(
            "modbot_config_owner_guilds", "Guilds by the pod that owns their shards, as last reported.", ["owner"]
        )
        self.owned_bytes = self._gauge(
            "modbot_config_owner_bytes",
            "Size of the shard files by the pod that owns them, as last reported.",
            ["owner"],
        )
        self.owned_events = self._gauge(
            "modbot_config_owner_events_per_second", "Events per second by owner, as last reported.", ["owner"]
        )
        self.unowned = self._gauge("modbot_config_unowned_shards", "Shards that nobody serves.")
        self.resting = self._gauge(
            "modbot_config_sweeps_resting",
            "1 while pods are not marked lost, because silence may be the service's own.",
        )
        self.watchers = self._gauge("modbot_config_watchers", "Open watch streams.")
        self.grants = self._counter("modbot_config_grants", "Shards that this replica granted by placement.")
        self.takeovers = self._counter(
            "modbot_config_takeovers", "Shards that this replica took from pods whose lease ran out."
        )

        self.moves = prometheus_client.Counter(
            "modbot_config_moves",
            "Handoffs by cause (drain, pin, balance, operator) and outcome (begun, done, cancelled).",
            ["cause", "outcome"],
            registry=self.registry,
        )
        self.moves_held = self._gauge(
            "modbot_config_moves_held", "Shards that should move and cannot, as last planned."
        )
        self.imbalance = self._gauge(
            "modbot_config_imbalance",
            "Load of the most loaded open pod over the mean, as last planned by this replica.",
        )
        self.permits = prometheus_client.Counter(
            "modbot_config_identify_permits",
            "Asked IDENTIFY permits by answer (granted, concurrency, daily_reserve, not_owner, limits_unknown, limits_awaited).",
            ["answer"],
            registry=self.registry,
        )
        self.identify_remaining = self._gauge(
            "modbot_config_identify_remaining", "What is left of the day's IDENTIFYs, as this replica last saw it."
        )
        self.identify_remaining.set(float("nan"))  # nobody has asked yet; 0 would be an alarm
        self.breaker = self._counter(
            "modbot_config_breaker_refusals",
            "Renewals that were told to send no REST request, because too many from their address were invalid.",
        )
        self.draining = self._gauge("modbot_config_draining_pods", "Live pods that are being emptied.")
        self.moving = self._gauge("modbot_config_moving_shards", "Handoffs under way.")
        self.build = versions.announce(self.registry)
        self.transfers = self._gauge("modbot_config_transfers", "Guilds on their way from one shard to another.")

    def _counter(self, name: str, text: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(name, text, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: list[str] | None = None) -> prometheus_client.Gauge:
        return prometheus_client.Gauge(name, text, labels or [], registry=self.registry)

    def describe(self, table: protocol.Table, holdings: Sequence[Holding], *, up: bool) -> None:
        """Set the gauges that the board decides: what it read last, and whether that is current."""
        self.database_up.set(int(up))
        self.transfers.set(len(table.transfers))
        for gauge in (self.owned_shards, self.owned_guilds, self.owned_bytes, self.owned_events):
            gauge.clear()
        for each in holdings:
            self.owned_shards.labels(each.owner).set(each.shards)
            self.owned_guilds.labels(each.owner).set(each.guilds)
            self.owned_bytes.labels(each.owner).set(each.file_bytes)
            self.owned_events.labels(each.owner).set(each.events_per_second)
        for state in protocol.PodState:
            self.pods.labels(state.value).set(sum(pod.state == state for pod in table.pods))
        self.unowned.set(sum(shard.owner is None for shard in table.shards))
        self.moving.set(sum(shard.target is not None for shard in table.shards))
        self.draining.set(sum(pod.draining and pod.state == protocol.PodState.LIVE for pod in table.pods))

    def render(self) -> bytes:
        """Return the text format."""
        return prometheus_client.generate_latest(self.registry)
