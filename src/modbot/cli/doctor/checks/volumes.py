"""The volume of a gateway pod: there, writable, nobody else's, and large enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from modbot.cli.doctor.facts import Facts, Volume
from modbot.cli.doctor.findings import Finding, Kind, Level

MIB: Final = 1024 * 1024
LOG_ROOM: Final = 64 * MIB
"""A log may grow to this while the sidecar is away."""
_ENOUGH: Final = 0.15

NOT_WRITABLE = Kind(
    "volume_not_writable",
    Level.WRONG,
    "The folder of the shard files is not there or cannot be written to.",
    "The pod does not start; a running one takes no event in any more.",
    "Mount the volume at MODBOT_DATA_DIR and give it to the user of the process (`fsGroup: 10001` in Kubernetes).",
)
LOCKED = Kind(
    "volume_locked",
    Level.WRONG,
    "Another process works in the folder of the shard files.",
    "The pod does not start: two must never share a volume.",
    "End the other process, or give each pod a volume of its own. `pod.lock` in the folder holds its process id.",
)
FULL = Kind(
    "volume_full",
    Level.WRONG,
    "Less than 64 MB are free on the volume: the log of one busy shard while its sidecar is away.",
    "When nothing is left, events are not taken in.",
    "Enlarge the volume (`kubectl edit pvc data-gateway-0`, where its class allows it), or move shards to other pods: `modbot drain`.",
)
NEARLY_FULL = Kind(
    "volume_nearly_full",
    Level.WARNING,
    "Less than 15 % of the volume is free, or there is no room for a second copy of its largest file.",
    "A busy guild fills it; a shard that comes by a restore or a handoff finds no room.",
    "Enlarge the volume before it is full, or add a gateway pod: docs/how-to/scale.md.",
)
KINDS = (NOT_WRITABLE, LOCKED, FULL, NEARLY_FULL)


def decide(facts: Facts) -> Iterator[Finding]:
    """Look at each volume."""
    for volume in facts.volumes:
        if volume.problem:
            yield NOT_WRITABLE.found(volume.problem, subject=volume.path)
            continue
        if volume.locked and facts.before_start:
            yield LOCKED.found(f"{volume.path}/pod.lock is held.", subject=volume.path)
        yield from _room(volume)


def _room(volume: Volume) -> Iterator[Finding]:
    free = f"{volume.free // MIB} MB of {volume.size // MIB} MB are free"
    if volume.free < LOG_ROOM:
        yield FULL.found(f"{free}.", subject=volume.path)
    elif volume.free < max(_ENOUGH * volume.size, LOG_ROOM + volume.largest):
        yield NEARLY_FULL.found(f"{free}; the largest file has {volume.largest // MIB} MB.", subject=volume.path)
