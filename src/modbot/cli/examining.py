"""Restoring the newest replica of a shard somewhere else, to look into it: for the drill and for adoption.

Nothing here touches a file that is served, nor a sidecar, nor what is in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modbot.domain.errors import InvalidInputError
from modbot.domain.ids import Epoch, ShardId
from modbot.domain.replicas import FileFacts
from modbot.ops import litestream
from modbot.ops.litestream import RestoreError
from modbot.ops.replicas import ReplicaStore
from modbot.shard import database, restoring

_LIMIT = 600.0


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of restoring one epoch: the file and what it says about itself, or what is wrong."""

    epoch: Epoch
    path: Path
    facts: FileFacts | None
    fault: str


@contextlib.contextmanager
def place(folder: Path | None) -> Iterator[Path]:
    """Give a folder to restore to: the named one, or a temporary one that is deleted afterwards."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="modbot-restored-") as made:
            yield Path(made)
        return
    if (folder / "pod.lock").exists():
        raise InvalidInputError(f"{folder} is the volume of a pod; nothing is restored there by hand.")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


async def newest(store: ReplicaStore, shard_id: ShardId) -> Epoch | None:
    """Return the newest epoch of a shard that can be restored; one without a beginning never held anything."""
    for epoch in await store.epochs(shard_id):
        if await store.begins(shard_id, epoch):
            return epoch
    return None


@contextlib.asynccontextmanager
async def restored(
    store: ReplicaStore,
    program: str,
    shard_id: ShardId,
    epoch: Epoch,
    *,
    folder: Path,
    check: Literal["quick", "full"] = "full",
) -> AsyncIterator[Restored]:
    """Restore one epoch of a shard; the file is there while the block runs.

    Raises:
        StoreError: the store cannot give all of it, so nothing is known.
        RestoreInterruptedError: the reason is on this machine.
    """
    place_of_work = await asyncio.to_thread(restoring.workplace, folder, shard_id)
    path = database.path_of(place_of_work, shard_id)
    url, keys = store.url_of(shard_id, epoch), store.keys.environment()
    try:
        try:
            await litestream.restore(program, url, path, keys=keys, limit=_LIMIT, check=check)
        except RestoreError as error:
            await store.read_through(shard_id, epoch)  # raises when it is the store that fails
            yield Restored(epoch, path, None, str(error))
            return
        facts, fault = await asyncio.to_thread(restoring.try_facts, path)
        yield Restored(epoch, path, facts, fault)
    finally:
        await asyncio.to_thread(shutil.rmtree, place_of_work, ignore_errors=True)
