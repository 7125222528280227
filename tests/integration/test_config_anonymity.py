"""The key of the day on real PostgreSQL: one for all replicas, gone when its day is over."""

from __future__ import annotations

import asyncio

import aiohttp
import asyncpg
import configkit

from modbot.cluster.client import ConfigClient
from modbot.ops.settings import ConfigSettings, Secret
from modbot.services.config import main


async def test_two_replicas_give_the_same_random_key(config_settings: ConfigSettings) -> None:
    async with (
        main.serving(config_settings) as (first, _),
        main.serving(config_settings) as (second, _),
        aiohttp.ClientSession() as session,
    ):
        clients = [ConfigClient(url, Secret(configkit.TOKEN), session) for url in (first, second)]
        told = await asyncio.gather(*(client.anonymity_key() for client in clients * 5))
    assert len({(each.day, each.key) for each in told}) == 1
    assert len(bytes.fromhex(told[0].key)) == 32
    assert all(0 < each.seconds_left <= 86_400 for each in told)


async def test_the_keys_of_past_days_are_deleted(config_settings: ConfigSettings) -> None:
    connection = await asyncpg.connect(config_settings.database_url.reveal())
    await connection.execute("INSERT INTO anonymity_keys VALUES ((now() AT TIME ZONE 'UTC')::date - 1, $1)", "0" * 64)
    async with main.serving(config_settings) as (url, _), aiohttp.ClientSession() as session:
        told = await ConfigClient(url, Secret(configkit.TOKEN), session).anonymity_key()
        async with asyncio.timeout(5):
            while await connection.fetch("SELECT key FROM anonymity_keys") != [(told.key,)]:
                await connection.execute("SELECT pg_sleep(0.02)")
    await connection.close()
