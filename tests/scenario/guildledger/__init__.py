"""The ledger of `ledger`, by guild: its rows go along when a guild goes to another shard."""

from ledger import NAMES

from modbot.discord.events import TYPES
from modbot.shard.feature import Feature
from modbot.shard.transaction import Transaction

feature = Feature("guildledger", package="guildledger")


def _writing(name: str) -> None:
    kind = TYPES[name]

    def write(tx: Transaction, event: kind) -> None:
        tx.execute("INSERT INTO guildledger (guild_id, cause) VALUES (?, ?)", (tx.guild_id, tx.cause))

    write.__name__ = f"write_{name.lower()}"
    write.__annotations__["event"] = kind
    feature.on(name)(write)


for _name in NAMES:
    _writing(_name)

__all__ = ["NAMES", "feature"]
