"""Where the system is: in the environment, or in the folder of the `modbot dev` that runs here."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from modbot.cluster.client import ConfigClient
from modbot.domain.errors import SettingsError
from modbot.ops import replicas, settings
from modbot.ops.replicas import ReplicaStore
from modbot.ops.settings import ReplicaSettings, Secret

_ENVIRONMENT = "environment.json"


def system(state: Path) -> tuple[str, Secret]:
    """Return the config service's address and the internal token; `SettingsError` when there is no system."""
    if "MODBOT_CONFIG_URL" in os.environ:
        token = os.environ.get("MODBOT_INTERNAL_TOKEN")
        if not token:
            raise SettingsError("MODBOT_INTERNAL_TOKEN is not set.")
        return os.environ["MODBOT_CONFIG_URL"], Secret(token)
    environment = _remembered(state)
    return environment["MODBOT_CONFIG_URL"], Secret(environment["MODBOT_INTERNAL_TOKEN"])


def portal(state: Path) -> str:
    """Return the address of the http pods of the `modbot dev` that runs here; nothing for another system."""
    path = state / _ENVIRONMENT
    if "MODBOT_CONFIG_URL" in os.environ or not path.exists():
        return ""
    return str(json.loads(path.read_text("utf-8"))["portal_url"])


def discord(state: Path) -> dict[str, str]:
    """Return how the pods of the `modbot dev` that runs here are told to reach Discord; nothing for another system."""
    if not portal(state):
        return {}
    told = json.loads((state / "discord.json").read_text("utf-8"))
    return {
        "DISCORD_HASH": told["bot_token"],
        "DISCORD_APP_ID": told["application_id"],
        "DISCORD_PUBLIC_KEY": told["public_key"],
        "MODBOT_DISCORD_API_URL": told["api_url"],
    }


def replica_store(state: Path) -> tuple[ReplicaStore, ReplicaSettings]:
    """Return the replica store of the system and its settings; `SettingsError` when it has none."""
    environment = os.environ if "MODBOT_CONFIG_URL" in os.environ else _remembered(state)
    found = settings.load(ReplicaSettings, environment)
    store = replicas.configured(found)
    if store is None:
        raise SettingsError("No replica store is named: set LITESTREAM_BUCKET or MODBOT_REPLICA_STORE.")
    return store, found


@contextlib.asynccontextmanager
async def client(state: Path) -> AsyncIterator[ConfigClient]:
    """Open a client of the system's config service."""
    url, token = system(state)
    async with aiohttp.ClientSession() as session:
        yield ConfigClient(url, token, session)


def _remembered(state: Path) -> dict[str, str]:
    path = state / _ENVIRONMENT
    if not path.exists():
        raise SettingsError("No system runs in this folder. Start `modbot dev` here, or set MODBOT_CONFIG_URL.")
    environment: dict[str, str] = json.loads(path.read_text("utf-8"))
    return environment
