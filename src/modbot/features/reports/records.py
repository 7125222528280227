"""The rows of reported messages and their reports."""

from __future__ import annotations

import msgspec

from modbot.discord.objects import Message
from modbot.domain.evidence import Evidence
from modbot.domain.ids import ChannelId, GuildId, InteractionId, MessageId, UserId
from modbot.features import user_threads
from modbot.features.reports.places import Place
from modbot.features.reports.views import Entry, Report, Statistics
from modbot.ops import statements
from modbot.shard.transaction import Transaction

_SQL = statements.load("modbot.features.reports")


def keep(tx: Transaction, message: Message, evidence: Evidence) -> bool:
    """Keep a message as evidence; False when it is kept already, and then it is left as it is."""
    author = message.author
    if author is None:
        return False
    text = msgspec.json.encode(evidence).decode()
    key = (tx.guild_id, message.id, message.channel_id, author.id, author.username)
    return tx.execute(_SQL["keep_message"], (*key, text, tx.now_ms)) > 0


def forget_evidence(tx: Transaction, message_id: MessageId) -> None:
    """Forget a message's text, and the row when nobody sent the report."""
    tx.execute(_SQL["forget_evidence"], (tx.guild_id, message_id))
    tx.execute(_SQL["forget_unreported"], (tx.guild_id, message_id))


def add_report(
    tx: Transaction,
    *,
    report_id: InteractionId,
    entry: Entry,
    kind: str,
    staff_id: UserId | None = None,
    reporter: UserId | None = None,
    category: str | None = None,
    words: str | None = None,
) -> bool:
    """Add a report; False when the same person reported this message before."""
    row = (tx.guild_id, report_id, entry.message_id, entry.author_id, kind, staff_id, reporter, category, words)
    return tx.execute(_SQL["insert_report"], (*row, tx.now_ms)) > 0


def forget_reporter(tx: Transaction, report_id: int) -> None:
    """Forget the hash of who reported."""
    tx.execute(_SQL["forget_reporter"], (tx.guild_id, report_id))


def reports_since(tx: Transaction, reporter: UserId, since: int) -> int:
    """Count what the same (hashed) member has reported since a time in ms."""
    return int(tx.value(_SQL["count_recent_of_reporter"], (tx.guild_id, reporter, since)))


def read_entry(tx: Transaction, message_id: MessageId) -> Entry | None:
    """Return a reported message with its reports."""
    row = tx.one(_SQL["read_message"], (tx.guild_id, message_id))
    if row is None:
        return None
    evidence = None if row[4] is None else msgspec.json.decode(row[4], type=Evidence)
    reports = tuple(Report(*each) for each in tx.all(_SQL["read_reports"], (tx.guild_id, message_id)))
    return Entry(GuildId(tx.guild_id), message_id, ChannelId(row[1]), UserId(row[2]), row[3], evidence, reports)


def place_of_entry(tx: Transaction, message_id: MessageId) -> Place | None:
    """Return where the entry stands in the author's thread, once it does."""
    row = tx.one(_SQL["read_message"], (tx.guild_id, message_id))
    if row is None or row[5] is None or row[6] is None:
        return None
    return Place(ChannelId(row[5]), MessageId(row[6]))


def remember_entry(tx: Transaction, message_id: MessageId, place: Place) -> None:
    """Remember where the entry stands."""
    tx.execute(_SQL["remember_entry"], (place.channel_id, place.message_id, tx.guild_id, message_id))


def statistics(tx: Transaction, author_id: UserId, since: int) -> Statistics:
    """Count the reports about an author, in all and since a time in ms."""
    row = tx.one(_SQL["statistics"], (tx.guild_id, author_id, since))
    return Statistics(*(row or (0, 0, 0)))


def mark_deleted(tx: Transaction, message_id: MessageId) -> None:
    """Note that a message is gone."""
    tx.execute(_SQL["mark_deleted"], (tx.now_ms, tx.guild_id, message_id))


def undeleted(tx: Transaction, author_id: UserId) -> tuple[tuple[Place, ...], user_threads.Person | None]:
    """Return the reported messages of an author that still exist, and who it is."""
    rows = tx.all(_SQL["undeleted_of_author"], (tx.guild_id, author_id))
    if not rows:
        return (), None
    places = tuple(Place(ChannelId(row[0]), MessageId(row[1])) for row in rows)
    entry = read_entry(tx, places[-1].message_id)
    return places, None if entry is None else user_threads.Person(entry.author_id, entry.author_name)
