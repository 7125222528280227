"""A gateway pod that is broken on purpose: it starts empty where it has no file, instead of looking for the replica."""

import asyncio
import sys

import witnessed_gateway

from modbot.cluster import protocol
from modbot.services.gateway import main
from modbot.services.gateway.restores import Found, Restorer
from modbot.shard import database


async def find(self: Restorer, shard: protocol.Shard) -> Found:
    path = database.path_of(self._data_dir, shard.shard_id)
    return Found(there=await asyncio.to_thread(path.exists))


Restorer.find = find

if __name__ == "__main__":
    assert witnessed_gateway
    sys.exit(main.main())
