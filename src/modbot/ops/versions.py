"""Which version of modbot a process runs, as a metric: `modbot_build_info`, always 1, with the version as its label."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge


def announce(registry: CollectorRegistry) -> Gauge:
    """Add the metric to a registry, and return it."""
    info = Gauge("modbot_build_info", "1; the label is the version of modbot.", ["version"], registry=registry)
    info.labels(version("modbot")).set(1)
    return info
