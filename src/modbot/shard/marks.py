"""Marks and notes: how a gap repair and the stream of events apply each message and audit entry once between them.

**Marks.** A mark is the id of the newest message applied in a channel (or thread), or of the newest audit entry of a guild. They are
stored by the offset rule, in the transaction of the events themselves, once per batch and place. When a session is lost the marks
say where reading back has to begin.

**While a guild is under repair its marks stand still** for the stream: a live message that is newer than the gap must not make the
repair skip older ones. Instead everything the stream applies is *noted* by its id, and so is everything the repair applies. Both look
at the notes in the transaction in which they apply: whoever comes first applies, the other one passes. A repair moves the mark of a
place page by page, and when it is finished the marks jump to the newest note of the stream.

Outside of repairs the price is one look per batch and one row per batch and place. Nobody pays for notes.

Limit: within a channel ids grow with the order of the stream. If Discord ever delivered an older message after a newer one and lost the
session exactly in between, the older one would be taken for applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from modbot.discord.frames import Dispatch
from modbot.discord.objects import Message
from modbot.domain.ids import ChannelId, GuildId
from modbot.domain.permissions import Permission
from modbot.ops import statements
from modbot.shard import snapshot
from modbot.shard.transaction import Transaction

_SQL = statements.load("modbot.shard", "marks.sql")
AUDIT_LOG = 0
"""The place of audit entries."""
TABLES = frozenset({"marks", "bans", "ban_lists"})
"""What a shard has heard of a guild, by which a repair goes."""
_DELETIONS = frozenset({"MESSAGE_DELETE", "MESSAGE_DELETE_BULK"})
_MOVE = _SQL["move_mark"]
_BANS = {"GUILD_BAN_ADD": ("ban", "unban"), "GUILD_BAN_REMOVE": ("unban", "ban")}
_READABLE = Permission.VIEW_CHANNEL | Permission.READ_MESSAGE_HISTORY
_PLACES_LOOKED_AT, _PLACES_ASKED = 10, 3
_OTHERS = frozenset({"GUILD_AUDIT_LOG_ENTRY_CREATE", "GUILD_DELETE", *_BANS})


class Tracker:
    """Follows the dispatches of one batch between two changes of the session. Create it in the batch's transaction.

    Outside of repairs one walk over the dispatches at the end is enough (`flush`); during a repair each one is asked about (`admits`).
    """

    __slots__ = ("_states", "repairing")

    def __init__(self, tx: Transaction) -> None:
        self._states: dict[int, tuple[bool, bool]] = {}
        self.repairing = bool(tx.value(_SQL["is_repairing"]))

    def admits(self, tx: Transaction, item: Dispatch) -> bool:
        """Note a dispatch of `tx.guild_id` if its guild is under repair; False when the repair has applied it already."""
        name, guild_id = item.name, tx.guild_id
        data: Any = item.data
        if not guild_id:
            return True
        if name == "MESSAGE_CREATE":
            return self._note(tx, guild_id, "message", data.channel_id, data.id)
        if name == "GUILD_AUDIT_LOG_ENTRY_CREATE":
            return self._note(tx, guild_id, "entry", AUDIT_LOG, data.id)
        if name in _BANS:
            return self._note_ban(tx, guild_id, name, data.user.id)
        self._note_change(tx, guild_id, name, data)
        return True

    def flush(self, tx: Transaction, items: Sequence[Any]) -> None:
        """Move the marks to the newest of these items, except those of guilds under repair, whose marks stand still."""
        newest: dict[tuple[GuildId, int], int] = {}
        latest: dict[ChannelId, Message] = {}
        left: set[int] = set()
        for item in items:
            if item.name == "MESSAGE_CREATE":
                message = item.data
                known = latest.get(message.channel_id)
                if known is None or message.id > known.id:
                    latest[message.channel_id] = message
            elif item.name in _OTHERS:
                self._follow_other(tx, item, newest, left)
        for message in latest.values():
            newest[message.guild_id or GuildId(0), message.channel_id] = message.id
        for (guild_id, place_id), last_id in newest.items():
            if guild_id and guild_id not in left and not (self.repairing and self._state(tx, guild_id)[0]):
                tx.execute(_MOVE, (guild_id, place_id, last_id))

    @staticmethod
    def _follow_other(tx: Transaction, item: Any, newest: dict[tuple[GuildId, int], int], left: set[int]) -> None:
        data = item.data
        if item.name == "GUILD_DELETE":
            left.update(() if data.unavailable else (data.id,))
            return
        if item.name in _BANS:
            kind, _opposite = _BANS[item.name]
            tx.execute(_SQL["put_ban" if kind == "ban" else "drop_ban"], (data.guild_id, data.user.id))
            return
        key = (data.guild_id, AUDIT_LOG)
        newest[key] = max(data.id, newest.get(key, 0))

    def _note(self, tx: Transaction, guild_id: GuildId, kind: str, place_id: int, number: int) -> bool:
        is_open, has_notes = self._state(tx, guild_id)
        if has_notes and tx.value(_SQL["noted_by"], (guild_id, kind, number)) == "repair":
            return False
        if is_open:
            note(tx, kind, number, place_id=place_id, by="stream")
        return True

    def _note_ban(self, tx: Transaction, guild_id: GuildId, name: str, user_id: int) -> bool:
        kind, opposite = _BANS[name]
        is_open, has_notes = self._state(tx, guild_id)
        known = tx.value(_SQL["noted_by"], (guild_id, kind, user_id)) if has_notes else None
        if has_notes or is_open:
            tx.execute(_SQL["forget_note"], (guild_id, opposite, user_id))
        if known == "repair":
            tx.execute(_SQL["forget_note"], (guild_id, kind, user_id))
        if is_open:
            note(tx, kind, user_id, by="stream")
        return known != "repair"

    def _note_change(self, tx: Transaction, guild_id: GuildId, name: str, data: Any) -> None:
        """A message that is deleted or edited while the repair holds an older copy of it must not come back as it was."""
        if name == "MESSAGE_UPDATE":
            if self._state(tx, guild_id)[0]:
                note(tx, "edit", data.id, place_id=data.channel_id, by="stream")
        elif name in _DELETIONS and self._state(tx, guild_id)[0]:
            for message_id in data.ids if name == "MESSAGE_DELETE_BULK" else (data.id,):
                note(tx, "message", message_id, place_id=data.channel_id, by="stream")

    def _state(self, tx: Transaction, guild_id: GuildId) -> tuple[bool, bool]:
        state = self._states.get(guild_id)
        if state is None:
            is_open, has_notes = tx.one(_SQL["repair_state"], (guild_id,)) or (0, 0)
            state = self._states[guild_id] = (bool(is_open), bool(has_notes))
        return state


class Place(NamedTuple):
    """A channel or thread and its mark."""

    guild_id: GuildId
    place_id: int
    last_id: int


def newest_places(tx: Transaction) -> list[Place]:
    """Return the places of the shard in which somebody spoke last and whose history we may read; none while a gap is repaired."""
    found = []
    for place in (Place(*row) for row in tx.all(_SQL["newest_places"], (_PLACES_LOOKED_AT,))):
        tx.guild_id = place.guild_id
        bits = snapshot.own_permissions(tx, ChannelId(place.place_id))
        if bits is None or bits & _READABLE == _READABLE:
            found.append(place)
    return found[:_PLACES_ASKED]


def note(tx: Transaction, kind: str, number: int, *, place_id: int = AUDIT_LOG, by: str) -> bool:
    """Note in the current guild that something is applied; False when the other side, or an earlier try, has done so."""
    return tx.execute(_SQL["note"], (tx.guild_id, kind, number, place_id, by, tx.now_ms)) > 0


def move(tx: Transaction, place_id: int, last_id: int) -> None:
    """Move a mark of the current guild forward."""
    tx.execute(_SQL["move_mark"], (tx.guild_id, place_id, last_id))
