"""A feature that writes down every event it is given: the witness of the scenario tests.

Other rows are idempotent, so doing something twice would not show in them. Here it does.
"""

from modbot.discord.events import TYPES
from modbot.shard.feature import Feature
from modbot.shard.transaction import Transaction

feature = Feature("ledger", package="ledger")
NAMES = ("MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE", "MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE")


def _writing(name: str) -> None:
    kind = TYPES[name]

    def write(tx: Transaction, event: kind) -> None:
        message_id = getattr(event, "message_id", None) or event.id
        row = (tx.cause, name, message_id, event.channel_id)
        tx.execute("INSERT INTO ledger (cause, name, message_id, channel_id) VALUES (?, ?, ?, ?)", row)

    write.__name__ = f"write_{name.lower()}"
    write.__annotations__["event"] = kind
    feature.on(name)(write)


for _name in NAMES:
    _writing(_name)

__all__ = ["NAMES", "feature"]
