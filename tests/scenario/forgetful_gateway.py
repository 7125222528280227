"""A gateway pod that is broken on purpose: it stores the seq when a batch arrives and the effects later, as libraries do."""

import asyncio
import sys

import msgspec
import witnessed_gateway

from modbot.discord.intake import Batch
from modbot.services.gateway import main
from modbot.services.gateway.serving import ServedShard

_HANDLING = 0.05  # seconds that a handler which calls Discord takes
_apply = ServedShard.put


async def put(self: ServedShard, batch: Batch) -> None:
    bookmark = msgspec.structs.replace(
        batch, items=tuple(item for item in batch.items if type(item).__name__ != "Dispatch")
    )
    await _apply(self, bookmark)
    await asyncio.sleep(_HANDLING)
    await _apply(self, batch)


ServedShard.put = put

if __name__ == "__main__":
    assert witnessed_gateway
    sys.exit(main.main())
