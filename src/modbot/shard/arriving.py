"""The end of a transfer: a guild's rows come in, or stay, and the events that were held are applied behind them, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from modbot.discord import events
from modbot.discord.frames import Dispatch
from modbot.domain.ids import GuildId, TransferId
from modbot.shard import dispatching, importing, marks, transfers
from modbot.shard.archive import Manifest
from modbot.shard.registry import Registry
from modbot.shard.transaction import Transaction
from modbot.shard.transfers import State, TransferRefusedError


def arrive(
    tx: Transaction, path: Path, manifest: Manifest, transfer_id: TransferId, *, rest: Sequence[int], registry: Registry
) -> int:
    """Bring a checked archive in and apply the held events whose index is in `rest`; returns how many.

    `TransferRefusedError` when the guild is not awaited here under this transfer.
    """
    guild_id = manifest.guild
    row = transfers.read(tx, guild_id)
    if row is None or row.state is not State.HOLDING or row.transfer_id != transfer_id:
        raise TransferRefusedError(f"Guild {guild_id} is not awaited here for transfer {transfer_id}.")
    held = transfers.take_held(tx, guild_id)
    transfers.forget(tx, guild_id)
    importing.bring_in(tx, path, manifest, replace=True)
    return _apply(tx, guild_id, [held[index] for index in rest], registry)


def release(tx: Transaction, guild_id: GuildId, registry: Registry) -> int:
    """Serve a guild again whose transfer was given up: apply what was held since the cut; returns how many."""
    row = transfers.read(tx, guild_id)
    if row is None or row.state not in {State.RECORDING, State.CUT}:
        return 0
    held = transfers.take_held(tx, guild_id)
    transfers.forget(tx, guild_id)
    return _apply(tx, guild_id, held, registry)


def _apply(tx: Transaction, guild_id: GuildId, held: Sequence[tuple[str, str, bytes]], registry: Registry) -> int:
    items = []
    for cause, name, body in held:
        tx.guild_id, tx.cause = guild_id, cause
        data = msgspec.json.decode(body, type=events.TYPES[name], strict=False)
        item = Dispatch(seq=0, name=name, data=data, raw=msgspec.Raw(body))
        dispatching.handle(tx, item, registry, dispatching.run_carefully)
        items.append(item)
    marks.Tracker(tx).flush(tx, items)
    return len(held)
