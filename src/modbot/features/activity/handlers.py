"""What events do to the activity rows."""

from __future__ import annotations

import msgspec

from modbot.discord.events import MessageDeleted, MessagesDeleted, ReactionChanged, ReactionsCleared
from modbot.discord.objects import Emoji, Message
from modbot.domain import activity
from modbot.domain.ids import MessageId, snowflake_time
from modbot.ops import statements
from modbot.shard.feature import Feature
from modbot.shard.transaction import Transaction, to_ms

feature = Feature("activity", package="modbot.features.activity")
_SQL = statements.load("modbot.features.activity")
_INSERT = _SQL["insert_message"]
_PERSONAL = frozenset(
    {0, 19}
)  # Discord's message types "default" and "reply": everything else is made by the system or an app


@feature.on("MESSAGE_CREATE")
def record_message(tx: Transaction, message: Message) -> None:
    """Add a row for a message that a person wrote in a guild."""
    author = message.author
    if not tx.guild_id or author is None or author.bot or author.system or message.webhook_id is not None:
        return
    if message.type not in _PERSONAL:
        return
    measured = activity.measure(message.text)
    replied = message.referenced_message
    tx.execute(
        _INSERT,
        (
            tx.guild_id,
            message.id,
            message.channel_id,
            author.id,
            to_ms(snowflake_time(message.id)),
            measured.chars,
            measured.words,
            _json(measured.code),
            _json(measured.hosts),
            0 if message.attachments is msgspec.UNSET else len(message.attachments),
            replied.author.id if replied is not None and replied.author is not None else None,
        ),
    )


@feature.on("MESSAGE_UPDATE")
def measure_again(tx: Transaction, message: Message) -> None:
    """Follow an edit. An update that does not speak of the text (a link preview, a pin) changes nothing."""
    if message.content is not msgspec.UNSET:
        measured = activity.measure(message.content)
        code, hosts = _json(measured.code), _json(measured.hosts)
        tx.execute(_SQL["measure_again"], (measured.chars, measured.words, code, hosts, tx.guild_id, message.id))
    if message.attachments is not msgspec.UNSET:
        tx.execute(_SQL["set_attachments"], (len(message.attachments), tx.guild_id, message.id))


@feature.on("MESSAGE_DELETE")
def forget_message(tx: Transaction, event: MessageDeleted) -> None:
    """Remove the row of a deleted message."""
    _forget(tx, event.id)


@feature.on("MESSAGE_DELETE_BULK")
def forget_messages(tx: Transaction, event: MessagesDeleted) -> None:
    """Remove the rows of messages that were deleted together."""
    for message_id in event.ids:
        _forget(tx, message_id)


@feature.on("MESSAGE_REACTION_ADD")
def add_reaction(tx: Transaction, event: ReactionChanged) -> None:
    """Count a reaction once per person and emoji."""
    if tx.execute(_SQL["add_reaction"], (tx.guild_id, event.message_id, _name(event.emoji), event.user_id)):
        _count(tx, event.message_id)


@feature.on("MESSAGE_REACTION_REMOVE")
def remove_reaction(tx: Transaction, event: ReactionChanged) -> None:
    """Take a reaction back."""
    if tx.execute(_SQL["remove_reaction"], (tx.guild_id, event.message_id, _name(event.emoji), event.user_id)):
        _count(tx, event.message_id)


@feature.on("MESSAGE_REACTION_REMOVE_ALL")
def clear_reactions(tx: Transaction, event: ReactionsCleared) -> None:
    """Take all reactions of a message back."""
    if tx.execute(_SQL["delete_reactions"], (tx.guild_id, event.message_id)):
        _count(tx, event.message_id)


@feature.on("MESSAGE_REACTION_REMOVE_EMOJI")
def clear_emoji(tx: Transaction, event: ReactionsCleared) -> None:
    """Take all reactions with one emoji back."""
    if event.emoji is None:
        return
    if tx.execute(_SQL["delete_reactions_with"], (tx.guild_id, event.message_id, _name(event.emoji))):
        _count(tx, event.message_id)


def _forget(tx: Transaction, message_id: MessageId) -> None:
    tx.execute(_SQL["delete_message"], (tx.guild_id, message_id))
    tx.execute(_SQL["delete_reactions"], (tx.guild_id, message_id))


def _count(tx: Transaction, message_id: MessageId) -> None:
    tx.execute(_SQL["count_reactions"], (tx.guild_id, message_id))


def _name(emoji: Emoji) -> str:
    return str(emoji.id) if emoji.id is not None else emoji.name or ""


def _json(values: tuple[object, ...]) -> str | None:
    return msgspec.json.encode(values).decode() if values else None
