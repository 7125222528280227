import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from discordsim.interactions import routes
from discordsim.interactions.hub import Interactions
from discordsim.interactions.uploads import FileStore
from discordsim.world import seeding
from discordsim.world.model.users import Application
from discordsim.world.world import World


@dataclasses.dataclass
class Clock:
    now: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class Sessions:
    """Stands for the gateway: keeps what was sent to bots."""

    def __init__(self):
        self.sent: list[tuple[int, int | None, str, dict[str, Any]]] = []

    def send_to_bot(self, application_id, guild_id, name, data):
        self.sent.append((application_id, guild_id, name, data))
        return True


class Endpoint:
    """A tiny application behind an interactions endpoint; `handler(interaction)` gives the answer: JSON, or a whole response."""

    def __init__(self, application: Application):
        self.key = VerifyKey(application.public_key)
        self.handler: Callable[[dict], Any] = lambda _: {"type": 4, "data": {"content": "hello"}}
        self.check_signatures = True
        self.received: list[dict] = []
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        stamp = request.headers["X-Signature-Timestamp"].encode()
        try:
            self.key.verify(stamp + raw, bytes.fromhex(request.headers["X-Signature-Ed25519"]))
        except BadSignatureError:
            if self.check_signatures:
                return web.Response(status=401)
        body = json.loads(raw)
        if body["type"] == 1:
            return web.json_response({"type": 1})
        self.received.append(body)
        answer = self.handler(body)
        if hasattr(answer, "__await__"):
            answer = await answer
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


@dataclasses.dataclass
class Host:
    world: World
    interactions: Interactions


@dataclasses.dataclass
class Stage:
    """A served simulator with one seeded guild, one application and its endpoint, and an HTTP client."""

    world: World
    clock: Clock
    app: Application
    place: seeding.SeededGuild
    sessions: Sessions
    interactions: Interactions
    endpoint: Endpoint
    url: str
    client: ClientSession

    @property
    def guild(self):
        return self.world.guild(self.place.guild_id)

    def register(self, name, kind=1, **extra):
        number = self.world.new_id()
        command = {
            "id": str(number),
            "application_id": str(self.app.id),
            "type": kind,
            "name": name,
            "description": name if kind == 1 else "",
            "default_member_permissions": None,
            "contexts": [0],
            "version": str(number),
        }
        self.app.global_commands[number] = command | extra

    async def interact(self, user=None, **script):
        whole = {"user": str(user or self.place.moderator_id), "channel": str(self.place.general_id)} | script
        async with self.client.post(self.url + "/control/interact", json=whole) as answer:
            return answer.status, await answer.json()

    async def call(self, method, path, **arguments):
        async with self.client.request(method, self.url + "/api/v10" + path, **arguments) as answer:
            raw = await answer.read()
            return answer.status, json.loads(raw) if raw else None


@pytest.fixture
async def stage():
    clock = Clock()
    world = World(clock=clock, seed=5)
    application = world.add_application("warden", owner_id=world.add_user("author").id)
    place = seeding.seed_world(world, guilds=1, bot=application)[0]
    sessions = Sessions()
    interactions = Interactions(world, sessions, files=FileStore(world), answer_seconds=1.0)
    endpoint = Endpoint(application)
    app, bot = web.Application(), web.Application()
    routes.add_routes(app, Host(world, interactions))
    bot.router.add_post("/interactions", endpoint.serve)
    async with TestServer(app) as server, TestServer(bot) as bot_server, ClientSession() as client:
        endpoint.url = str(bot_server.make_url("/interactions"))
        application.interactions_endpoint_url = endpoint.url
        url = str(server.make_url("")).rstrip("/")
        yield Stage(world, clock, application, place, sessions, interactions, endpoint, url, client)
