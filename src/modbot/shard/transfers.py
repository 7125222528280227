"""Where a guild is while it goes from one shard to another: the rows of both sides, and what they mean for an event that arrives.

Two shards receive the events of one guild (the guild's formula shard always does, a dedicated one has a second session with the same
numbers), and at every moment at most one of them handles them. Which one is a row in each file, changed in transactions of that file
like everything else, so it is exact with respect to the events: an event is handled, held or passed over by what the row says in the
transaction that stores its number.

    the giver:  (no row) -> recording -> cut -> away         the taker:  away -> holding -> (no row)
                    ^___________|________|  given up                       ^______|  given up

A row that is there is about to be settled by what the config service says of the transfer (`services/gateway/transfers.py`); nothing here
decides that. Effects and timers of a guild stand still unless its row is missing or `recording`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from modbot.discord.frames import Dispatch
from modbot.discord.interactions import Interaction
from modbot.domain.errors import ModbotError, NotOwnerError
from modbot.domain.ids import GuildId, TransferId
from modbot.ops import statements
from modbot.shard import guild_tables
from modbot.shard.importing import remove
from modbot.shard.transaction import Transaction

_SQL = statements.load("modbot.shard", "transfers.sql")
# Sent to each session at its own time, not one event of the guild's life.
_OF_ONE_SESSION = frozenset({"GUILD_CREATE"})


class GuildMovingError(ModbotError):
    """The guild is between two shards; in a moment one of them serves it."""

    code = "guild_moving"
    status = 503
    hint = "Try again; `modbot guild transfers` shows how far it is."
    retry = True


class TransferRefusedError(ModbotError):
    """The transfer cannot go on from here; it is given up and nothing is lost."""

    code = "transfer_refused"
    status = 409
    hint = "`GET /transfers` of the config service says why; begin it again."


class State(StrEnum):
    """See the module."""

    RECORDING = "recording"
    CUT = "cut"
    AWAY = "away"
    HOLDING = "holding"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The row of a guild."""

    state: State
    transfer_id: TransferId
    seen: bool
    broken: bool


def states(tx: Transaction) -> dict[GuildId, State]:
    """Return the guilds that this shard does not simply serve."""
    return {GuildId(guild_id): State(state) for guild_id, state in tx.all(_SQL["states"])}


def read(tx: Transaction, guild_id: GuildId) -> Whereabouts | None:
    """Return the row of a guild; None: served here like any other (or never heard of)."""
    row = tx.one(_SQL["read"], (guild_id,))
    return None if row is None else Whereabouts(State(row[0]), TransferId(row[1]), bool(row[2]), bool(row[3]))


def unsettled(tx: Transaction) -> list[tuple[GuildId, State, TransferId]]:
    """Return the guilds in the middle of a transfer."""
    return [(GuildId(row[0]), State(row[1]), TransferId(row[2])) for row in tx.all(_SQL["unsettled"])]


def require_served(tx: Transaction, guild_id: GuildId) -> None:
    """Refuse what asks for a guild that is not served here: `GuildMovingError` for a moment, `NotOwnerError` for good."""
    row = read(tx, guild_id)
    if row is None or row.state is State.RECORDING:
        return
    if row.state is State.AWAY:
        raise NotOwnerError(f"Guild {guild_id} is on another shard.")
    raise GuildMovingError(f"Guild {guild_id} is moving to another shard.")


def admit(tx: Transaction, item: Dispatch, state: State | None) -> bool:
    """Say whether an event of the current guild is to be handled; what is not may be held."""
    if state is None:
        return True
    if item.name == "GUILD_CREATE":
        tx.execute(_SQL["see"], (tx.guild_id,))
    if state is State.RECORDING:
        digest = content_hash(item)
        if digest is not None:
            tx.execute(_SQL["record"], (tx.guild_id, digest))
            tx.execute(_SQL["trim"], (tx.guild_id,))
        return True
    if state is not State.AWAY:
        row = (tx.guild_id, tx.cause, item.name, content_hash(item), _payload(item))
        tx.execute(_SQL["hold"], row)
    return False


def note_new_session(tx: Transaction) -> None:
    """A session began: it will tell of every guild, and does not continue the one before."""
    tx.execute(_SQL["see_anew"])


def note_interruption(tx: Transaction) -> None:
    """Events are missing: what is held has a hole."""
    tx.execute(_SQL["break_all"])


def begin_recording(tx: Transaction, guild_id: GuildId, transfer_id: TransferId) -> State:
    """Note the events of a served guild from now on. Repeating it changes nothing, and says whether the guild is cut already."""
    row = read(tx, guild_id)
    if row is not None and row.transfer_id == transfer_id and row.state in {State.RECORDING, State.CUT}:
        return row.state
    if row is not None:
        raise TransferRefusedError(f"Guild {guild_id} is {row.state} here under transfer {row.transfer_id}.")
    tx.execute(_SQL["forget_recorded"], (guild_id,))
    tx.execute(_SQL["put"], (guild_id, State.RECORDING, transfer_id))
    return State.RECORDING


def recorded(tx: Transaction, guild_id: GuildId) -> list[int]:
    """Return the hashes of the last applied events, in order."""
    return [row[0] for row in tx.all(_SQL["recorded"], (guild_id,))]


def cut(tx: Transaction, guild_id: GuildId, transfer_id: TransferId) -> list[int]:
    """Stop handling the guild here, with the commit; returns what was applied last. Repeating it returns the same."""
    row = read(tx, guild_id)
    if row is None or row.transfer_id != transfer_id or row.state not in {State.RECORDING, State.CUT}:
        raise TransferRefusedError(f"Transfer {transfer_id} of guild {guild_id} has not begun here.")
    if tx.value(_SQL["unrepaired"], (guild_id,)):
        raise TransferRefusedError(f"A gap of guild {guild_id} is being repaired.")
    tx.execute(_SQL["put"], (guild_id, State.CUT, transfer_id))
    return recorded(tx, guild_id)


def require_cut(tx: Transaction, guild_id: GuildId, transfer_id: TransferId) -> None:
    """Refuse to give the rows of a guild away that are still changing."""
    row = read(tx, guild_id)
    if row is None or row.state is not State.CUT or row.transfer_id != transfer_id:
        raise TransferRefusedError(f"Guild {guild_id} is not cut here for transfer {transfer_id}.")


def begin_holding(tx: Transaction, guild_id: GuildId, transfer_id: TransferId) -> bool:
    """Keep the guild's events from now on, in order; False when this transfer has begun here before: what is held already stays."""
    row = read(tx, guild_id)
    if row is None or row.state in {State.RECORDING, State.CUT}:
        raise TransferRefusedError(f"Guild {guild_id} is served here already.")
    if row.state is State.HOLDING and row.transfer_id == transfer_id:
        return False
    tx.execute(_SQL["forget_held"], (guild_id,))
    tx.execute(_SQL["put"], (guild_id, State.HOLDING, transfer_id))
    return True


def held_hashes(tx: Transaction, guild_id: GuildId) -> list[int | None]:
    """Return the hashes of the held events, in order; None for what came to this session only."""
    return [row[0] for row in tx.all(_SQL["held_hashes"], (guild_id,))]


def stand_aside(tx: Transaction, guild_id: GuildId) -> int:
    """Give the guild up: remove its rows and what is held or noted, and pass over its events; returns the rows that went."""
    row = read(tx, guild_id)
    transfer_id = TransferId(0) if row is None else row.transfer_id
    removed = remove(tx, guild_tables.find(tx.all), guild_id)
    forget(tx, guild_id)
    tx.execute(_SQL["put"], (guild_id, State.AWAY, transfer_id))
    tx.execute(_SQL["see"], (guild_id,))
    return removed


def forget(tx: Transaction, guild_id: GuildId) -> None:
    """Serve the guild here like any other; nothing stays of the transfer."""
    tx.execute(_SQL["forget_recorded"], (guild_id,))
    tx.execute(_SQL["forget_held"], (guild_id,))
    tx.execute(_SQL["forget"], (guild_id,))


def take_held(tx: Transaction, guild_id: GuildId) -> list[tuple[str, str, bytes]]:
    """Return the held events of a guild as (cause, name, body), in order."""
    return [(row[0], row[1], row[2]) for row in tx.all(_SQL["held"], (guild_id,))]


def content_hash(item: Dispatch) -> int | None:
    """Return 64 bits of what an event says, the same in every session; None for what is sent to one session only."""
    if item.name in _OF_ONE_SESSION:
        return None
    digest = hashlib.blake2b(bytes(item.raw), digest_size=8, person=item.name.encode()[:16])
    return int.from_bytes(digest.digest(), "big", signed=True)


def _payload(item: Dispatch) -> bytes:
    """Who pressed has been replaced in an anonymous interaction, so what was decoded is kept, not what was received."""
    return msgspec.json.encode(item.data) if isinstance(item.data, Interaction) else bytes(item.raw)
