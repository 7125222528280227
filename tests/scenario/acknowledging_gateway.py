"""A gateway pod that is broken on purpose: its heartbeats acknowledge what is committed on its own volume only."""

import sys

import witnessed_gateway

from modbot.domain.offsets import Offset
from modbot.services.gateway import main
from modbot.services.gateway.replicating import Replication
from modbot.shard.engine import Engine


def durable(_self: Replication, engine: Engine) -> Offset | None:
    return engine.offset


Replication.durable = durable

if __name__ == "__main__":
    assert witnessed_gateway
    sys.exit(main.main())
