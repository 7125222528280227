"""A gateway pod that is broken on purpose: as a source it serves again at once, and as a target it takes its time to complete."""

import asyncio
import sys

import witnessed_gateway

from modbot.services.gateway import main
from modbot.services.gateway.handoff_source import HandoffSource
from modbot.services.gateway.handoff_target import Arrival

_complete = Arrival._complete


async def kept(self: HandoffSource) -> None:
    self._parted = None
    self._wanted.clear()


async def complete(self: Arrival) -> None:
    await asyncio.sleep(0.5)
    await _complete(self)


HandoffSource.kept = kept
Arrival._complete = complete

if __name__ == "__main__":
    assert witnessed_gateway
    sys.exit(main.main())
