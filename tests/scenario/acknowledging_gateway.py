"""A gateway pod that is broken on purpose: its heartbeats acknowledge what is committed on its own volume only."""

import sys

import witnessed_gateway

from modbot.services.gateway import main
from modbot.services.gateway.replicating import Replication
from modbot.shard.engine import Engine


def durable_seq(_self: Replication, engine: Engine) -> int | None:
    return engine.offset.seq if engine.offset is not None else None


Replication.durable_seq = durable_seq

if __name__ == "__main__":
    assert witnessed_gateway
    sys.exit(main.main())
