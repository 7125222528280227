"""Applying what a gap repair has read: each message, audit entry and ban once, in order, whatever dies and whatever comes live meanwhile.

Every function here is one piece of work for the writer. It first looks whether its source still stands where it stood when it was
read; if not (it was planned anew, or the guild is gone), nothing is done and the source is read again. Then each thing that is not
noted yet is noted and given to the handlers, the mark and the position move, and when nothing is left the guild's repair is finished, all
in one transaction. So a death costs at most one request.

Messages of one channel are applied in the order of their ids, audit entries as well. Across channels there is no order.

A recovered message is as Discord has it now, with the newest text; `member` is missing, as REST does not tell it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from modbot.discord.events import AuditLogEntryCreated, BanChanged
from modbot.discord.objects import AuditLogEntry, Ban, Channel, Message, User
from modbot.domain import gaps as rules
from modbot.domain.ids import ChannelId, GuildId, UserId
from modbot.domain.permissions import Permission
from modbot.ops import statements
from modbot.shard import dispatching, gaps, marks, snapshot
from modbot.shard.registry import Registry
from modbot.shard.transaction import Transaction

_SQL = statements.load("modbot.shard", "recovering.sql")
_MARKS = statements.load("modbot.shard", "marks.sql")
_WANTED = {
    gaps.PLACES: ("MESSAGE_CREATE",),
    gaps.MESSAGES: ("MESSAGE_CREATE",),
    gaps.ENTRIES: ("GUILD_AUDIT_LOG_ENTRY_CREATE",),
    gaps.BANS: ("GUILD_BAN_ADD", "GUILD_BAN_REMOVE"),
}
_LAST_USER = 2**63 - 1
_MOST_SETTLED = 50  # in one piece of work: others wait for the writer


@dataclass(frozen=True, slots=True)
class Source:
    """Something to read: what kind, where, and after which id."""

    guild_id: GuildId
    kind: str
    place_id: int
    position: int
    attempts: int
    parent_id: int | None
    planned: int


@dataclass(frozen=True, slots=True)
class Step:
    """What a repairer has to do next: read `source`, or wait until `due` (None: until something happens)."""

    source: Source | None
    due: int | None = None
    unfinished: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a piece of work did: how many were recovered, and whether the guild's repair ended with it."""

    recovered: int = 0
    finished: bool = False
    unreadable: bool = False


def next_step(tx: Transaction, registry: Registry) -> Step:
    """Return the next source that has to be read; those that need no request are settled on the way."""
    for _ in range(_MOST_SETTLED):
        row = tx.one(_SQL["next_source"], (tx.now_ms,))
        if row is None:
            break
        source = Source(*row)
        if any(event in registry.handlers for event in _WANTED[source.kind]):
            return Step(source)
        settle(tx, registry, source, None)
    return Step(None, tx.value(_SQL["next_due"]), tx.value(_SQL["unfinished"]))


def obstacle(tx: Transaction, source: Source) -> str | None:
    """Return the permission that is missing to read a source, in the words of Discord's settings.

    Discord answers with an empty list where Read Message History is missing, so it has to be looked up here. A channel that is hidden
    from modbot is no obstacle but nothing to read (empty text): its messages would not have come live either.
    """
    tx.guild_id = source.guild_id
    if source.kind in (gaps.ENTRIES, gaps.BANS):
        needed = (Permission.VIEW_AUDIT_LOG, "View Audit Log")
        if source.kind == gaps.BANS:
            needed = (Permission.BAN_MEMBERS, "Ban Members")
        return None if snapshot.own_guild_permissions(tx) & needed[0] else needed[1]
    if source.kind == gaps.MESSAGES:
        bits = snapshot.own_permissions(tx, ChannelId(source.place_id))
        if bits is None and source.parent_id is not None:  # a thread has the permissions of its channel
            bits = snapshot.own_permissions(tx, ChannelId(source.parent_id))
        if bits is not None and not bits & Permission.VIEW_CHANNEL:
            return ""
        if bits is not None and not bits & Permission.READ_MESSAGE_HISTORY:
            return "Read Message History"
    return None


def settle(tx: Transaction, registry: Registry, source: Source, reason: str | None) -> Outcome:
    """Read nothing (more) of a source; with a `reason` it counts as unreadable."""
    tx.guild_id = source.guild_id
    if not _still(tx, source):
        return Outcome()
    state = "done" if reason is None else "unreadable"
    tx.execute(_SQL["settle"], (source.guild_id, source.kind, source.place_id, state, reason))
    return Outcome(finished=_finish(tx, registry), unreadable=reason is not None)


def postpone(tx: Transaction, source: Source, *, attempts: int, due_at: int, reason: str) -> None:
    """Try a source again later."""
    key = (source.guild_id, source.kind, source.place_id)
    tx.execute(_SQL["postpone"], (*key, attempts, due_at, reason))


def add_places(tx: Transaction, registry: Registry, source: Source, places: Iterable[Channel]) -> Outcome:
    """Plan the reading of a guild's channels and threads after a hole."""
    tx.guild_id = source.guild_id
    if not _still(tx, source):
        return Outcome()
    gaps.plan(tx, places)
    return _advance(tx, registry, source, position=source.position, recovered=0, more=False)


def apply_messages(
    tx: Transaction, registry: Registry, source: Source, page: Iterable[Message], *, more: bool
) -> Outcome:
    """Apply a page of a channel's messages; `more` says that the channel may hold newer ones."""
    tx.guild_id = source.guild_id
    messages = sorted(page, key=lambda message: message.id)
    if not _still(tx, source) or _edited_meanwhile(tx, messages):
        return Outcome()
    recovered = 0
    for message in messages:
        if marks.note(tx, "message", message.id, place_id=source.place_id, by="repair"):
            tx.cause = f"recovered/message/{message.id}"
            whole = msgspec.structs.replace(message, guild_id=source.guild_id)
            dispatching.apply_recovered(tx, "MESSAGE_CREATE", whole, registry)
            recovered += 1
    position = messages[-1].id if messages else source.position
    if messages:
        marks.move(tx, source.place_id, position)
    return _advance(tx, registry, source, position=position, recovered=recovered, more=more)


def apply_entries(
    tx: Transaction, registry: Registry, source: Source, page: Iterable[AuditLogEntry], *, more: bool
) -> Outcome:
    """Apply a page of the audit log; `more` says that there may be newer entries."""
    tx.guild_id = source.guild_id
    if not _still(tx, source):
        return Outcome()
    entries = sorted(page, key=lambda entry: entry.id)
    recovered = 0
    for entry in entries:
        if marks.note(tx, "entry", entry.id, by="repair"):
            tx.cause = f"recovered/entry/{entry.id}"
            fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
            whole = AuditLogEntryCreated(guild_id=source.guild_id, **fields)
            dispatching.apply_recovered(tx, "GUILD_AUDIT_LOG_ENTRY_CREATE", whole, registry)
            recovered += 1
    position = entries[-1].id if entries else source.position
    if entries:
        marks.move(tx, marks.AUDIT_LOG, position)
    return _advance(tx, registry, source, position=position, recovered=recovered, more=more)


def apply_bans(tx: Transaction, registry: Registry, source: Source, page: Iterable[Ban], *, more: bool) -> Outcome:
    """Compare a page of the ban list, in the order of user ids, with the known bans of the same range.

    Without a known list the page only makes it known: nobody can tell then which bans are of the gap.
    """
    tx.guild_id = source.guild_id
    if not _still(tx, source):
        return Outcome()
    listed = {ban.user.id: ban.user for ban in page}
    position = max(listed) if more else _LAST_USER
    known = {UserId(row[0]) for row in tx.all(_SQL["bans_between"], (tx.guild_id, source.position, position))}
    is_known = tx.value(_SQL["bans_are_known"], (tx.guild_id,)) is not None
    recovered = 0
    for user_id in sorted(listed.keys() ^ known):
        change = "GUILD_BAN_ADD" if user_id in listed else "GUILD_BAN_REMOVE"
        recovered += _apply_ban(tx, registry, change, listed.get(user_id, User(id=user_id)), told=is_known)
    if not more and not is_known:
        tx.execute(_SQL["remember_ban_list"], (tx.guild_id, tx.now_ms))
        return settle(tx, registry, source, "The list of bans was not known before.")
    return _advance(tx, registry, source, position=position, recovered=recovered, more=more)


def _apply_ban(tx: Transaction, registry: Registry, change: str, user: User, *, told: bool) -> bool:
    """Follow one difference, unless the stream has said something newer about this user since the repair began."""
    if any(tx.value(_MARKS["noted_by"], (tx.guild_id, kind, user.id)) == "stream" for kind in ("ban", "unban")):
        return False
    banned = change == "GUILD_BAN_ADD"
    tx.execute(_MARKS["put_ban" if banned else "drop_ban"], (tx.guild_id, user.id))
    if told:
        marks.note(tx, "ban" if banned else "unban", user.id, by="repair")
        tx.cause = f"recovered/{'ban' if banned else 'unban'}/{user.id}/{tx.now_ms}"
        dispatching.apply_recovered(tx, change, BanChanged(guild_id=tx.guild_id, user=user), registry)
    return told


def _edited_meanwhile(tx: Transaction, messages: list[Message]) -> bool:
    """Tell whether a message of the page may be older than an edit that came live; then the page is read again."""
    ids = msgspec.json.encode([message.id for message in messages]).decode()
    return tx.execute(_SQL["take_edits"], (tx.guild_id, ids)) > 0


def _still(tx: Transaction, source: Source) -> bool:
    key = (source.guild_id, source.kind, source.place_id, source.position, source.planned)
    return tx.value(_SQL["still"], key) is not None


def _advance(
    tx: Transaction, registry: Registry, source: Source, *, position: int, recovered: int, more: bool
) -> Outcome:
    key = (source.guild_id, source.kind, source.place_id)
    tx.execute(_SQL["advance"], (*key, position, "open" if more else "done"))
    counts = (recovered if source.kind == kind else 0 for kind in (gaps.MESSAGES, gaps.ENTRIES, gaps.BANS))
    tx.execute(_SQL["count_recovered"], (source.guild_id, *counts))
    return Outcome(recovered, finished=not more and _finish(tx, registry))


def _finish(tx: Transaction, registry: Registry) -> bool:
    return gaps.finish(tx, rules.losses_of(registry.handlers))
