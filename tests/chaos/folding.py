"""What a shard file must hold: the fold of the delivered events, computed here a second time and from the payloads alone.

Written without the product's handlers. Only the measuring of a text is borrowed (`domain.activity`): it is a pure rule with tests of
its own, and chaos does not depend on how words are counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ledger
import msgspec

from modbot.domain import activity

_PERSONAL = frozenset({0, 19})
Key = tuple[int, int]


class Event(msgspec.Struct, frozen=True):
    """One dispatch of a session as the simulator logged it."""

    seq: int
    name: str
    key: list[str]
    guild_id: str | None = None
    data: dict[str, Any] = {}


@dataclass(slots=True)
class Fold:
    """The tables that follow from events. `rows`: by guild and message (chars, words, code, hosts, attachments, reply)."""

    ledger: list[str] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    rows: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    reactions: dict[Key, set[tuple[str, int]]] = field(default_factory=dict)

    def apply(self, session_id: str, event: Event) -> None:
        """Add one event."""
        if event.name in ledger.NAMES:
            self.ledger.append(f"{session_id}/{event.seq}")
        if event.name == "MESSAGE_CREATE":
            self.messages.append(int(event.data["id"]))
        act = _ACTS.get(event.name)
        if act is not None and event.guild_id is not None:
            act(self, int(event.guild_id), event.data)

    def _create(self, guild_id: int, data: dict[str, Any]) -> None:
        author = data["author"]
        personal = not author.get("bot") and not author.get("system") and data.get("webhook_id") is None
        key = (guild_id, int(data["id"]))
        if not personal or data["type"] not in _PERSONAL or key in self.rows:
            return
        replied = data.get("referenced_message")
        reply_to = None if replied is None else int(replied["author"]["id"])
        place = int(data["channel_id"]), int(author["id"])
        self.rows[key] = (*place, *_measured(data["content"]), len(data.get("attachments", ())), reply_to)

    def _update(self, guild_id: int, data: dict[str, Any]) -> None:
        key = (guild_id, int(data["id"]))
        row = self.rows.get(key)
        if row is None:
            return
        measured = _measured(data["content"]) if "content" in data else row[2:6]
        attachments = len(data["attachments"]) if "attachments" in data else row[6]
        self.rows[key] = (*row[:2], *measured, attachments, row[7])

    def _delete(self, guild_id: int, data: dict[str, Any]) -> None:
        for message_id in data.get("ids", [data.get("id")]):
            self.rows.pop((guild_id, int(message_id)), None)
            self.reactions.pop((guild_id, int(message_id)), None)

    def _react(self, guild_id: int, data: dict[str, Any]) -> None:
        key = (guild_id, int(data["message_id"]))
        if key in self.rows:
            self.reactions.setdefault(key, set()).add((_emoji(data), int(data["user_id"])))

    def _unreact(self, guild_id: int, data: dict[str, Any]) -> None:
        key = (guild_id, int(data["message_id"]))
        self.reactions.get(key, set()).discard((_emoji(data), int(data["user_id"])))


_ACTS = {
    "MESSAGE_CREATE": Fold._create,
    "MESSAGE_UPDATE": Fold._update,
    "MESSAGE_DELETE": Fold._delete,
    "MESSAGE_DELETE_BULK": Fold._delete,
    "MESSAGE_REACTION_ADD": Fold._react,
    "MESSAGE_REACTION_REMOVE": Fold._unreact,
}


def _measured(text: str) -> tuple[Any, ...]:
    measured = activity.measure(text)
    return measured.chars, measured.words, _json(measured.code), _json(measured.hosts)


def _json(values: tuple[Any, ...]) -> str | None:
    return msgspec.json.encode(values).decode() if values else None


def _emoji(data: dict[str, Any]) -> str:
    emoji = data["emoji"]
    return str(emoji["id"]) if emoji.get("id") else emoji.get("name") or ""
