"""The offset rule.

Discord numbers the dispatches of a gateway session: 1, 2, 3, ... On RESUME with number `s` it sends everything after `s` again, in
order. Whoever stores `s` decides what is sent again, and therefore what is lost and what is done twice:

* Store `s` when a dispatch *arrives*, and a crash before its effects are written loses it: Discord will not send it again.
* Store `s` in one place after the effects were written in another, and a crash between the two does it twice.
* Store `s` **in the same transaction as the effects**, and there is no between. The file holds the effects of exactly the
  dispatches up to `s`, whatever dies and whenever; RESUME continues with the first one that has none.

So this module is short. A batch of dispatches is one piece of work for the writer: run the handlers of each in order, then store
the number of the last one. If the batch commits, all of it has happened; if it does not, none of it has, the session (or its next
owner) resumes at the old number and gets the batch again. Three things keep the rule true:

1. Handlers only write rows. What must happen outside is a row too (an effect), carried out after the commit, with a key that
   derives from the dispatch, so that nothing outside depends on whether a commit was the first try.
2. Heartbeats tell Discord the *committed* number, never the received one, in case it forgets what was acknowledged.
3. A handler that fails must not hold the number back for ever nor let its dispatch vanish: the batch is undone and run once more,
   carefully, with a savepoint around every handler, and what fails then is kept as a dead letter in the same transaction (I9).

Dispatches that no feature wants are dropped before they get here; their numbers count all the same. What a gap repair has applied
already is passed over (`marks`).

Shown by a model of the rule and by the scenario tests: with these three, no event is lost or doubled (I3); without the first, every
run of the model loses or doubles some.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from modbot.discord.frames import Dispatch, Unreadable
from modbot.discord.intake import Batch, Hole, Item, SessionLost, SessionStarted
from modbot.discord.interactions import Interaction
from modbot.discord.objects import Object
from modbot.domain.ids import GuildId
from modbot.domain.offsets import Offset
from modbot.ops import statements
from modbot.shard import dead_letters, gaps, interactions, marks, snapshot, transfers
from modbot.shard.feature import EventHandler
from modbot.shard.registry import Registry
from modbot.shard.transaction import Transaction
from modbot.shard.writer import FILE_ERRORS

_SQL = statements.load("modbot.shard")
Run = Callable[[Transaction, Dispatch, str, EventHandler], int]


@dataclass(frozen=True, slots=True)
class Applied:
    """What a committed batch did."""

    offset: Offset | None
    dispatches: int
    dead_letters: int
    repairs_planned: bool = False
    """Whether a gap repair may have got something to do."""


def apply_batch(tx: Transaction, batch: Batch, registry: Registry) -> Applied:
    """Apply a batch and advance the offset, in the transaction that the caller commits."""
    try:
        with tx.savepoint():
            return _apply(tx, batch, registry, _run)
    except FILE_ERRORS:
        raise
    except Exception:  # noqa: BLE001 - which handler it was comes out in the careful run
        return _apply(tx, batch, registry, run_carefully)


def _apply(tx: Transaction, batch: Batch, registry: Registry, run: Run) -> Applied:
    session = tx.value(_SQL["read_session"])
    dead = dispatches = 0
    elsewhere = transfers.states(tx)
    tracker = marks.Tracker(tx)
    planned = False
    passed: set[int] = set()  # numbers of items that belong to guilds that are not served here
    done = 0  # items whose marks are stored
    for number, item in enumerate(batch.items):
        if isinstance(item, Dispatch):
            dispatches += 1
            tx.guild_id = guild_of(item.data)
            tx.cause = f"{session}/{item.seq}"
            if elsewhere and not transfers.admit(tx, item, elsewhere.get(tx.guild_id)):
                passed.add(number)
                continue
            if tracker.repairing:
                planned |= item.name == "GUILD_CREATE"
                if not tracker.admits(tx, item):
                    continue
            dead += handle(tx, item, registry, run)
        else:
            tracker.flush(tx, _served(batch, done, number, passed))
            session = item.offset.session_id if isinstance(item, SessionStarted) else session
            dead += _follow_session(tx, item, session or "")
            tracker, done, planned = marks.Tracker(tx), number + 1, True
    tracker.flush(tx, _served(batch, done, len(batch.items), passed))
    _store_offset(tx, batch.offset)
    return Applied(batch.offset, dispatches, dead, planned)


def apply_recovered(tx: Transaction, name: str, data: Object, registry: Registry) -> int:
    """Let the handlers take an event of the current guild that was read back; returns how many dead letters that made."""
    item = Dispatch(0, name, data, msgspec.Raw(b""))
    return sum(run_carefully(tx, item, each, handler) for each, handler in registry.handlers.get(name, ()))


def _served(batch: Batch, begin: int, end: int, passed: set[int]) -> Sequence[Item]:
    """Return the items of a part of the batch without those of guilds that are not served here."""
    if not passed:
        return batch.items[begin:end]
    return [batch.items[number] for number in range(begin, end) if number not in passed]


def handle(tx: Transaction, item: Dispatch, registry: Registry, run: Run) -> int:
    """Run the handlers of an event of the current guild under the current cause; returns how many dead letters that made."""
    dead = 0
    if isinstance(item.data, Interaction):

        def answer(part: Transaction, interaction: Interaction) -> None:
            interactions.apply_from_gateway(part, interaction, registry)

        dead += run(tx, item, "interactions.apply", answer)
    for name, handler in registry.handlers.get(item.name, ()):
        dead += run(tx, item, name, handler)
    return dead


def _store_offset(tx: Transaction, offset: Offset | None) -> None:
    if offset is None:
        tx.execute(_SQL["forget_session"])
    else:
        tx.execute(_SQL["store_offset"], (offset.session_id, offset.resume_url, offset.seq, tx.now_ms))


def _follow_session(tx: Transaction, item: Item, session: str) -> int:
    """Follow what is no dispatch; returns how many dead letters that made."""
    tx.guild_id, tx.cause = GuildId(0), session
    match item:
        case SessionStarted(offset=offset, ready=ready):
            tx.execute(_SQL["store_bot"], (ready.user.id,))
            transfers.note_new_session(tx)
            snapshot.mark_absent(tx, (guild.id for guild in ready.guilds))
            gaps.follow_again(tx, offset)
        case SessionLost():
            transfers.note_interruption(tx)
            gaps.lose_session(tx, item)
        case Hole():
            transfers.note_interruption(tx)
            gaps.record_hole(tx, session, item)
        case Unreadable(seq=seq, name=name, reason=reason):
            tx.execute(_SQL["insert_dead_letter"], (0, f"{session}/{seq}", f"decode {name}", reason, None, tx.now_ms))
            return 1
        case _:
            pass
    return 0


def _run(tx: Transaction, item: Dispatch, _name: str, handler: EventHandler) -> int:
    handler(tx, item.data)
    return 0


def run_carefully(tx: Transaction, item: Dispatch, name: str, handler: EventHandler) -> int:
    """Run one handler; what it cannot do becomes a dead letter and nothing else of it stays."""
    try:
        with tx.savepoint():
            handler(tx, item.data)
    except FILE_ERRORS:
        raise
    except Exception as error:  # noqa: BLE001 - recorded in the same transaction as the seq
        payload = None if isinstance(item.data, Interaction) else item.data  # who pressed, and the token, are not kept
        dead_letters.bury(tx, handler=name, error=error, payload=payload)
        return 1
    return 0


def guild_of(data: Any) -> GuildId:
    """Return the guild a dispatch belongs to; 0 for direct messages. GUILD_* dispatches carry it as their own id."""
    guild_id = getattr(data, "guild_id", data)
    if guild_id is data:
        guild_id = getattr(data, "id", 0)
    return GuildId(guild_id or 0)
