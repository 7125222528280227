"""What moderators see: the confirmation, the line in the thread and in the mod log, the answer."""

from __future__ import annotations

from typing import Any

from modbot.domain import actions, texts
from modbot.domain.actions import ActionKind
from modbot.domain.ids import ChannelId, UserId
from modbot.shard import responses
from modbot.shard.responses import Modal

REASON_LIMIT = 400


def confirmation(custom_id: str, kind: ActionKind, name: str) -> Modal:
    """Build the form that asks before anything is done."""
    fields = [
        responses.text_input(
            "reason",
            "Reason",
            max_length=REASON_LIMIT,
            description="Optional. Goes into the server's audit log and the member's history.",
        )
    ]
    if kind is ActionKind.TIMEOUT:
        usual = str(actions.DEFAULT_TIMEOUT)
        length = responses.select("seconds", "How long?", actions.TIMEOUT_CHOICES, required=True, chosen=usual)
        fields.insert(0, length)
    return Modal(custom_id, actions.title(kind, name), tuple(fields))


def entry(*, target_id: UserId, target_name: str, actor_id: UserId, done: str, reason: str) -> dict[str, Any]:
    """Build the entry in the user's thread."""
    why = f"“{texts.escape(reason)}”" if reason else "no reason given"
    lines = f"🔨 <@{target_id}> ({texts.escape(target_name)}) was **{done}**\n-# by <@{actor_id}> · {why}"
    return {"content": texts.cut(lines, texts.MESSAGE_LIMIT), "allowed_mentions": {"parse": []}}


def log_line(*, target_name: str, actor_id: UserId, done: str, reason: str, thread_id: ChannelId) -> str:
    """Build the line in the mod log."""
    why = f" · “{texts.excerpt(reason)}”" if reason else ""
    return f"🔨 **{texts.escape(target_name)}** was {done} by <@{actor_id}>{why} · <#{thread_id}>"


def answer(*, target_name: str, done: str) -> str:
    """Build the answer to the moderator; the name stands there as text, because clients forget people who left."""
    return f"Done: **{texts.escape(target_name)}** was {done}."


def not_here(target_name: str) -> str:
    """Say that there is nobody to act on."""
    return f"**{texts.escape(target_name)}** is not in this server any more. *Ban* works on people who left, too."
