"""What a gap in the stream of events takes, and how it is told: kinds of loss and the sentence for moderators. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from modbot.domain import texts


class GapKind(StrEnum):
    """What was lost: a whole session, some numbers of one that went on, a type of event that stopped, or the end of the file itself."""

    SESSION = "session"
    HOLE = "hole"
    SILENCE = "silence"
    ROLLBACK = "rollback"


class Loss(StrEnum):
    """What nobody can read back afterwards. Channels, audit log and bans depend on permissions and on time."""

    EDITS = "edits"
    DELETIONS = "deletions"
    REACTIONS = "reactions"
    JOINS_AND_LEAVES = "joins and leaves"
    AUTOMOD = "AutoMod actions and changes"
    CHANNELS = "unreadable channels"
    AUDIT_LOG = "audit log"
    BANS = "bans"
    INTERACTIONS = "commands, buttons and forms"


_BY_EVENT: Final = MappingProxyType(
    {
        "MESSAGE_UPDATE": Loss.EDITS,
        "MESSAGE_DELETE": Loss.DELETIONS,
        "MESSAGE_DELETE_BULK": Loss.DELETIONS,
        "MESSAGE_REACTION_ADD": Loss.REACTIONS,
        "MESSAGE_REACTION_REMOVE": Loss.REACTIONS,
        "MESSAGE_REACTION_REMOVE_ALL": Loss.REACTIONS,
        "MESSAGE_REACTION_REMOVE_EMOJI": Loss.REACTIONS,
        "GUILD_MEMBER_ADD": Loss.JOINS_AND_LEAVES,
        "GUILD_MEMBER_REMOVE": Loss.JOINS_AND_LEAVES,
        "THREAD_MEMBERS_UPDATE": Loss.JOINS_AND_LEAVES,
        "AUTO_MODERATION_ACTION_EXECUTION": Loss.AUTOMOD,
        "AUTO_MODERATION_RULE_CREATE": Loss.AUTOMOD,
        "AUTO_MODERATION_RULE_UPDATE": Loss.AUTOMOD,
        "AUTO_MODERATION_RULE_DELETE": Loss.AUTOMOD,
    }
)
_WHY: Final = MappingProxyType(
    {
        GapKind.SESSION: "Discord refused to resume",
        GapKind.HOLE: "Discord skipped events",
        GapKind.SILENCE: "Discord stopped sending messages",
        GapKind.ROLLBACK: "modbot had to go back to an older copy of its data",
    }
)
_TELLS_ABOUT: Final = frozenset(
    {
        Loss.EDITS,
        Loss.DELETIONS,
        Loss.REACTIONS,
        Loss.JOINS_AND_LEAVES,
        Loss.AUTOMOD,
        Loss.AUDIT_LOG,
        Loss.BANS,
        Loss.INTERACTIONS,
    }
)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a guild's moderators are told about a finished repair, or about a rollback. Times in milliseconds since 1970."""

    kind: GapKind
    began_at: int
    ended_at: int
    messages: int = 0
    entries: int = 0
    bans: int = 0
    unreadable: int = 0
    losses: tuple[Loss, ...]

    @property
    def worth_telling(self) -> bool:
        """Whether anything happened here: where nothing was said and all could be read, there is nothing to tell.

        After a rollback nobody knows that.
        """
        return self.kind is GapKind.ROLLBACK or bool(self.messages or self.entries or self.bans or self.unreadable)


def losses_of(events: Iterable[str]) -> tuple[Loss, ...]:
    """Return what a gap takes for good from somebody who wants these events; state that comes anew with a session is not lost."""
    found = {_BY_EVENT[event] for event in events if event in _BY_EVENT}
    return tuple(loss for loss in Loss if loss in found)


def sentence(told: Told, *, began: datetime, ended: datetime) -> str:
    """Tell moderators in one line what was read back and what is not known."""
    why = _WHY[told.kind]
    counts = [
        texts.count(told.messages, "message"),
        *([texts.count(told.entries, "audit log entry", "audit log entries")] if told.entries else []),
        *([texts.count(told.bans, "change of the ban list", "changes of the ban list")] if told.bans else []),
    ]
    unknown = [loss.value for loss in told.losses if loss in _TELLS_ABOUT]
    line = f"⚠️ {why}; {_span(began, ended)} UTC"
    if told.kind is not GapKind.ROLLBACK:  # nothing of it can be read back
        line += f": {_joined(counts)} read back"
    if told.unreadable:
        line += f"; {texts.count(told.unreadable, 'channel')} could not be read"
    if unknown:
        line += f"; {_joined(unknown)} of that time are not known"
    return f"{line}."


def _span(began: datetime, ended: datetime) -> str:
    if began.date() != ended.date():
        return f"{began:%Y-%m-%d %H:%M:%S} to {ended:%Y-%m-%d %H:%M:%S}"
    return f"{began:%Y-%m-%d %H:%M:%S}–{ended:%H:%M:%S}"  # noqa: RUF001 - a span of time


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
