"""Reading shard files from outside: one transaction, so that the seq and the tables belong together. Never writes."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sysconfig
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from modbot.cli.stack import Stack
from modbot.domain.ids import Epoch, ShardId
from modbot.ops import litestream, replicas
from modbot.ops.settings import Secret
from modbot.shard import database, inspecting

_NO_KEYS = replicas.Keys(Secret(""), Secret(""))
_LITESTREAM = str(Path(sysconfig.get_path("scripts")) / "litestream")
_RESTORE_LIMIT = 60.0
_ROW = "guild_id, message_id, channel_id, author_id, chars, words, code, hosts, attachments, reply_to"


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch that the file says it has missed: seqs from `after` on, of a session that ended or up to `before`."""

    session_id: str
    after: int
    before: int | None
    kind: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A shard file at one moment."""

    path: Path
    shard_id: str
    epoch: int
    session_id: str | None
    seq: int
    causes: list[str]
    created: list[int]
    rows: dict[tuple[int, int], tuple[Any, ...]]
    counts: dict[tuple[int, int], int]
    reactions: dict[tuple[int, int], set[tuple[str, int]]]
    notes: list[int]
    gaps: list[Gap]
    rollbacks: int
    """How often the file says that it is older than its newest replica was."""
    dead_letters: int
    repairing: bool = False
    """Whether something is still being read back."""


def snapshot(path: Path) -> Snapshot:
    """Read a shard file, which may be in use."""
    with closing(database.connect_reader(path)) as connection, connection:
        shard_id, epoch, session_id, seq = _all(connection, "SELECT shard_id, epoch, session_id, seq FROM shard")[0]
        entries = _all(connection, "SELECT cause, name, message_id FROM ledger ORDER BY entry_id")
        rows = _all(connection, f"SELECT {_ROW}, reactions FROM activity")
        reactions: dict[tuple[int, int], set[tuple[str, int]]] = {}
        for guild_id, message_id, emoji, user_id in _all(connection, "SELECT * FROM activity_reactions"):
            reactions.setdefault((guild_id, message_id), set()).add((emoji, user_id))
        return Snapshot(
            path=path,
            shard_id=shard_id,
            epoch=epoch,
            session_id=session_id,
            seq=seq or 0,
            causes=[cause for cause, _, _ in entries],
            created=[message_id for _, name, message_id in entries if name == "MESSAGE_CREATE"],
            rows={row[:2]: row[2:-1] for row in rows},
            counts={row[:2]: row[-1] for row in rows if row[-1]},
            reactions=reactions,
            notes=[row[0] for row in _all(connection, "SELECT interaction_id FROM notes")],
            gaps=[
                Gap(*row)
                for row in _all(
                    connection,
                    "SELECT session_id, last_seq, next_seq, kind FROM gaps WHERE kind != 'rollback' ORDER BY gap_id",
                )
            ],
            rollbacks=_all(connection, "SELECT count(*) FROM gaps WHERE kind = 'rollback'")[0][0],
            dead_letters=_all(connection, "SELECT count(*) FROM dead_letters")[0][0],
            repairing=bool(_all(connection, "SELECT 1 FROM repairs WHERE finished_at IS NULL LIMIT 1")),
        )


def newest(stack: Stack) -> dict[str, Path]:
    """Return the file of every shard: of several copies the one that was written under the newest epoch."""
    found: dict[str, tuple[int, int, Path]] = {}
    for volume in sorted(stack.plan.state.glob("gateway-*")):
        for path in inspecting.files(volume):
            with contextlib.suppress(apsw.Error, StopIteration):  # it is being put in place or taken away just now
                look = inspecting.look(path)
                rank = (look.epoch, look.offset.seq if look.offset is not None else -1)
                if rank > found.get(path.stem, (0, -2, path))[:2]:
                    found[path.stem] = (*rank, path)
    return {shard_id: path for shard_id, (_, _, path) in found.items()}


async def restored(stack: Stack, shard_id: str) -> Snapshot | None:
    """Restore a shard from the newest complete path of the replica store, as a takeover would, and look into it."""
    store = replicas.ReplicaStore(stack.replica_store, _NO_KEYS)
    folder = Path(tempfile.mkdtemp(prefix="modbot-chaos-", dir=stack.plan.state))
    try:
        for epoch in await store.epochs(ShardId(shard_id)):
            if await store.begins(ShardId(shard_id), epoch):
                return await asyncio.to_thread(snapshot, await _restore(store, shard_id, epoch, folder))
        return None
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _restore(store: replicas.ReplicaStore, shard_id: str, epoch: Epoch, folder: Path) -> Path:
    path = folder / "restored.sqlite3"
    await litestream.restore(_LITESTREAM, store.url_of(ShardId(shard_id), epoch), path, keys={}, limit=_RESTORE_LIMIT)
    return path


def _all(connection: apsw.Connection, sql: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql).fetchall()
