"""`modbot guild dedicate | return | transfers` against a real config service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from click.testing import CliRunner, Result
from configkit import SHARDS, TOKEN, brief, new_incarnation, request

from modbot.cli.main import main as command_line
from modbot.cluster import protocol
from modbot.cluster.protocol import TransferState
from modbot.domain.ids import Epoch, PodId, TransferId
from modbot.ops.settings import ConfigSettings
from modbot.services.config import dedicating, leases, main, sweeping
from modbot.services.config.database import Database

POD = PodId("gateway-0")
GUILD = str(6 << 22)
Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def run(config_settings: ConfigSettings) -> AsyncIterator[Run]:
    async with main.serving(config_settings) as (url, _):
        environment = {"MODBOT_CONFIG_URL": url, "MODBOT_INTERNAL_TOKEN": TOKEN}

        async def command(*arguments: str) -> Result:
            return await asyncio.to_thread(CliRunner().invoke, command_line, ["guild", *arguments], env=environment)

        yield command


async def test_from_the_question_to_the_end(run: Run, database: Database) -> None:
    refused = await run("dedicate", GUILD, "--pod", "gateway-9")
    assert refused.exit_code == 2
    assert "No live pod with room is gateway-9." in refused.stderr
    assert (await run("dedicate", GUILD)).exit_code == 2, "neither a pod nor a label"
    me = new_incarnation()
    await leases.register(database, brief(30.0), POD, request(me))
    await sweeping.sweep(database, settle=0)
    begun = await run("dedicate", GUILD, "--pod", "gateway-0", "--json")
    transfer = json.loads(begun.stdout.splitlines()[-1])
    assert (transfer["source"], transfer["target"], transfer["state"]) == (f"2-of-{SHARDS}", f"guild-{GUILD}", "moving")
    assert "guild-" in (await run("transfers")).stdout

    async def step(transfer_id: int, state: TransferState) -> None:
        body = protocol.TransferStep(pod_id=POD, incarnation=me, epoch=Epoch(1), state=state)
        await dedicating.advance(database, TransferId(transfer_id), body)

    for state in (TransferState.MOVED, TransferState.FINISHED, TransferState.CLEARED):
        await step(transfer["transfer_id"], state)
    waiting = asyncio.create_task(run("return", GUILD, "--wait"))
    async with asyncio.timeout(10):
        while len((await dedicating.latest(database)).transfers) < 2:  # noqa: ASYNC110 - another thread asks
            await asyncio.sleep(0.02)
    await step(transfer["transfer_id"] + 1, TransferState.CANCELLED)
    given_up = await waiting
    assert given_up.exit_code == 1, given_up.output
    assert "the guild is where it was" in given_up.stdout
