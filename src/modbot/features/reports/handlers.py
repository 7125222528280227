"""The menu entries `Report` and `Track`, their forms and buttons, and what events do to reported messages."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from modbot.discord.events import MessageDeleted, MessagesDeleted
from modbot.discord.interactions import Interaction
from modbot.discord.objects import Message
from modbot.domain.evidence import Evidence, File
from modbot.domain.ids import MessageId, UserId
from modbot.features import user_threads
from modbot.features.reports import acting, records, views
from modbot.features.reports.acting import DeleteReported, FileReport, feature
from modbot.features.reports.places import Place
from modbot.shard import guild_settings, snapshot
from modbot.shard.effects import UserError
from modbot.shard.feature import Access, ButtonStyle, CommandKind, Control, Deferral, custom_id_parts
from modbot.shard.responses import Later, Modal, Reply, Response
from modbot.shard.transaction import Transaction, to_ms

_EVIDENCE_KEPT = timedelta(minutes=60)
_REPORTER_KEPT = timedelta(hours=48)
_RATE_WINDOW = timedelta(hours=1)
_MOST_REPORTS = 5


class OfMessage(msgspec.Struct, frozen=True):
    """Arguments of timers about a message."""

    message_id: MessageId


class OfReport(msgspec.Struct, frozen=True):
    """Arguments of timers about a report."""

    report_id: int


def _report_modal(interaction: Interaction) -> Modal:
    target = interaction.data.target_id if interaction.data else 0
    return views.report_form(send_report.custom_id(target))


@feature.command(
    "Report",
    kind=CommandKind.MESSAGE,
    access=Access.EVERYONE,
    defers=Deferral.EPHEMERAL,
    modal=_report_modal,
    anonymous=True,
)
def open_report(tx: Transaction, interaction: Interaction) -> Response:
    """Keep the message as evidence while the member fills in the form."""
    if guild_settings.mod_log(tx) is None:
        return Reply("This server has not set up reports yet. Please tell a moderator directly.")
    _keep(tx, _target(interaction))
    return Later()


@feature.form("report", access=Access.EVERYONE, defers=Deferral.EPHEMERAL, anonymous=True)
def send_report(tx: Transaction, interaction: Interaction) -> Response:
    """Record an anonymous report, once per member and message."""
    data, invoker = interaction.data, interaction.invoker
    if data is None or invoker is None:
        raise UserError("This works in servers only.")
    message_id = MessageId(int(custom_id_parts(data.custom_id)[0]))
    kept = records.read_entry(tx, message_id)
    if kept is None:
        return Reply("That took too long, and I no longer have the message. Please open `Report` on it again.")
    since = to_ms(tx.now - _RATE_WINDOW)
    if records.reports_since(tx, invoker.id, since) >= _MOST_REPORTS:
        return Reply("You have reported several messages within an hour. Moderators are on it; please wait a little.")
    fields = data.fields()
    category = fields["category"].values[0] if "category" in fields and fields["category"].values else None
    words = str(fields["words"].value or "").strip() if "words" in fields else ""
    added = records.add_report(
        tx,
        report_id=interaction.id,
        entry=kept,
        kind="report",
        reporter=invoker.id,
        category=category,
        words=words[: views.WORDS_LIMIT] or None,
    )
    if not added:
        return Reply("You have reported this message already. Moderators know about it.")
    tx.timer(forget_reporter, OfReport(interaction.id), key=str(interaction.id), after=_REPORTER_KEPT)
    _file(tx, kept, reply_token=None)
    return Reply("Thank you. The moderators have been told, and they do not see who reported it.")


@feature.command("Track", kind=CommandKind.MESSAGE, access=Access.MODERATOR, defers=Deferral.EPHEMERAL)
def track(tx: Transaction, interaction: Interaction) -> Response:
    """Add a message to its author's history; nothing happens to the author."""
    message = _target(interaction)
    _keep(tx, message)
    kept = records.read_entry(tx, message.id)
    if kept is None or interaction.invoker is None:
        raise UserError("I could not read that message.")
    records.add_report(tx, report_id=interaction.id, entry=kept, kind="track", staff_id=interaction.invoker.id)
    _file(tx, kept, reply_token=interaction.token)
    return Later()


def _delete_modal(interaction: Interaction) -> Modal:
    message_id = custom_id_parts(interaction.data.custom_id)[0] if interaction.data else "0"
    return views.deletion_form(confirm_delete.custom_id("message", message_id), "Delete this message?")


@feature.component("delete", access=Access.MODERATOR, defers=Deferral.EPHEMERAL, modal=_delete_modal)
def delete_message(_tx: Transaction, _interaction: Interaction) -> Response:
    """Ask before one reported message is deleted."""
    return Later()


def _delete_all_modal(interaction: Interaction) -> Modal:
    user_id = custom_id_parts(interaction.data.custom_id)[0] if interaction.data else "0"
    return views.deletion_form(confirm_delete.custom_id("user", user_id), "Delete all reported messages?")


@feature.component(
    "delete-all",
    access=Access.MODERATOR,
    defers=Deferral.EPHEMERAL,
    modal=_delete_all_modal,
    control=Control("Delete all reported messages", ButtonStyle.RED, 1),
)
def delete_all(_tx: Transaction, _interaction: Interaction) -> Response:
    """Ask before all reported messages of a user are deleted."""
    return Later()


@feature.form("confirm-delete", access=Access.MODERATOR, defers=Deferral.EPHEMERAL)
def confirm_delete(tx: Transaction, interaction: Interaction) -> Response:
    """Have the confirmed deletions carried out."""
    data, invoker = interaction.data, interaction.invoker
    if data is None or invoker is None:
        raise UserError("This works in servers only.")
    scope, target = custom_id_parts(data.custom_id)
    fields = data.fields()
    reason = str(fields["reason"].value or "").strip() if "reason" in fields else ""
    messages, person = _deletable(tx, scope, int(target))
    if not messages or person is None:
        return Reply("There is nothing to delete: no reported message of theirs is left.")
    order = DeleteReported(
        messages=messages, person=person, actor_id=invoker.id, actor_name=invoker.username, reason=reason[:300]
    )
    lane = user_threads.lane_of(person.user_id)
    tx.effect(acting.delete_reported, order, lane=lane, reply_token=interaction.token)
    return Later()


@feature.timer
def forget_evidence(tx: Transaction, args: OfMessage) -> None:
    """Message text is kept for 60 minutes."""
    records.forget_evidence(tx, args.message_id)


@feature.timer
def forget_reporter(tx: Transaction, args: OfReport) -> None:
    """The hash of who reported serves against abuse for two days only."""
    records.forget_reporter(tx, args.report_id)


@feature.on("MESSAGE_DELETE")
def note_deletion(tx: Transaction, event: MessageDeleted) -> None:
    """A reported message is gone, whoever deleted it."""
    records.mark_deleted(tx, event.id)


@feature.on("MESSAGE_DELETE_BULK")
def note_deletions(tx: Transaction, event: MessagesDeleted) -> None:
    """Several messages are gone."""
    for message_id in event.ids:
        records.mark_deleted(tx, message_id)


def _file(tx: Transaction, entry: views.Entry, *, reply_token: str | None) -> None:
    lane = user_threads.lane_of(entry.author_id)
    tx.effect(acting.file_report, FileReport(entry.message_id), lane=lane, reply_token=reply_token)


def _target(interaction: Interaction) -> Message:
    data = interaction.data
    resolved = data.resolved.messages if data is not None and data.resolved is not None else {}
    message = resolved.get(MessageId(data.target_id or 0)) if data is not None else None
    if message is None or message.author is None:
        raise UserError("I could not read that message.")
    return message


def _keep(tx: Transaction, message: Message) -> None:
    if message.author is None or message.author.id == snapshot.bot_user(tx):
        raise UserError("That is one of my own messages; there is nobody to report.")
    if records.keep(tx, message, _evidence(message)):
        tx.timer(forget_evidence, OfMessage(message.id), key=str(message.id), after=_EVIDENCE_KEPT)


def _evidence(message: Message) -> Evidence:
    forwarded = message.message_snapshots[0].message if message.message_snapshots else None
    source = forwarded or message
    text = forwarded.content if forwarded is not None else message.text
    attachments = () if source.attachments is msgspec.UNSET else source.attachments
    embeds = () if source.embeds is msgspec.UNSET else source.embeds
    poll = message.poll
    question = poll.question.text if poll is not None and poll.question is not None else None
    answers = [a.poll_media.text or "" for a in poll.answers if a.poll_media is not None] if poll is not None else []
    return Evidence(
        text=text,
        forwarded=forwarded is not None,
        files=tuple(File(each.filename, each.size, each.url, each.content_type or "") for each in attachments),
        reactions=tuple((each.emoji.name or "?", each.count) for each in message.reactions),
        stickers=tuple(each.name for each in source.sticker_items),
        poll=(question, *answers) if question else (),
        embeds=tuple(each.title or each.description or each.url or "" for each in embeds),
    )


def _deletable(tx: Transaction, scope: str, target: int) -> tuple[tuple[Place, ...], user_threads.Person | None]:
    if scope == "message":
        entry = records.read_entry(tx, MessageId(target))
        if entry is None:
            return (), None
        return (Place(entry.channel_id, entry.message_id),), user_threads.Person(entry.author_id, entry.author_name)
    return records.undeleted(tx, UserId(target))
