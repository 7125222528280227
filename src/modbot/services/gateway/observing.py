"""How the pod is at this moment, as gauges. They are set when somebody asks for `/metrics`, so nothing here runs while nobody looks.

What is true of a shard is true while this pod has it; the pod takes the gauges of a shard out when it closes it (`metrics.forget_shard`), so
that no shard shows twice, here as "not connected" and at its owner as connected.
"""

from __future__ import annotations

import shutil
from typing import Protocol

from modbot.cluster.leases import LeaseKeeper
from modbot.domain.ids import ShardId
from modbot.ops import metrics
from modbot.services.gateway import serving
from modbot.services.gateway.serving import ServedShard
from modbot.services.gateway.surroundings import Surroundings
from modbot.shard import database
from modbot.shard.registry import Registry


class Observed(Protocol):
    """What is looked at; `GatewayPod` has it."""

    surroundings: Surroundings
    lease: LeaseKeeper
    shards: dict[ShardId, ServedShard]


class Observer:
    """Looks at one pod."""

    def __init__(self, pod: Observed) -> None:
        self._pod = pod

    def look(self) -> None:
        """Set every gauge."""
        pod = self._pod
        _begin_dead_letters(pod.surroundings.tools.registry)
        for shard_id, served in pod.shards.items():
            _look_at_shard(shard_id, served)
        disk = shutil.disk_usage(pod.surroundings.data_dir)
        metrics.VOLUME_BYTES.set(disk.total)
        metrics.VOLUME_FREE.set(disk.free)
        metrics.LEASE.set(pod.lease.seconds_left())
        grant = pod.lease.grant
        if grant is not None:
            metrics.REST_SHARE.set(grant.rest_per_second)
            metrics.REST_OPEN.set(int(grant.rest_open))


def _look_at_shard(shard_id: ShardId, served: ServedShard) -> None:
    engine = served.engine
    for reason in serving.GAP_REASONS:
        metrics.GAPS.of(shard_id, reason)  # begins at 0, so that the first one is seen as growth
    metrics.OPEN.of(shard_id).set(int(engine is not None))
    metrics.CONNECTED.of(shard_id).set(int(served.connected))
    metrics.GUILDS.of(shard_id).set(served.guilds)
    metrics.SHARD_BYTES.of(shard_id).set(database.file_bytes(served.path))
    pending, oldest = (0, 0.0) if engine is None else engine.effects_waiting()
    metrics.EFFECTS_PENDING.of(shard_id).set(pending)
    metrics.EFFECT_WAITING.of(shard_id).set(oldest)


def _begin_dead_letters(registry: Registry) -> None:
    """Begin to count the dead letters of every handler at 0, so that the first one is seen as growth."""
    events = [name for handlers in registry.handlers.values() for name, _ in handlers]
    commands = [command.name for command in registry.commands.values()]
    for name in (*events, *commands, *registry.components, *registry.timers):
        metrics.DEAD_LETTERS.labels(name)
