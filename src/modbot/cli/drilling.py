"""`modbot restore-drill`: restores the newest replica of every shard somewhere else and proves each, while the system goes on.

A shard is proven when Litestream restores the newest epoch that the store has of it, SQLite finds no fault in the file
(`integrity_check`), the file is that shard's, of an epoch between that of its path and the shard's own, and holds at least the number that
its owner has last reported as replicated. The exit code is 0 when all are, 1 when one is not, 2 when the drill could not be done.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from modbot.cli import examining, finding, tables
from modbot.cluster import protocol
from modbot.cluster.client import ConfigClient
from modbot.domain import replicas as rules
from modbot.domain.errors import InvalidInputError
from modbot.domain.ids import Epoch, ShardId
from modbot.domain.replicas import Proof
from modbot.ops.replicas import ReplicaStore
from modbot.shard import database, inspecting


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What the drill found out about one shard. `epoch`: that of the path; `age` and `seconds` in seconds; `rows` by table."""

    shard_id: ShardId
    verdict: Proof
    reason: str = ""
    epoch: Epoch | None = None
    seq: int | None = None
    age: float | None = None
    size: int = 0
    rows: dict[str, int] = {}
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Drill:
    """Where to restore from and to."""

    store: ReplicaStore
    program: str
    folder: Path
    keep: bool


@dataclass(frozen=True, slots=True)
class _Known:
    """What the config service knows of a shard: its epoch, and the number that its owner reported as replicated."""

    epoch: Epoch
    reported: int


def run(*, state: Path, to: Path | None, keep: bool, as_json: bool) -> int:
    """Do the drill, print the table, and return the exit code."""
    if keep and to is None:
        raise InvalidInputError("--keep needs --to: the temporary folder does not stay.")
    store, settings = finding.replica_store(state)
    try:
        with examining.place(to) as folder:
            found = asyncio.run(_run(state, Drill(store, settings.program, folder, keep)))
    except KeyboardInterrupt:
        return 130
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        tables.console().print(tables.drill(found))
    return int(any(row.verdict is not Proof.PROVEN for row in found))


async def prove(client: ConfigClient, drill: Drill, *, tell: Callable[[int, int, str], None]) -> list[Row]:
    """Restore and judge every shard that was ever served. `tell` hears how many are done, of how many, and which is next."""
    names = list(await _known(client))
    found = []
    for number, shard_id in enumerate(names):
        tell(number, len(names), shard_id)
        found.append(await _prove(client, drill, shard_id))
    tell(len(names), len(names), "")
    return found


async def _run(state: Path, drill: Drill) -> list[Row]:
    columns = (TextColumn("restoring {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=tables.console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)

        def tell(done: int, total: int, name: str) -> None:
            progress.update(task, total=total, completed=done, description=name)

        async with finding.client(state) as client:
            return await prove(client, drill, tell=tell)


async def _prove(client: ConfigClient, drill: Drill, shard_id: ShardId) -> Row:
    before = (await _known(client))[shard_id]
    started = time.monotonic()
    epoch = await examining.newest(drill.store, shard_id)
    if epoch is None:
        return Row(shard_id=shard_id, verdict=Proof.MISSING, reason="the store has nothing of it")
    written = await drill.store.written_at(shard_id, epoch)
    age = None if written is None else round(max(0.0, (datetime.now(UTC) - written).total_seconds()), 1)
    async with examining.restored(drill.store, drill.program, shard_id, epoch, folder=drill.folder) as restored:
        row = Row(shard_id=shard_id, verdict=Proof.DAMAGED, reason=restored.fault, epoch=epoch, age=age)
        if restored.facts is not None:
            # Meanwhile the shard may have a new owner, or a session that counts from 1 again: the smaller number was surely replicated.
            after = (await _known(client)).get(shard_id, before)
            verdict, reason = rules.decide_proof(
                restored.facts,
                shard_id,
                path_epoch=epoch,
                granted=after.epoch,
                reported_seq=min(before.reported, after.reported),
            )
            row = msgspec.structs.replace(
                row,
                verdict=verdict,
                reason=reason,
                seq=None if restored.facts.offset is None else restored.facts.offset.seq,
                size=database.file_bytes(restored.path),
                rows=await asyncio.to_thread(inspecting.count_tables, restored.path),
            )
            if drill.keep:
                restored.path.replace(database.path_of(drill.folder, shard_id))
    return msgspec.structs.replace(row, seconds=round(time.monotonic() - started, 2))


async def _known(client: ConfigClient) -> dict[ShardId, _Known]:
    """Ask for the shards that were ever served, in their order."""
    listed, pods = await asyncio.gather(client.shards(), client.pods_health())
    reports = {load.shard_id: load for pod in pods.pods for load in pod.shards}
    return {
        shard.shard_id: _Known(shard.epoch, _reported(reports.get(shard.shard_id)))
        for shard in listed.shards
        if shard.epoch > 0
    }


def _reported(load: protocol.ShardLoad | None) -> int:
    return 0 if load is None else load.replicated_seq
