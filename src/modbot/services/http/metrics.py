"""What an http pod counts, in Prometheus' words. Labels never carry a guild, a user or a token."""

from __future__ import annotations

import prometheus_client

from modbot.ops import resources, versions

_FAST = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5, 3.0)


class Metrics:
    """The registry of one http process."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        resources.watch(self.registry)
        self.interactions = self._counter(
            "modbot_http_interactions", "Interactions by what Discord was told first.", ["outcome"]
        )
        self.interaction_seconds = prometheus_client.Histogram(
            "modbot_http_interaction_seconds",
            "Time from an interaction's arrival to its first answer.",
            buckets=_FAST,
            registry=self.registry,
        )
        self.forwards = self._counter("modbot_http_forwards", "Tries to reach an owner by outcome.", ["outcome"])
        self.rejected = self._counter(
            "modbot_http_rejected", "Requests to the interactions address that were not accepted.", ["status"]
        )
        self.unjournaled = self._counter(
            "modbot_http_unjournaled", "Interactions that did not reach the inbox before their answer."
        )
        self.deferrals_pending = prometheus_client.Gauge(
            "modbot_http_deferrals_pending", "Deferrals the inbox does not know of yet.", registry=self.registry
        )
        self.deferrals_lost = self._counter(
            "modbot_http_deferrals_lost", "Deferrals that never reached the inbox before their token expired."
        )
        self.deferrals_delivered = self._counter(
            "modbot_http_deferrals_delivered", "Deferrals given to the owner directly, because the inbox was away."
        )
        self.local_keys = self._counter(
            "modbot_http_local_anonymity_keys", "Anonymous interactions hashed with a key of this process alone."
        )
        self.events = self._counter("modbot_http_webhook_events", "Webhook events by type.", ["type"])
        self.pages = self._counter("modbot_http_pages", "Portal requests by page and status.", ["page", "status"])
        self.page_seconds = prometheus_client.Histogram(
            "modbot_http_page_seconds",
            "Time to answer a portal request.",
            ["page"],
            buckets=_FAST,
            registry=self.registry,
        )
        self.build = versions.announce(self.registry)

    def _counter(self, name: str, text: str, labels: list[str] | None = None) -> prometheus_client.Counter:
        return prometheus_client.Counter(name, text, labels or [], registry=self.registry)

    def render(self) -> bytes:
        """Return the text format."""
        return prometheus_client.generate_latest(self.registry)
