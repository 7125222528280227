"""A gateway pod that is broken on purpose: it records its gaps and never reads back what it missed."""

import asyncio
import sys

import witnessed_gateway

from modbot.services.gateway import main
from modbot.shard.repairing import Repairer


async def run(_self: Repairer) -> None:
    await asyncio.Event().wait()


Repairer.run = run

if __name__ == "__main__":
    assert witnessed_gateway
    sys.exit(main.main())
