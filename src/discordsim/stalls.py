"""When the simulator itself stood still: a judge that was late must say so before it calls others late.

A task that sleeps shortly notes by how much it woke too late. Whoever reads that an interaction was not answered within 3 s can see
here whether the simulator could have noticed an answer at all.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from aiohttp import web

from discordsim.clock import SimulatorClock
from discordsim.world.payloads import Json

_LOOK_EVERY = 0.02
_WORTH_NOTING = 0.1


class Stalls:
    """The latest stalls of the event loop: until when, and for how many seconds."""

    def __init__(self, clock: SimulatorClock) -> None:
        self._clock = clock
        self._noted: deque[tuple[float, float]] = deque(maxlen=10_000)

    def payload(self) -> Json:
        """Return them as JSON."""
        return {"stalls": [{"until": until, "seconds": round(seconds, 3)} for until, seconds in self._noted]}

    async def during(self, _app: web.Application) -> AsyncIterator[None]:
        """Watch as long as the application runs (a cleanup context of aiohttp)."""
        watching = asyncio.create_task(self._watch())
        yield
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            asleep = loop.time()
            await asyncio.sleep(_LOOK_EVERY)
            late = loop.time() - asleep - _LOOK_EVERY
            if late >= _WORTH_NOTING:
                self._noted.append((self._clock.unix(), late))
