"""Two client libraries as they are, told nothing but other addresses: they connect, get their guilds, and resume after a cut."""

import asyncio
import contextlib

import discord
import hikari
import pytest
import yarl
from discord.http import Route

from discordsim import server
from discordsim.world import posting
from discordsim.world.model.messages import Draft

PATIENCE = 12.0


@contextlib.asynccontextmanager
async def served(*, guilds=4):
    simulator, application = server.build(server.Size(guilds=guilds), seed=2)
    simulator.switches.max_concurrency, simulator.switches.recommended_shards = 2, 2
    runner, url = await server.start(simulator)
    try:
        yield simulator, application, url
    finally:
        await runner.cleanup()


class Client(discord.AutoShardedClient):
    async def before_identify_hook(self, _shard_id, *, initial=False):
        """Do not wait five seconds between shards: max_concurrency is 2."""


def say(simulator, text):
    guild = next(iter(simulator.world.guilds.values()))
    general = next(one for one in guild.channels.values() if one.name == "general")
    return posting.create(simulator.world, general.id, guild.owner_id, Draft(content=text))


def cut(simulator):
    for connection in tuple(simulator.gateway.connections):
        connection.abort()


def sessions(simulator):
    return [(one.id, one.resumes) for one in simulator.gateway.sessions.values()]


async def told_after_a_cut(simulator, texts):
    """Cut all sockets, speak meanwhile and after; return when the client heard both."""
    cut(simulator)
    say(simulator, "meanwhile")
    assert await asyncio.wait_for(texts.get(), PATIENCE) == "meanwhile"
    say(simulator, "after")
    assert await asyncio.wait_for(texts.get(), PATIENCE) == "after"


async def test_hikari():
    async with served() as (simulator, application, url):
        texts, guilds = asyncio.Queue(), set()
        intents = hikari.Intents.ALL_UNPRIVILEGED | hikari.Intents.MESSAGE_CONTENT
        bot = hikari.GatewayBot(
            application.token,
            rest_url=f"{url}/api/v10",
            intents=intents,
            banner=None,
            suppress_optimization_warning=True,
        )
        arrived = asyncio.Event()

        @bot.listen()
        async def on_message(event: hikari.GuildMessageCreateEvent):
            await texts.put(event.content)

        @bot.listen()
        async def on_guild(event: hikari.GuildAvailableEvent):
            guilds.add(event.guild_id)
            if len(guilds) == len(simulator.world.guilds):
                arrived.set()

        await bot.start(check_for_updates=False, shard_count=2)
        try:
            await asyncio.wait_for(arrived.wait(), PATIENCE)
            assert guilds == set(simulator.world.guilds)
            say(simulator, "hello")
            assert await asyncio.wait_for(texts.get(), PATIENCE) == "hello"
            before = dict(sessions(simulator))
            await told_after_a_cut(simulator, texts)
            assert dict(sessions(simulator)).keys() == before.keys()
            assert simulator.gateway.counters.identifies == 2
        finally:
            await bot.close()


async def test_discord_py(monkeypatch):
    async with served() as (simulator, application, url):
        monkeypatch.setattr(Route, "BASE", f"{url}/api/v10")
        fallback = yarl.URL(f"{url.replace('http', 'ws')}/gateway")
        monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", fallback)
        texts, ready = asyncio.Queue(), asyncio.Event()
        intents = discord.Intents.default()
        intents.message_content = True
        client = Client(intents=intents, guild_ready_timeout=0.2)

        @client.event
        async def on_message(message):
            await texts.put(message.content)

        @client.event
        async def on_ready():
            ready.set()

        running = asyncio.create_task(client.start(application.token))
        try:
            await asyncio.wait_for(ready.wait(), PATIENCE)
            assert {guild.id for guild in client.guilds} == set(simulator.world.guilds)
            say(simulator, "hello")
            assert await asyncio.wait_for(texts.get(), PATIENCE) == "hello"
            before = dict(sessions(simulator))
            await told_after_a_cut(simulator, texts)
            assert dict(sessions(simulator)).keys() == before.keys()
            assert simulator.gateway.counters.identifies == 2
        finally:
            await client.close()
            await asyncio.wait_for(running, PATIENCE)


@pytest.fixture(autouse=True)
def _no_noise(caplog):
    caplog.set_level("CRITICAL")
