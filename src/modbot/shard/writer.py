"""The one writer thread of a pod, with group commit.

Every change of every shard file of this pod is a piece of work in one queue. The thread takes all that waits, groups it by shard in
order, and commits each group in one transaction: under load many events, interactions and journal entries share a commit, and an
idle pod commits each at once. A piece of work that raises is undone alone, through its savepoint, and its caller gets the error.

What makes the group fail as a whole (the epoch is stale, the disk is full, the file is damaged) is raised to every caller of the
group; nothing of it is in the file (I2, I3). The thread refuses to retry: the pod decides what to do with a shard that cannot commit.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

import apsw

from modbot.domain.errors import StaleEpochError
from modbot.domain.ids import Epoch, ShardId
from modbot.ops import statements, tracing
from modbot.shard.transaction import PendingEffect, Transaction

_SQL = statements.load("modbot.shard")
_T = TypeVar("_T")
# Errors of the file, not of a handler: they fail the whole group and are never blamed on an event.
FILE_ERRORS = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.NoMemError,
)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit left for the event loop to do: effects to run, the earliest timer that was set, whether there is more to replicate."""

    effects: list[PendingEffect]
    next_timer: int | None
    changed: bool


@dataclass(slots=True)
class ShardFile:
    """A shard file that is open for writing under one epoch."""

    shard_id: ShardId
    epoch: Epoch
    connection: apsw.Connection
    on_commit: Callable[[Committed], None]
    """Called on the event loop after a commit that changed something."""


@dataclass(slots=True)
class _Item(Generic[_T]):
    shard: ShardFile
    work: Callable[[Transaction], _T]
    future: asyncio.Future[_T]
    durable: bool
    trace: str | None
    result: _T | None = None
    error: BaseException | None = None


@dataclass(slots=True)
class _Group:
    shard: ShardFile
    items: list[_Item[Any]] = field(default_factory=list)
    committed: Committed | None = None


class Writer:
    """Owns the writer thread; `submit` is called from the event loop."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self._queue: queue.SimpleQueue[_Item[Any] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def submit(
        self, shard: ShardFile, work: Callable[[Transaction], _T], *, durable: bool = False
    ) -> asyncio.Future[_T]:
        """Run `work` in a transaction of the shard and return its result once it is committed.

        With `durable` the commit also survives a power loss (`synchronous=FULL`), for what nobody would send again.
        """
        future: asyncio.Future[_T] = self._loop.create_future()
        self._queue.put(_Item(shard, work, future, durable, tracing.traceparent()))
        return future

    async def close(self) -> None:
        """Commit what waits and end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while True:
            items, more = self._take()
            for group in _by_shard(items):
                self._commit(group)
                self._loop.call_soon_threadsafe(_settle, group)
            if not more:
                return

    def _take(self) -> tuple[list[_Item[Any]], bool]:
        taken: list[_Item[Any]] = []
        item = self._queue.get()
        while item is not None:
            taken.append(item)
            if self._queue.empty():
                return taken, True
            item = self._queue.get()
        return taken, False

    def _commit(self, group: _Group) -> None:
        try:
            group.committed = _commit(group, self._now())
        except Exception as error:  # noqa: BLE001 - handed to every caller of the group
            for item in group.items:
                item.error = error


def _by_shard(items: list[_Item[Any]]) -> list[_Group]:
    groups: dict[int, _Group] = {}
    for item in items:
        groups.setdefault(id(item.shard), _Group(item.shard)).items.append(item)
    return list(groups.values())


def _commit(group: _Group, now: datetime) -> Committed:
    connection = group.shard.connection
    durable = any(item.durable for item in group.items)
    before = connection.total_changes()
    if durable:
        connection.execute("PRAGMA synchronous = FULL")
    transaction = Transaction(connection, now=now, epoch=group.shard.epoch)
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            _check_epoch(transaction, group.shard)
            for item in group.items:
                _run_item(transaction, item)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    finally:
        for schema in transaction.attached:
            connection.execute("DETACH " + schema)
        if durable:
            connection.execute("PRAGMA synchronous = NORMAL")
    return Committed(transaction.effects, transaction.next_timer, changed=connection.total_changes() != before)


def _check_epoch(transaction: Transaction, shard: ShardFile) -> None:
    """Fence the second door of I2: the file says who may write it."""
    stored = transaction.value(_SQL["read_epoch"])
    if stored != shard.epoch:
        raise StaleEpochError(f"Shard {shard.shard_id} is at epoch {stored}, this owner has {shard.epoch}.")


def _run_item(transaction: Transaction, item: _Item[Any]) -> None:
    transaction.trace = item.trace
    try:
        with transaction.savepoint():
            item.result = item.work(transaction)
    except FILE_ERRORS:
        raise
    except Exception as error:  # noqa: BLE001 - undone and handed to the caller of this piece of work
        item.error = error


def _settle(group: _Group) -> None:
    """Tell the callers, on the event loop."""
    if group.committed is not None and group.committed.changed:
        group.shard.on_commit(group.committed)
    for item in group.items:
        if item.future.cancelled():
            continue
        if item.error is not None:
            item.future.set_exception(item.error)
        else:
            item.future.set_result(item.result)
