"""What events do to the table of user threads."""

from __future__ import annotations

from modbot.discord.objects import Channel
from modbot.ops import statements
from modbot.shard.feature import Feature
from modbot.shard.transaction import Transaction

feature = Feature("user_threads", package="modbot.features.user_threads")
_SQL = statements.load("modbot.features.user_threads")


@feature.on("THREAD_DELETE")
def forget_thread(tx: Transaction, thread: Channel) -> None:
    """A deleted thread is replaced at the next entry."""
    tx.execute(_SQL["forget_thread"], (tx.guild_id, thread.id))
