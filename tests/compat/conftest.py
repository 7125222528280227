import dataclasses

import pytest
from aiohttp.test_utils import TestServer

from discordsim.server import Size, build
from discordsim.simulator import Simulator
from discordsim.world.model.guilds import Guild
from discordsim.world.model.users import Application


@dataclasses.dataclass
class Site:
    """A served simulator with one guild, for clients that know nothing of it."""

    simulator: Simulator
    app: Application
    url: str

    @property
    def guild(self) -> Guild:
        return next(iter(self.simulator.world.guilds.values()))

    @property
    def general(self):
        return next(one for one in self.guild.channels.values() if one.name == "general")

    @property
    def somebody(self):
        return list(self.guild.members)[3]


@pytest.fixture
async def site():
    simulator, app = build(Size(guilds=1))
    async with TestServer(simulator.app()) as server:
        url = str(server.make_url("")).rstrip("/")
        simulator.files.base_url = url
        yield Site(simulator, app, url)
