"""A feature whose every use shows twice: `/note` adds a row and posts one message with the interaction's id.

A command that is applied twice leaves two rows; an effect that is carried out twice leaves two messages. `ballast` makes files large.
"""

from __future__ import annotations

import msgspec

from modbot.discord.interactions import Interaction
from modbot.domain.ids import ChannelId
from modbot.shard import calls
from modbot.shard.effects import Run
from modbot.shard.feature import Access, CommandKind, Deferral, Feature
from modbot.shard.responses import Reply, Response
from modbot.shard.transaction import Transaction

feature = Feature("notes", package="chaos.notes")
MARK = "note "


class Note(msgspec.Struct, frozen=True):
    channel_id: ChannelId
    text: str


@feature.effect
async def post(run: Run, note: Note) -> None:
    body = {"content": note.text, "allowed_mentions": {"parse": []}}
    await run.request("post", calls.send_message(note.channel_id, body))


@feature.command(
    "note",
    kind=CommandKind.SLASH,
    access=Access.EVERYONE,
    defers=Deferral.EPHEMERAL,
    description="Leave a note.",
)
def take(tx: Transaction, interaction: Interaction) -> Response:
    assert interaction.channel_id is not None
    tx.execute("INSERT INTO notes (guild_id, interaction_id) VALUES (?, ?)", (tx.guild_id, interaction.id))
    tx.effect(post, Note(interaction.channel_id, f"{MARK}{interaction.id}"))
    return Reply("noted")
