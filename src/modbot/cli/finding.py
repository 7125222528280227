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
from modbot.ops.settings import Secret

_ENVIRONMENT = "environment.json"


def system(state: Path) -> tuple[str, Secret]:
    """Return the config service's address and the internal token; `SettingsError` when there is no system."""
    if "MODBOT_CONFIG_URL" in os.environ:
        token = os.environ.get("MODBOT_INTERNAL_TOKEN")
        if not token:
            raise SettingsError("MODBOT_INTERNAL_TOKEN is not set.")
        return os.environ["MODBOT_CONFIG_URL"], Secret(token)
    path = state / _ENVIRONMENT
    if not path.exists():
        raise SettingsError("No system runs in this folder. Start `modbot dev` here, or set MODBOT_CONFIG_URL.")
    environment = json.loads(path.read_text("utf-8"))
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


@contextlib.asynccontextmanager
async def client(state: Path) -> AsyncIterator[ConfigClient]:
    """Open a client of the system's config service."""
    url, token = system(state)
    async with aiohttp.ClientSession() as session:
        yield ConfigClient(url, token, session)
