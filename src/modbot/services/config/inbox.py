"""The inbox: interactions on their way to their shard, kept until the shard file holds them durably.

Appending is idempotent by interaction id. Marking as deferred is what wakes the owner (a trigger notifies at commit). Only the
current owner of a shard may read or forget its entries: the ownership is checked under a lock on the shard's row, so a takeover
either comes before (and the caller gets a 409) or sees the acknowledgement done (I2). Payloads hold interaction tokens: they are
never logged, and they go when they expire.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from modbot.cluster import protocol
from modbot.domain.errors import NotFoundError, StaleEpochError
from modbot.domain.ids import Epoch, Incarnation, InteractionId, PodId, ShardId
from modbot.services.config.database import Connection, Database

PAGE = 500


class _OfGuild(msgspec.Struct):
    """As much of an interaction as decides where it goes."""

    guild_id: int | None = None


async def append(database: Database, entries: Sequence[protocol.InboxEntry]) -> None:
    """Append entries; those that are there already are left alone. `NotFoundError` (and nothing stored) for an unknown shard."""
    async with database.transaction() as connection:
        await _require_shards(connection, entries)
        await connection.one("append_inbox", *_columns(entries), [entry.deferred for entry in entries])


async def defer(database: Database, entries: Sequence[protocol.InboxEntry]) -> None:
    """Mark entries as deferred, adding those that are missing, and wake their owners. `NotFoundError` for an unknown shard."""
    async with database.transaction() as connection:
        await _require_shards(connection, entries)
        await connection.one("defer_inbox", *_columns(entries))


async def read(
    database: Database, shard_id: ShardId, *, pod_id: PodId, incarnation: Incarnation, epoch: Epoch, after: int = 0
) -> protocol.InboxPage:
    """Return up to `PAGE` waiting entries behind a position, oldest first; `StaleEpochError` unless the caller owns the shard."""
    async with database.transaction() as connection:
        await _require_owner(connection, shard_id, pod_id, incarnation, epoch)
        rows = await connection.all("list_inbox", shard_id, PAGE, after)
    return protocol.InboxPage(
        entries=[
            protocol.InboxEntry(
                interaction_id=InteractionId(row["interaction_id"]),
                shard_id=ShardId(row["shard_id"]),
                payload=row["payload"],
                deferred=row["deferred"],
            )
            for row in rows
        ],
        last=rows[-1]["position"] if rows else after,
    )


async def acknowledge(database: Database, shard_id: ShardId, request: protocol.AcknowledgeRequest) -> None:
    """Forget entries that the shard file holds durably; `StaleEpochError` unless the caller owns the shard."""
    async with database.transaction() as connection:
        await _require_owner(connection, shard_id, request.pod_id, request.incarnation, request.epoch)
        await connection.one("acknowledge_inbox", shard_id, request.interaction_ids, request.completed)


def _columns(entries: Sequence[protocol.InboxEntry]) -> tuple[list[str], list[int], list[str], list[int | None]]:
    return (
        [entry.shard_id for entry in entries],
        [entry.interaction_id for entry in entries],
        [entry.payload for entry in entries],
        [_guild_of(entry) for entry in entries],
    )


def _guild_of(entry: protocol.InboxEntry) -> int | None:
    """Return the guild of an entry, by which it is found again when the guild goes to another shard."""
    try:
        return msgspec.json.decode(entry.payload, type=_OfGuild, strict=False).guild_id
    except msgspec.DecodeError:
        return None  # its owner refuses it and says so


async def _require_shards(connection: Connection, entries: Sequence[protocol.InboxEntry]) -> None:
    unknown = await connection.value("unknown_shards", sorted({entry.shard_id for entry in entries}))
    if unknown is not None:
        raise NotFoundError(f"There is no shard {unknown!r}.")


async def _require_owner(
    connection: Connection, shard_id: ShardId, pod_id: PodId, incarnation: Incarnation, epoch: Epoch
) -> None:
    row = await connection.one("is_owner", shard_id, pod_id, incarnation, epoch)
    if row is None:
        raise NotFoundError(f"There is no shard {shard_id!r}.")
    if not row["owns"]:
        raise StaleEpochError(f"{pod_id} does not own {shard_id} in epoch {epoch}.")
