"""Filing a report in the author's thread and the mod log, and deleting what was reported."""

from __future__ import annotations

import functools
from datetime import timedelta

import msgspec
import structlog

from modbot.discord.rest import File
from modbot.discord.rest_errors import ServerError
from modbot.domain import texts
from modbot.domain.evidence import Evidence
from modbot.domain.ids import MessageId, UserId
from modbot.features import user_threads
from modbot.features.reports import records, views
from modbot.features.reports.places import Place
from modbot.shard import calls, failing, responses
from modbot.shard.effects import RefusedError, Run, UserError
from modbot.shard.feature import Feature
from modbot.shard.responses import Reply
from modbot.shard.transaction import to_ms

feature = Feature(
    "reports",
    package="modbot.features.reports",
    withheld={"reported_messages": ("evidence",), "reports": ("reporter",)},
)
_RECENT = timedelta(days=30)
_LARGEST_FILE = 8_000_000
_LARGEST_UPLOAD = 20_000_000
_MOST_FILES = 10
_EDIT_TOO_OLD = 30046
_TOO_LARGE = 40005
_FILES_AWAITED = timedelta(minutes=1)
_log = structlog.get_logger()
_NEW_ENTRY = frozenset({_EDIT_TOO_OLD, calls.UNKNOWN_MESSAGE, calls.UNKNOWN_CHANNEL, 50083})


class FileReport(msgspec.Struct, frozen=True):
    """Which message was reported."""

    message_id: MessageId


class DeleteReported(msgspec.Struct, frozen=True, kw_only=True):
    """What to delete, whose it is, and who asked."""

    messages: tuple[Place, ...]
    person: user_threads.Person
    actor_id: UserId
    actor_name: str
    reason: str


@feature.effect
async def file_report(run: Run, args: FileReport) -> None:
    """Put the report into the author's thread, or add it to the entry that is there, and one line into the mod log."""
    entry = await run.read(lambda tx: records.read_entry(tx, args.message_id))
    if entry is None:
        raise UserError("The report is no longer there.")
    place = await _write_entry(run, entry)
    since = to_ms(run.asked_at - _RECENT)
    statistics = await run.read(lambda tx: records.statistics(tx, entry.author_id, since))
    await user_threads.announce(run, "line", views.log_line(entry, statistics, place.channel_id))
    await run.reply("answer", responses.message_data(_tracked(place, args.message_id)))


@feature.effect
async def delete_reported(run: Run, order: DeleteReported) -> None:
    """Delete the messages one by one; what is gone already counts."""
    reason = f"{order.actor_name} ({order.actor_id}): {order.reason or 'reported messages'}"
    problem = ""
    deleted = 0
    for place in order.messages:
        call = calls.delete_message(place.channel_id, place.message_id, reason=reason)
        try:
            await run.request(f"delete/{place.message_id}", call)
        except RefusedError as error:
            problem = failing.refusal(error)
            continue
        deleted += 1
        await run.commit(
            f"deleted/{place.message_id}", functools.partial(records.mark_deleted, message_id=place.message_id)
        )
    if not deleted:
        await run.reply("answer", responses.message_data(Reply(problem)))
        return
    done = views.deleted(deleted, len(order.messages))
    unwritten = await _announce_deletion(run, order, done)
    await run.reply("answer", responses.message_data(Reply(f"{done}. {problem} {unwritten}".strip())))


async def _announce_deletion(run: Run, order: DeleteReported, done: str) -> str:
    """Write it into the thread and the mod log; returns what kept it from being written, which undoes nothing."""
    why = f" · “{texts.escape(order.reason)}”" if order.reason else ""
    body = {"content": f"🧹 **{done}**\n-# by <@{order.actor_id}>{why}", "allowed_mentions": {"parse": []}}
    name = texts.escape(order.person.username)
    try:
        posted = await user_threads.post(run, "entry", order.person, body)
        line = f"🧹 **{name}**: {done} by <@{order.actor_id}>{why} · <#{posted.thread_id}>"
        await user_threads.announce(run, "line", line)
    except (RefusedError, UserError) as error:
        return f"I could not write it into the history. {failing.sentence(error, reference=run.effect.key)}"
    return ""


async def _write_entry(run: Run, entry: views.Entry) -> Place:
    place = await run.read(lambda tx: records.place_of_entry(tx, entry.message_id))
    known = place is not None and entry.evidence is None  # the entry holds the only copy of the text: leave it as it is
    if place is not None and not known:
        try:
            await run.request("add", calls.edit_message(place.channel_id, place.message_id, views.entry(entry)))
        except RefusedError as error:
            if error.discord_code not in _NEW_ENTRY:
                raise
        else:
            return place
    person = user_threads.Person(entry.author_id, entry.author_name)
    files = await _files(run, entry.evidence)
    try:
        posted = await user_threads.post(run, "entry", person, views.entry(entry), files=files)
    except RefusedError as error:
        if error.discord_code != _TOO_LARGE or not files:
            raise
        posted = await user_threads.post(run, "entry/without-files", person, views.entry(entry))
    place = Place(posted.thread_id, posted.message_id)
    if known:
        return place
    await run.commit("remember", lambda tx: records.remember_entry(tx, entry.message_id, place))
    return place


async def _files(run: Run, evidence: Evidence | None) -> tuple[File, ...]:
    """Fetch the attachments again: links of Discord's CDN expire, evidence must not."""
    uploads: list[File] = []
    total = 0
    for file in evidence.files[:_MOST_FILES] if evidence is not None else ():
        if file.size > _LARGEST_FILE or total + file.size > _LARGEST_UPLOAD:
            continue
        content = await _fetch(run, file.url)
        if content is not None:
            total += len(content)
            uploads.append(File(name=file.name, data=content, content_type=file.kind or "application/octet-stream"))
    return tuple(uploads)


async def _fetch(run: Run, url: str) -> bytes | None:
    """Fetch one file; after a minute of trying, the report goes without it rather than not at all."""
    try:
        return await run.rest.download(url, limit=_LARGEST_FILE)
    except ServerError:
        if run.now() - run.asked_at < _FILES_AWAITED:
            raise
        _log.warning("evidence_file_missing", guild_id=run.guild_id, effect=run.effect.key)
        return None


def _tracked(place: Place, message_id: MessageId) -> Reply:
    button = {
        "type": 2,
        "style": 4,
        "label": "Delete message",
        "custom_id": f"reports:delete:{message_id}",
    }
    return Reply(f"Tracked in <#{place.channel_id}>.", components=({"type": 1, "components": [button]},))
