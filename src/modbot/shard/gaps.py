"""Gaps: times in which Discord's stream was not followed, and what a repair of them has to read (I9).

A gap opens in the transaction that learns of it. Discord refused the *session*, so that everything between the last commit and the
new session is missing; or it skipped numbers in a session that went on (a *hole*). From that transaction on every guild of the shard is
under repair: its marks stand still (`marks`).

A *rollback* is another thing: the file itself is older than its newest replica was, because that could not be restored. Discord's events
come again, or become a gap like any other. What people asked of modbot since is gone, nobody can read it back, and each guild is told.

After a lost session a guild waits for its GUILD_CREATE, which lists channels and threads with the id of the last message of each:
a place whose last message is not newer than its mark is not asked for. After a hole there is no GUILD_CREATE, and nobody knows which
guild the numbers belonged to; so each guild's places are asked for first.

What is to be read is a row per source, so a repair survives any death. `repairing` reads, `recovering` applies. When a guild's sources are
all settled, the repair ends here: the marks jump, the losses that nobody can read back are recorded, and the moderators are told.

A second gap during a repair joins it: the marks have not moved, so reading goes on until both are filled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from modbot.discord.events import Guild, UnavailableGuild
from modbot.discord.intake import Hole, SessionLost
from modbot.discord.objects import Channel
from modbot.domain import gaps
from modbot.domain.gaps import GapKind, Loss, Told
from modbot.domain.ids import GuildId, first_snowflake_at
from modbot.domain.offsets import Offset
from modbot.ops import statements
from modbot.shard import calls, guild_settings
from modbot.shard.effects import Run
from modbot.shard.feature import Feature
from modbot.shard.marks import AUDIT_LOG
from modbot.shard.transaction import Transaction, from_ms, to_ms

_SQL = statements.load("modbot.shard", "gaps.sql")
feature = Feature("gaps")
ENTRIES, BANS, MESSAGES, PLACES = "entries", "bans", "messages", "places"
# Discord's channel types whose messages can be read; a forum's last message id is the id of a thread.
_WITH_MESSAGES = frozenset({0, 2, 5, 10, 11, 12, 13})
_SPOKE_RECENTLY = timedelta(hours=24)
_MARKS_KEPT = timedelta(days=30)
_NOTES_KEPT = timedelta(hours=1)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Summary:
    """One gap of a shard file: from, to, why, and what became of it. Times in milliseconds since 1970."""

    gap_id: int
    kind: str
    reason: str
    session_id: str
    last_seq: int
    next_session_id: str | None
    next_seq: int | None
    missing: int | None
    began_at: int
    ended_at: int | None
    guilds: int
    repaired: int
    messages: int
    entries: int
    bans: int
    unreadable: int


def lose_session(tx: Transaction, lost: SessionLost) -> None:
    """Open a gap: Discord does not replay what came after the last position, or it left out events before it."""
    kind = GapKind.SESSION if lost.silent_since is None else GapKind.SILENCE
    since = None if lost.silent_since is None else to_ms(lost.silent_since)
    row = (kind, lost.last.session_id, lost.last.seq, lost.reason, tx.now_ms, since)
    gap_id = tx.value(_SQL["open_gap"], row)
    tx.execute(_SQL["repair_every_guild"], (gap_id, "waiting"))


def follow_again(tx: Transaction, offset: Offset) -> None:
    """End the open gap: a new session follows the stream. Guilds that are gone need no repair."""
    tx.execute(_SQL["close_gaps"], (tx.now_ms, offset.session_id, offset.seq))
    _drop_absent(tx)


def record_hole(tx: Transaction, session_id: str, hole: Hole) -> None:
    """Open a gap inside a session; nobody knows whose events were skipped, so every guild is looked through."""
    missing = hole.before - hole.after - 1
    reason = f"dispatches {hole.after + 1} to {hole.before - 1} never came"
    row = (session_id, hole.after, reason, tx.now_ms, hole.before, missing)
    ((gap_id, began_at),) = tx.all(_SQL["record_hole"], row)
    tx.execute(_SQL["repair_every_guild"], (gap_id, "open"))
    tx.execute(_SQL["open_all_repairs"])
    floor = first_snowflake_at(from_ms(began_at))
    for kind, position in ((PLACES, 0), (ENTRIES, floor), (BANS, 0)):
        tx.execute(_SQL["add_source_everywhere"], (kind, position, tx.now_ms))


def tell_rollback(tx: Transaction) -> bool:
    """Record that a restored file is older than what was replicated, and tell every guild, once; False when it is not."""
    rows = tx.all(_SQL["record_rollback"], (tx.now_ms,))
    for gap_id, began_at in rows:
        guilds = tx.all(_SQL["note_rollback_everywhere"], (gap_id, tx.now_ms))
        for (guild_id,) in guilds:
            tx.guild_id = GuildId(guild_id)
            tx.execute(_SQL["record_loss_of"], (guild_id, gap_id, Loss.INTERACTIONS))
            told = Told(kind=GapKind.ROLLBACK, began_at=began_at, ended_at=tx.now_ms, losses=(Loss.INTERACTIONS,))
            tx.effect(tell, told, key=f"{gap_id}/{began_at}")
        tx.execute(_SQL["forget_rollback"])
    return bool(rows)


@feature.on("GUILD_CREATE")
def look_at_guild(tx: Transaction, guild: Guild) -> None:
    """Plan what has to be read back, or note where following begins."""
    if guild.unavailable:
        return
    places = (*guild.channels, *guild.threads)
    if not plan(tx, places):
        begin(tx, places)
        return
    since = tx.value(_SQL["unfinished_since"], (tx.guild_id,))
    mark = dict(tx.all(_SQL["marks"], (tx.guild_id,))).get(AUDIT_LOG)
    position = first_snowflake_at(from_ms(since)) if mark is None else mark
    _add(tx, ENTRIES, AUDIT_LOG, position)
    _add(tx, BANS, 0, 0)


@feature.on("GUILD_DELETE")
def leave(tx: Transaction, guild: UnavailableGuild) -> None:
    """Forget how far a guild was followed once the bot is removed; an outage changes nothing."""
    if not guild.unavailable:
        _drop_absent(tx)


def plan(tx: Transaction, places: Iterable[Channel]) -> bool:
    """Add a source for every place of the current guild that may hold something new; False when it is not under repair."""
    since = tx.value(_SQL["unfinished_since"], (tx.guild_id,))
    if since is None:
        return False
    floor = first_snowflake_at(from_ms(since))
    marks = dict(tx.all(_SQL["marks"], (tx.guild_id,)))
    listed = [place for place in places if place.type in _WITH_MESSAGES]
    for place in listed:
        position = marks.get(place.id, floor)
        if (place.last_message_id or 0) > position:
            _add(tx, MESSAGES, place.id, position, parent_id=place.parent_id)
    recent = first_snowflake_at(from_ms(since) - _SPOKE_RECENTLY)
    for place_id in marks.keys() - {place.id for place in listed} - {AUDIT_LOG}:
        if marks[place_id] >= recent:  # a thread that was archived meanwhile, or a channel that is gone
            _add(tx, MESSAGES, place_id, marks[place_id])
    tx.execute(_SQL["open_repairs"], (tx.guild_id,))
    return True


def begin(tx: Transaction, places: Iterable[Channel]) -> None:
    """Follow every place of the current guild from its last message on, unless it is followed already."""
    listed = [place for place in places if place.type in _WITH_MESSAGES]
    for place in listed:
        tx.execute(_SQL["begin_mark"], (tx.guild_id, place.id, place.last_message_id or 0))
    old = first_snowflake_at(tx.now - _MARKS_KEPT)
    known = msgspec.json.encode([place.id for place in listed]).decode()
    tx.execute(_SQL["drop_old_marks"], (tx.guild_id, old, known))


def finish(tx: Transaction, losses: Iterable[Loss]) -> bool:
    """End the repair of the current guild if nothing is left to read; `losses` is what a gap takes for good."""
    if tx.value(_SQL["unread_sources"], (tx.guild_id,)):
        return False
    tx.execute(_SQL["move_marks_to_notes"], (tx.guild_id,))
    tx.execute(_SQL["drop_stream_notes"], (tx.guild_id,))
    for loss in losses:
        tx.execute(_SQL["record_loss"], (tx.guild_id, loss))
    tx.execute(_SQL["record_unreadable"], (tx.guild_id,))
    _tell(tx)
    tx.execute(_SQL["finish_repairs"], (tx.guild_id, tx.now_ms))
    tx.execute(_SQL["drop_sources"], (tx.guild_id,))
    return True


def forget_old(tx: Transaction) -> None:
    """Drop notes of repairs that the stream has long passed."""
    tx.execute(_SQL["forget_notes"], (tx.now_ms - int(_NOTES_KEPT.total_seconds() * 1000),))


def summaries(tx: Transaction) -> list[Summary]:
    """Return the newest gaps of the file."""
    return [Summary(*row) for row in tx.all(_SQL["summaries"], (_SHOWN,))]


@feature.effect
async def tell(run: Run, told: Told) -> None:
    """Put one line into the mod log, if there is one."""
    channel_id = await run.read(guild_settings.mod_log)
    if channel_id is None:
        return
    line = gaps.sentence(told, began=from_ms(told.began_at), ended=from_ms(told.ended_at))
    body = {"content": line, "allowed_mentions": {"parse": []}, "flags": 1 << 2}
    await run.request("line", calls.send_message(channel_id, body))


def _add(tx: Transaction, kind: str, place_id: int, position: int, *, parent_id: int | None = None) -> None:
    tx.execute(_SQL["add_source"], (tx.guild_id, kind, place_id, position, tx.now_ms, parent_id))


def _tell(tx: Transaction) -> None:
    row = tx.one(_SQL["told"], (tx.guild_id,))
    if row is None or row[1] is None:
        return
    kind, began_at, ended_at, messages, entries, bans, gap_id = row
    losses = dict(tx.all(_SQL["losses_told"], (tx.guild_id,)))
    told = Told(
        kind=GapKind(kind),
        began_at=began_at,
        ended_at=ended_at,
        messages=messages,
        entries=entries,
        bans=bans,
        unreadable=losses.get(Loss.CHANNELS, 0),
        losses=tuple(loss for loss in Loss if loss in losses),
    )
    if told.worth_telling:
        tx.effect(tell, told, key=f"{gap_id}/{began_at}")


def _drop_absent(tx: Transaction) -> None:
    tx.execute(_SQL["leave_absent"], (tx.now_ms,))
    for statement in ("drop_absent_marks", "drop_absent_notes", "drop_absent_sources", "drop_absent_ban_lists"):
        tx.execute(_SQL[statement])
