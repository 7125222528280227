"""The operator's verbs against a real config service and pods that answer handoffs as they are told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
import pytest
from configkit import TOKEN
from movingkit import Pods

from modbot.cli import operating
from modbot.cli.operating import Manner
from modbot.cluster.client import ConfigClient
from modbot.domain.errors import MoveRefusedError, NotFoundError
from modbot.domain.ids import PodId, ShardId
from modbot.ops.settings import ConfigSettings, Secret
from modbot.services.config import main, moves

WAIT = Manner(wait=True, timeout=30)
A, B = "gateway-0", "gateway-1"


class System:
    def __init__(self, client: ConfigClient, pods: Pods) -> None:
        self.client = client
        self.pods = pods
        self.done = True
        self.answering = True

    async def answer(self) -> None:
        """Be the pods: end every handoff, as `done` says."""
        while True:
            if self.answering:
                await self.pods.finish(done=self.done)
            await asyncio.sleep(0.02)


@pytest.fixture
async def system(config_settings: ConfigSettings) -> AsyncIterator[System]:
    settings = msgspec.structs.replace(config_settings, lease_ttl=60.0)
    async with main.serving(settings) as (url, service), aiohttp.ClientSession() as session:
        pods = Pods(service.database)
        made = System(ConfigClient(url, Secret(TOKEN), session), pods)
        await pods.join(A, B)
        while "None" in await pods.carried():
            await pods.place()
        await made.client.pause_moves(paused=True)
        task = asyncio.create_task(made.answer())
        yield made
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: " ".join(capsys.readouterr().out.split())


def answer(out: Callable[[], str]) -> Any:
    """The JSON that was printed; the service in this process logs to the same place."""
    text = out()
    return json.loads(text[text.index("{") :])


async def test_move_waits_until_it_is_done_or_given_up(
    system: System, out: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    mine = next(shard.shard_id for shard in await system.pods.shards() if shard.owner == A)
    assert await operating.move(mine, B, WAIT)(system.client) == 0, "a pause does not stop what is asked for by name"
    assert f"{mine} goes from {A} to {B}" in out()
    system.done = False
    assert await operating.move(mine, A, WAIT)(system.client) == 1
    assert "The file could not be copied." in capsys.readouterr().err
    with pytest.raises(MoveRefusedError, match="serves the shard already"):
        await operating.move(mine, B, WAIT)(system.client)
    with pytest.raises(NotFoundError):
        await operating.move("0-of-99", B, WAIT)(system.client)


async def test_drain_shows_its_plan_empties_the_pod_and_is_undone(system: System, out: Callable[[], str]) -> None:
    await system.client.pause_moves(paused=False)
    assert await operating.drain(A, WAIT, undo=False)(system.client) == 0
    text = out()
    assert f"{A} is drained." in text
    assert f"{A} has no shards any more." in text
    assert A not in await system.pods.carried()
    assert await operating.pods(Manner())(system.client) == 0
    assert "drained" in out()
    assert await operating.drain(A, Manner(), undo=True)(system.client) == 0
    assert not any(pod.cordoned for pod in (await system.client.pods_health()).pods)
    with pytest.raises(NotFoundError):
        await operating.drain("gateway-9", Manner(), undo=False)(system.client)


async def test_a_drain_that_cannot_end_says_why(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    await system.client.drain(PodId(B), on=True)
    await system.client.pause_moves(paused=False)
    assert await operating.drain(A, Manner(wait=True, timeout=0), undo=False)(system.client) == 1
    captured = capsys.readouterr()
    assert "stays: No other pod is live and open." in captured.out
    assert "Not done: " in captured.err


async def test_pin_waits_until_the_shard_is_there(system: System, out: Callable[[], str]) -> None:
    await system.client.pause_moves(paused=False)
    mine = next(shard.shard_id for shard in await system.pods.shards() if shard.owner == A)
    assert await operating.pin(mine, B, WAIT)(system.client) == 0
    assert "is where it should be" in out()
    found = next(shard for shard in await system.pods.shards() if shard.shard_id == mine)
    assert (found.owner, found.pin) == (B, B)
    assert await operating.pin(mine, "zone=nowhere", WAIT)(system.client) == 1
    out()
    assert await operating.pin(mine, None, Manner(as_json=True))(system.client) == 0
    assert answer(out)["pin"] is None


async def test_rebalance_ends_even_and_gives_up_when_paused(system: System, out: Callable[[], str]) -> None:
    with pytest.raises(MoveRefusedError, match="paused"):
        await operating.rebalance(WAIT, dry_run=False)(system.client)
    for number in range(4):
        with contextlib.suppress(MoveRefusedError):
            await moves.begin(system.pods.database, ShardId(f"{number}-of-4"), target=PodId(B), reason="by hand")
    while await system.pods.moving():
        continue
    assert await system.pods.carried() == {B: 4}
    await system.pods.execute("UPDATE moves SET finished_at = finished_at - interval '1 hour'")
    assert await operating.rebalance(Manner(), dry_run=True)(system.client) == 0
    assert "2 moves; most loaded pod: 2.00 → 1.00 times the mean." in out()
    await system.client.pause_moves(paused=False)
    assert await operating.rebalance(WAIT, dry_run=False)(system.client) == 0
    assert await system.pods.carried() == {A: 2, B: 2}
    out()
    assert await operating.pause(Manner(as_json=True), paused=True)(system.client) == 0
    assert answer(out)["moves_paused"]
    assert await operating.shards(Manner(as_json=True))(system.client) == 0
    assert len(answer(out)["shards"]) == 4
