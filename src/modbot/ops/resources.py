"""What a process uses of its machine, as metrics: CPU, memory, open files, and how much memory it may use at most."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_NO_LIMIT: Final = 2**60  # version 1 of control groups writes a very large number


def watch(registry: CollectorRegistry) -> None:
    """Add the metrics of this process to a registry."""
    ProcessCollector(registry=registry)
    registry.register(MemoryLimit())


class MemoryLimit(Collector):
    """`modbot_memory_limit_bytes`, when the container has a limit; at the limit the kernel ends the process."""

    def __init__(self, places: tuple[Path, ...] = _LIMITS) -> None:
        self._places = places

    def describe(self) -> list[Metric]:
        """Name the metric, whether or not there is a limit."""
        return [self._family()]

    def collect(self) -> Iterator[Metric]:
        """Read the limit now: it can be changed while the process runs."""
        for place in self._places:
            text = place.read_text("ascii").strip() if place.exists() else ""
            if text.isdigit() and int(text) < _NO_LIMIT:
                family = self._family()
                family.add_metric([], int(text))
                yield family
                return

    @staticmethod
    def _family() -> GaugeMetricFamily:
        text = "Memory that this container may use; absent when there is no limit."
        return GaugeMetricFamily("modbot_memory_limit_bytes", text)
