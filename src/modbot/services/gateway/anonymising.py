"""Anonymous interactions that arrive over the gateway lose their identity before the engine sees them (product rule 5).

The same rule and the same key of the day as in the http pods, so that a second report is recognised whichever way it came.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from modbot.discord import interactions
from modbot.discord.frames import Dispatch
from modbot.discord.intake import Batch, Item
from modbot.discord.interactions import Interaction
from modbot.domain import anonymity
from modbot.shard.interactions import find
from modbot.shard.registry import Registry


def anonymised(batch: Batch, registry: Registry, key: Callable[[], bytes]) -> Batch:
    """Return the batch with every anonymous interaction's invoker replaced by the number of the day."""
    if not any(_is_anonymous(item, registry) for item in batch.items):
        return batch
    items = tuple(_without_identity(item, key()) if _is_anonymous(item, registry) else item for item in batch.items)
    return msgspec.structs.replace(batch, items=items)


def _is_anonymous(item: Item, registry: Registry) -> bool:
    if not isinstance(item, Dispatch) or not isinstance(item.data, Interaction) or item.data.guild_id is None:
        return False
    declared = find(registry, item.data)
    return declared is not None and declared.anonymous


def _without_identity(item: Item, key: bytes) -> Item:
    if not isinstance(item, Dispatch):
        return item
    body = msgspec.json.encode(anonymity.anonymous(msgspec.json.decode(item.raw), key))
    return msgspec.structs.replace(item, data=interactions.decode(body), raw=msgspec.Raw(body))
