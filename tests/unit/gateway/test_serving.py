"""What a served shard does when Discord will not have it."""

from __future__ import annotations

import asyncio
from typing import Any

from modbot.cluster import protocol
from modbot.discord.closing import IntentsRefusedError
from modbot.domain.ids import Epoch, ShardId
from modbot.services.gateway.serving import ServedShard


class Refused:
    """A gateway session that Discord closes for good."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(self) -> None:
        self.runs += 1
        raise IntentsRefusedError("Discord closed with 4014.")


async def test_a_session_that_is_refused_for_good_is_not_tried_again() -> None:
    surroundings: Any = None
    served = ServedShard(surroundings, protocol.Shard(shard_id=ShardId("0-of-1"), epoch=Epoch(1)))
    session: Any = Refused()
    refused = asyncio.Event()
    following = asyncio.create_task(served._follow(session, refused))
    await refused.wait()
    await asyncio.sleep(0)
    assert not following.done(), "the shard goes on without a session"
    assert session.runs == 1
    assert served.problem == "Discord closed with 4014."
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
