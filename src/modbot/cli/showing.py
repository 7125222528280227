"""`modbot status`: one table tells the truth."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.live import Live
from rich.table import Table

from modbot.cli import finding
from modbot.cluster import protocol
from modbot.cluster.client import ConfigClient
from modbot.domain.errors import ModbotError
from modbot.ops.settings import Secret

_REFRESH = 1.0
_STATE_COLOURS = {"live": "green", "draining": "yellow", "lost": "red", "left": "dim"}


@dataclass(frozen=True, slots=True)
class Row:
    """One pod, or the shards that nobody serves. `lag` and `lease` in seconds; `moving`: handoffs it gives or receives in."""

    pod: str
    state: str
    shards: int
    connected: int
    guilds: int
    events_per_second: float
    lag: float
    lease: float
    epochs: str
    moving: int = 0


def run(*, watch: bool, as_json: bool, state: Path) -> int:
    """Print the status once, or again and again until Ctrl-C."""
    url, token = finding.system(state)
    try:
        return asyncio.run(_run(url, token, watch=watch, as_json=as_json))
    except KeyboardInterrupt:
        return 0


def rows(pods: Sequence[protocol.PodHealth], shards: Sequence[protocol.ShardDetail]) -> list[Row]:
    """Turn the config service's answers into rows, pods by name; a last row holds the shards without an owner."""
    epochs: dict[str, list[int]] = {}
    for shard in shards:
        epochs.setdefault(shard.owner or "", []).append(shard.epoch)
    moving = Counter(end for shard in shards if shard.target is not None for end in (shard.owner, shard.target))
    made = [
        _row(pod, epochs.get(pod.pod_id, []), moving[pod.pod_id]) for pod in sorted(pods, key=lambda pod: pod.pod_id)
    ]
    if "" in epochs:
        made.append(Row("(nobody)", "-", len(epochs[""]), 0, 0, 0.0, 0.0, 0.0, _range(epochs[""])))
    return made


def table(found: Sequence[Row]) -> Table:
    """Build the table; it fits 80 columns."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for title, right in (
        ("POD", False),
        ("STATE", False),
        ("SHARDS", True),
        ("GUILDS", True),
        ("EVENTS/S", True),
        ("LAG", True),
        ("LEASE", True),
        ("EPOCHS", True),
    ):
        made.add_column(title, justify="right" if right else "left", no_wrap=True)
    for row in found:
        colour = _STATE_COLOURS.get(row.state, "yellow")
        shards = str(row.shards) if row.connected == row.shards else f"{row.connected}/{row.shards}"
        if row.moving:
            shards += f" [yellow]({row.moving} moving)[/]"
        made.add_row(
            row.pod,
            f"[{colour}]{row.state}[/]",
            shards,
            str(row.guilds),
            f"{row.events_per_second:.1f}",
            f"{row.lag * 1000:.0f} ms",
            f"{row.lease:.1f} s",
            row.epochs,
        )
    return made


async def _run(url: str, token: Secret, *, watch: bool, as_json: bool) -> int:
    async with aiohttp.ClientSession() as session:
        client = ConfigClient(url, token, session)
        if not watch:
            return _print(await _fetch(client), as_json=as_json)
        if as_json:
            while True:
                _print(await _fetch(client), as_json=True)
                await asyncio.sleep(_REFRESH)
        with Live(console=Console(), auto_refresh=False) as live:
            while True:
                try:
                    live.update(table(await _fetch(client)), refresh=True)
                except ModbotError as error:
                    live.update(f"[red]{error}[/] {error.hint}", refresh=True)
                await asyncio.sleep(_REFRESH)


async def _fetch(client: ConfigClient) -> list[Row]:
    pods, shards = await asyncio.gather(client.pods_health(), client.shards())
    return rows(pods.pods, shards.shards)


def _print(found: list[Row], *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps([asdict(row) for row in found]) + "\n")
        sys.stdout.flush()
    else:
        Console().print(table(found))
    return 0


def _row(pod: protocol.PodHealth, epochs: Sequence[int], moving: int) -> Row:
    draining = pod.state is protocol.PodState.LIVE and (pod.draining or pod.cordoned)
    loads = pod.shards
    return Row(
        pod=pod.pod_id,
        state="draining" if draining else str(pod.state),
        shards=len(epochs),
        connected=sum(load.connected for load in loads) if epochs else 0,
        guilds=sum(load.guilds for load in loads),
        events_per_second=round(sum(load.events_per_second for load in loads), 1),
        lag=max((load.lag_seconds for load in loads), default=0.0),
        lease=round(pod.lease_seconds, 1),
        epochs=_range(epochs),
        moving=moving,
    )


def _range(epochs: Sequence[int]) -> str:
    if not epochs:
        return "-"
    low, high = min(epochs), max(epochs)
    return str(low) if low == high else f"{low}-{high}"
