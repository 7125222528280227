"""What people see of a report: the form, the entry in the thread, the line in the mod log, the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modbot.domain import activity, texts
from modbot.domain.evidence import Evidence
from modbot.domain.ids import ChannelId, GuildId, MessageId, UserId, snowflake_time
from modbot.shard import responses
from modbot.shard.responses import Modal
from modbot.shard.transaction import from_ms

CATEGORIES: tuple[tuple[str, str], ...] = (
    ("spam", "Spam or scam"),
    ("harassment", "Harassment or hate"),
    ("explicit", "Explicit or disturbing content"),
    ("off_topic", "Wrong channel or disruptive"),
    ("other", "Something else"),
)
_CATEGORY_WORDS = dict(CATEGORIES)
WORDS_LIMIT = 500
_QUOTE_LIMIT = 1100
_MOST_REPORTS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Report:
    """One report as an entry shows it."""

    kind: str
    staff_id: UserId | None
    category: str | None
    words: str | None
    created_at: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A reported message with its reports."""

    guild_id: GuildId
    message_id: MessageId
    channel_id: ChannelId
    author_id: UserId
    author_name: str
    evidence: Evidence | None
    reports: tuple[Report, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """How often an author was reported."""

    total: int
    recent: int
    channels: int


def report_form(custom_id: str) -> Modal:
    """Build the form of an anonymous report."""
    fields = (
        responses.select("category", "What is wrong with it?", CATEGORIES, description="Optional."),
        responses.text_input(
            "words",
            "In your words",
            max_length=WORDS_LIMIT,
            description="Optional. Moderators see this, not who wrote it.",
        ),
    )
    return Modal(custom_id, "Report a message anonymously", fields)


def deletion_form(custom_id: str, title: str) -> Modal:
    """Build the form that asks before messages are deleted."""
    field = responses.text_input(
        "reason", "Reason", max_length=300, description="Optional. Goes into the server's audit log."
    )
    return Modal(custom_id, title, (field,))


def entry(found: Entry) -> dict[str, Any]:
    """Build the entry in the author's thread. It fits Discord's limit whatever was reported."""
    link = f"https://discord.com/channels/{found.guild_id}/{found.channel_id}/{found.message_id}"
    sent = texts.when(snowflake_time(found.message_id))
    forwarded = " (forwarded)" if found.evidence and found.evidence.forwarded else ""
    head = [
        f"{_heading(found.reports)}",
        f"[Message]({link}) by <@{found.author_id}> ({texts.escape(found.author_name)}) in <#{found.channel_id}>, sent {sent}{forwarded}",
    ]
    tail = [_report_line(report) for report in found.reports[-_MOST_REPORTS_SHOWN:]]
    body = _evidence_lines(found.evidence)
    content = "\n".join([*head, *body, *tail])
    return {"content": texts.cut(content, texts.MESSAGE_LIMIT), "allowed_mentions": {"parse": []}, "flags": 1 << 2}


def log_line(found: Entry, statistics: Statistics, thread_id: ChannelId) -> str:
    """Build the line of the newest report in the mod log."""
    newest = found.reports[-1]
    what = "tracked" if newest.kind == "track" else f"reported{_for(newest.category)}"
    text = found.evidence.text if found.evidence else ""
    quoted = f"“{texts.excerpt(text)}”" if text else "a message without text"
    return (
        f"{_icon(newest.kind)} **{texts.escape(found.author_name)}** was {what} in <#{found.channel_id}>: {quoted}\n"
        f"-# {' · '.join([_record(statistics), *_size_of(found.evidence)])} · <#{thread_id}>"
    )


def deleted(number: int, asked: int) -> str:
    """Say how many of the reported messages were deleted."""
    if number < asked:
        return f"{number} of {asked} reported messages deleted"
    return f"{texts.count(number, 'reported message')} deleted"


def _heading(reports: tuple[Report, ...]) -> str:
    anonymous = sum(1 for report in reports if report.kind == "report")
    staff = {report.staff_id for report in reports if report.staff_id is not None}
    parts = [f"Reported by {texts.count(anonymous, 'member')}"] if anonymous else []
    if staff:
        parts.append("Tracked by " + ", ".join(f"<@{each}>" for each in sorted(staff)))
    return f"{_icon(reports[-1].kind if reports else 'report')} **{' · '.join(parts)}**"


def _report_line(report: Report) -> str:
    at = texts.when(from_ms(report.created_at))
    if report.kind == "track":
        return f"-# tracked by <@{report.staff_id}> {at}"
    words = f": “{texts.excerpt(report.words, 200)}”" if report.words else ""
    return f"-# reported{_for(report.category)} {at}{words}"


def _evidence_lines(evidence: Evidence | None) -> list[str]:
    if evidence is None:
        return ["> *The text is no longer kept.*"]
    lines = [texts.quote(evidence.text, _QUOTE_LIMIT)] if evidence.text else ["> *No text.*"]
    if evidence.poll:
        lines.append(
            f"-# poll: {texts.excerpt(evidence.poll[0], 120)} ({texts.count(len(evidence.poll) - 1, 'answer')})"
        )
    if evidence.files:
        names = ", ".join(f"{texts.excerpt(file.name, 40)} ({texts.size(file.size)})" for file in evidence.files)
        lines.append(f"-# files: {texts.cut(names, 250)}")
    if evidence.stickers:
        lines.append(f"-# stickers: {texts.excerpt(', '.join(evidence.stickers), 120)}")
    if evidence.embeds:
        lines.append(f"-# embeds: {texts.excerpt(', '.join(evidence.embeds), 160)}")
    if evidence.reactions:
        lines.append("-# reactions: " + " ".join(f"{emoji} {number}" for emoji, number in evidence.reactions[:10]))
    return lines


def _record(statistics: Statistics) -> str:
    if statistics.total <= 1:
        return "first time on record"
    recent = "all" if statistics.recent == statistics.total else f"{statistics.recent} of them"
    channels = f", in {statistics.channels} channels" if statistics.channels > 1 else ""
    return f"on record {statistics.total} times, {recent} in the last 30 days{channels}"


def _size_of(evidence: Evidence | None) -> list[str]:
    if evidence is None:
        return []
    measured = activity.measure(evidence.text)
    parts = [texts.count(measured.words, "word")] if measured.words else []
    if measured.hosts:
        parts.append(texts.count(len(measured.hosts), "link"))
    if measured.code:
        parts.append(texts.count(sum(code.lines for code in measured.code), "line") + " of code")
    if evidence.files:
        parts.append(texts.count(len(evidence.files), "file"))
    return [", ".join(parts)] if parts else []


def _for(category: str | None) -> str:
    return f" for *{_CATEGORY_WORDS[category].lower()}*" if category in _CATEGORY_WORDS else ""


def _icon(kind: str) -> str:
    return "📌" if kind == "track" else "🚩"
