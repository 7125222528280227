"""What a gap takes, and the sentence about it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from modbot.discord.events import TYPES
from modbot.domain import gaps
from modbot.domain.gaps import GapKind, Loss, Told

BEGAN = datetime(2026, 11, 24, 12, 3, 10, tzinfo=UTC)
ENDED = datetime(2026, 11, 24, 12, 4, 2, tzinfo=UTC)
TOLD = Told(
    kind=GapKind.SESSION,
    began_at=0,
    ended_at=0,
    messages=37,
    entries=0,
    bans=0,
    unreadable=0,
    losses=(Loss.EDITS, Loss.DELETIONS, Loss.REACTIONS),
)


def told(**changes: object) -> str:
    return gaps.sentence(msgspec.structs.replace(TOLD, **changes), began=BEGAN, ended=ENDED)


def test_one_plain_sentence() -> None:
    assert told() == (
        "⚠️ Discord refused to resume; 2026-11-24 12:03:10–12:04:02 UTC: 37 messages read back; "  # noqa: RUF001
        "edits, deletions and reactions of that time are not known."
    )


def test_it_names_what_could_not_be_read() -> None:
    text = told(kind=GapKind.HOLE, messages=1, entries=1, bans=2, unreadable=1, losses=(Loss.EDITS, Loss.CHANNELS))
    assert text.startswith("⚠️ Discord skipped events; ")
    assert "1 message, 1 audit log entry and 2 changes of the ban list read back; 1 channel could not be read; " in text
    assert text.endswith("edits of that time are not known.")


def test_a_rollback_says_what_nobody_can_read_back() -> None:
    rollback = Told(kind=GapKind.ROLLBACK, began_at=0, ended_at=0, losses=(Loss.INTERACTIONS,))
    assert rollback.worth_telling
    assert gaps.sentence(rollback, began=BEGAN, ended=ENDED) == (
        "⚠️ modbot had to go back to an older copy of its data; 2026-11-24 12:03:10–12:04:02 UTC; "  # noqa: RUF001
        "commands, buttons and forms of that time are not known."
    )


def test_a_gap_over_midnight_names_both_days() -> None:
    text = gaps.sentence(TOLD, began=BEGAN, ended=datetime(2026, 11, 25, tzinfo=UTC))
    assert "2026-11-24 12:03:10 to 2026-11-25 00:00:00 UTC" in text


def test_where_nothing_happened_there_is_nothing_to_tell() -> None:
    assert TOLD.worth_telling
    assert msgspec.structs.replace(TOLD, messages=0, unreadable=1).worth_telling
    assert not msgspec.structs.replace(TOLD, messages=0).worth_telling


def test_only_what_somebody_wants_is_a_loss() -> None:
    assert gaps.losses_of(["MESSAGE_CREATE", "MESSAGE_DELETE", "MESSAGE_DELETE_BULK", "GUILD_CREATE"]) == (
        Loss.DELETIONS,
    )


def test_every_event_is_either_lost_read_back_or_told_anew() -> None:
    """A new event type has to be thought about here."""
    read_back = {"MESSAGE_CREATE", "GUILD_AUDIT_LOG_ENTRY_CREATE", "GUILD_BAN_ADD", "GUILD_BAN_REMOVE"}
    told_anew = {name for name in TYPES if name.startswith(("GUILD_ROLE_", "CHANNEL_", "THREAD_"))}
    told_anew.remove("THREAD_MEMBERS_UPDATE")
    of_the_session = {"READY", "RESUMED", "GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE", "GUILD_MEMBER_UPDATE"}
    of_the_session.add("INTERACTION_CREATE")  # its member reads that nobody answered, and tries again
    lost = {name for name in TYPES if gaps.losses_of([name])}
    assert lost | read_back | told_anew | of_the_session == set(TYPES)
    assert not lost & (read_back | told_anew | of_the_session)
