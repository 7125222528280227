"""A whole small cluster around one http pod."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpkit
import pytest
from httpkit import Config, Discord, Owner


@pytest.fixture
async def config() -> AsyncIterator[Config]:
    """A config service without a table yet."""
    served = Config()
    async with httpkit.started(served):
        yield served


@pytest.fixture
async def owner(config: Config) -> AsyncIterator[Owner]:
    """The owner of the only shard, in epoch 3."""
    served = Owner("gateway-0")
    async with httpkit.started(served):
        await config.route(served, 3)
        yield served


@pytest.fixture
async def discord(config: Config, owner: Owner) -> AsyncIterator[Discord]:
    """An http pod that is ready."""
    assert owner.url
    async with httpkit.http_pod(httpkit.settings_for(config.url)) as caller:
        yield caller
