"""Keeping the garbage collector away from what the simulator remembers.

Every event that was delivered stays in memory, for replays and for those who compare. Python's collector looks through all of it each time
it grows by a quarter, and after some minutes of traffic that stops the simulator for seconds: a Discord that stands still makes
everybody else look late. What has lived for some seconds is therefore taken out of the collector's sight. It is still freed when
nobody refers to it; only cycles that are older than that stay.
"""

import asyncio
import gc

_EVERY = 5.0


async def keep_out_of_sight() -> None:
    """Do so until cancelled; it concerns the whole process, so only a process of its own does it."""
    while True:
        gc.collect(1)
        gc.freeze()
        await asyncio.sleep(_EVERY)
