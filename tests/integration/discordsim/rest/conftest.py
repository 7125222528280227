import dataclasses
import json
from typing import Any

import openapi
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from discordsim.simulator import Simulator
from discordsim.world import seeding
from discordsim.world.events import Dispatch
from discordsim.world.model.users import Application
from discordsim.world.world import World


@dataclasses.dataclass
class Clock:
    now: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclasses.dataclass
class Answer:
    status: int
    body: Any
    headers: Any

    @property
    def code(self):
        return self.body["code"]


@dataclasses.dataclass
class Api:
    """A served REST API over one seeded guild, spoken to as its bot; calls are checked against Discord's OpenAPI when it is there."""

    world: World
    clock: Clock
    app: Application
    place: seeding.SeededGuild
    simulator: Simulator
    events: list[Dispatch]
    url: str
    client: ClientSession

    @property
    def guild(self):
        return self.world.guild(self.place.guild_id)

    async def call(self, method, path, body=None, *, token=None, reason=None, prefix="/api/v10", **more):
        headers = {"Authorization": f"Bot {self.app.token}" if token is None else token}
        if reason is not None:
            headers["X-Audit-Log-Reason"] = reason
        if body is not None:
            more["json"] = body
        async with self.client.request(method, self.url + prefix + path, headers=headers, **more) as answer:
            raw = await answer.read()
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, json.loads(raw) if raw and is_json else raw, answer.headers)

    async def ok(self, method, path, body=None, **more):
        answer = await self.call(method, path, body, **more)
        assert answer.status < 300, answer
        return answer.body

    async def post(self, content="hello", **more):
        return await self.ok("POST", f"/channels/{self.place.general_id}/messages", {"content": content} | more)


@pytest.fixture
async def api():
    clock = Clock()
    world = World(clock=clock, seed=3)
    app = world.add_application("warden", owner_id=world.add_user("author").id)
    place = seeding.seed_world(world, guilds=1, bot=app)[0]
    events: list[Dispatch] = []
    world.subscribe(events.append)
    simulator = Simulator(world)
    simulator.switches.rest.limits = False
    web_app = simulator.app()
    checker = openapi.Checker()
    if openapi.path().exists():
        web_app.middlewares.insert(0, checker.middleware)
    async with TestServer(web_app) as server, ClientSession() as client:
        url = str(server.make_url("")).rstrip("/")
        simulator.files.base_url = url
        yield Api(world, clock, app, place, simulator, events, url, client)
    checker.verify()
