"""Adoption: what a config database must learn from a replica store that knows more than it does. Pure.

The store says which shards there are and under which epochs they were served. It does not say which guilds have a shard of their own: that a path
`guild-123` is there may be history. The shard files say it. Each of the two files that can hold a guild has a row about it while it is on its way
or elsewhere (`shard/transfers.py`), and the two rows together tell where the guild was served last. Where a transfer was under way, what became of
it is decided here, always in favour of the side that has handled everything. Where the two rows contradict each other, nobody guesses: a person says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from modbot.domain import ids
from modbot.domain.ids import Epoch, GuildId, PodId, ShardId, TransferId

KEEPER = PodId("replica-store")
"""Stands for the last owner of an adopted shard: no pod has its file, the store has it."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a shard file says about a guild: `recording`, `cut`, `away` or `holding`, and under which transfer. No row: it is served there."""

    state: str
    transfer_id: TransferId


class Home(StrEnum):
    """Where a guild was served last: on the shard of the `formula`, or on its `own`; `unclear` when the files contradict each other."""

    FORMULA = "formula"
    OWN = "own"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is to be written down about a transfer that the files are in the middle of. `to_own`: it went to the guild's own shard."""

    transfer_id: TransferId
    to_own: bool
    done: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a guild belongs, and the transfers to settle for it."""

    home: Home
    settlements: tuple[Settlement, ...] = ()


def decide_home(formula: Row | None, own: Row | None) -> Verdict:
    """Say from the rows of both files where a guild was served last."""
    there, here = (None if row is None else row.state for row in (own, formula))
    verdict = Verdict(Home.UNCLEAR)
    match here, there:
        case (None, "away" | "holding" | "recording" | "cut"):
            verdict = Verdict(Home.FORMULA)
        case ("away", None):
            verdict = Verdict(Home.OWN)
        case ("away", "recording" | "cut"):
            verdict = Verdict(Home.OWN, _settle(own, to_own=False, done=False))
        case ("recording" | "cut", "away" | "holding"):
            verdict = Verdict(Home.FORMULA, _settle(formula, to_own=True, done=False))
        case (
            "cut",
            None,
        ):  # it has brought the rows in, so the transfer was decided; the giver only has to remove them
            verdict = Verdict(Home.OWN, _settle(formula, to_own=True, done=True))
        case ("holding", None | "recording" | "cut"):
            verdict = Verdict(Home.OWN, _settle(formula, to_own=False, done=False))
    return verdict


def decide_told(home: Home, formula: Row | None, own: Row | None) -> Verdict:
    """Follow a person's word about a guild whose home is unclear; `unclear` again when the file named does not have the guild."""
    if home is Home.FORMULA and (formula is None or formula.state in {"recording", "cut"}):
        return Verdict(home, _settle(formula, to_own=True, done=False))
    if home is Home.OWN and (own is None or own.state in {"recording", "cut"}):
        known = Row("cut", TransferId(0)) if formula is None else formula
        given_away = () if known.state == "away" else _settle(known, to_own=True, done=True)
        return Verdict(home, given_away + (() if own is None else _settle(own, to_own=False, done=False)))
    return Verdict(Home.UNCLEAR)


def foreign_counts(shards: Sequence[ShardId], count: int) -> list[int]:
    """Return the shard counts in a store that are not ours."""
    found = {ids.parse_formula_shard(shard).count for shard in shards if ids.dedicated_guild(shard) is None}
    return sorted(found - {count})


def decide_behind(
    store: Mapping[ShardId, Epoch], known: Mapping[ShardId, Epoch], *, ours: bool
) -> dict[ShardId, Epoch]:
    """Return the shards to adopt, with the epoch from which each goes on: all that the store has, or none.

    None when the store is ours and has no later epoch than the database. If it has one, the database is an old copy, and what it remembers of
    the others is as old. If the store was another's, all has gone on elsewhere, whatever the numbers say.
    """
    behind = any(epoch > known.get(shard, Epoch(0)) for shard, epoch in store.items())
    if ours and not behind:
        return {}
    return {shard: max(epoch, known.get(shard, Epoch(0))) for shard, epoch in sorted(store.items())}


def guilds_of(shards: Sequence[ShardId]) -> list[GuildId]:
    """Return the guilds that have, or had, a shard of their own."""
    return [guild for shard in shards if (guild := ids.dedicated_guild(shard)) is not None]


def _settle(row: Row | None, *, to_own: bool, done: bool) -> tuple[Settlement, ...]:
    return () if row is None else (Settlement(row.transfer_id, to_own, done),)
