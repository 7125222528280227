"""A scripted config service and a scripted owner on real sockets, a signed caller, and a registry with one of everything."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from nacl.signing import SigningKey

from modbot.cluster import protocol
from modbot.domain.ids import Epoch, Incarnation, PodId, ShardId
from modbot.ops.settings import CommonSettings, HttpSettings, Secret
from modbot.services.http import main
from modbot.shard.feature import Access, CommandKind, Deferral, Feature
from modbot.shard.registry import Registry
from modbot.shard.responses import Modal, Reply, text_input

TOKEN = "an-internal-token-for-tests"
SIGNING = SigningKey(bytes(range(32)))
GUILD = 5 << 22
SHARD = ShardId("0-of-1")
USER = 987654321012345678
INTERACTION_TOKEN = "an-interaction-token"
DEADLINE = 0.4
KEY = "5a" * 32


def registry() -> Registry:
    feature = Feature("demo")
    everyone = Access.EVERYONE

    def form(_interaction: Any) -> Modal:
        return Modal("demo:sent", "A form", (text_input("words", "In your words"),))

    def broken(_interaction: Any) -> Modal:
        raise RuntimeError("this sentence quotes a secret")

    slash = {"kind": CommandKind.SLASH, "access": everyone}
    feature.command("quiet", **slash, defers=Deferral.EPHEMERAL)(lambda _tx, _i: Reply("x"))
    feature.command("loud", **slash, defers=Deferral.PUBLIC)(lambda _tx, _i: Reply("x"))
    feature.command("form", **slash, defers=Deferral.EPHEMERAL, modal=form)(lambda _tx, _i: Reply("x"))
    feature.command("broken", **slash, defers=Deferral.EPHEMERAL, modal=broken)(lambda _tx, _i: Reply("x"))
    feature.command("secret", **slash, defers=Deferral.EPHEMERAL, modal=form, anonymous=True)(lambda _t, _i: Reply("x"))
    feature.component("press", access=everyone, defers=Deferral.UPDATE)(lambda _tx, _i: Reply("x"))
    feature.form("sent", access=everyone, defers=Deferral.EPHEMERAL, anonymous=True)(lambda _tx, _i: Reply("x"))
    return Registry((feature,))


def interaction(name: str = "quiet", *, number: int = 1, **changes: Any) -> dict[str, Any]:
    """Build a slash command of USER, with the user's id in every place where Discord repeats it."""
    user = {"id": str(USER), "username": "reporter-name", "global_name": "Reporter Name", "avatar": "reporter-avatar"}
    return {
        "id": str(number),
        "application_id": "1",
        "type": 2,
        "token": INTERACTION_TOKEN,
        "version": 1,
        "guild_id": str(GUILD),
        "channel_id": "77",
        "channel": {"id": "77", "type": 0, "owner_id": str(USER), "member": {"user_id": str(USER)}},
        "member": {"user": user, "nick": "reporter-nick", "roles": ["31"], "permissions": "8"},
        "authorizing_integration_owners": {"1": str(USER)},
        "entitlements": [{"user_id": str(USER)}],
        "locale": "de",
        "data": {"id": "9", "name": name, "type": 1},
    } | changes


Body = dict[str, Any]
Script = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Served:
    """An aiohttp application on a free port, which can go away."""

    def __init__(self, routes: list[web.RouteDef]) -> None:
        self._app = web.Application()
        self._app.add_routes(routes)
        self._runner = web.AppRunner(self._app, shutdown_timeout=0.1)
        self.url = ""

    async def start(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = "http://{}:{}".format(*self._runner.addresses[0][:2])

    async def stop(self) -> None:
        await self._runner.cleanup()


class Owner(Served):
    """A gateway pod: answers `{"type": 4}` unless a script is set, and remembers what it was asked."""

    def __init__(self, name: str) -> None:
        super().__init__([web.post("/shards/{shard}/interactions", self._interaction)])
        self.name = PodId(name)
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self.script: Script | None = None

    async def _interaction(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((headers | {"path": request.path}, await request.read()))
        if self.script is not None:
            return await self.script(request)
        return web.json_response({"type": 4, "data": {"content": f"from {self.name}"}})


class Config(Served):
    """A config service: a routing table that the test changes, an inbox that it reads, and switches to break it."""

    def __init__(self) -> None:
        super().__init__(
            [
                web.get("/watch", self._watch),
                web.post("/inbox", self._append),
                web.post("/inbox/deferred", self._defer),
                web.get("/anonymity-key", self._key),
                web.get("/pods/health", self._pods),
                web.get("/shards", self._shards),
            ]
        )
        self.inbox: dict[int, protocol.InboxEntry] = {}
        self.calls: list[str] = []
        self.inbox_open = asyncio.Event()
        self.inbox_open.set()
        self.failing = False
        self.refused: set[int] = set()
        self.under_way = self.most_under_way = 0
        self.pods_told: list[protocol.PodHealth] = []
        self.shards_told: list[protocol.ShardDetail] = []
        self._lines: list[bytes] = []
        self._changed = asyncio.Condition()
        self.arrived = asyncio.Condition()

    async def route(self, owner: Owner | None, epoch: int) -> None:
        """Say who owns the only shard."""
        pods = [] if owner is None else [_pod(owner)]
        incarnation = None if owner is None else Incarnation(owner.name)
        name = None if owner is None else owner.name
        shard = protocol.Shard(shard_id=SHARD, epoch=Epoch(epoch), owner=name, incarnation=incarnation)
        line: protocol.WatchLine = protocol.Change(pods=pods, shards=[shard])
        if not self._lines:
            line = protocol.Table(shard_count=1, pods=pods, shards=[shard])
        async with self._changed:
            self._lines.append(msgspec.json.encode(line) + b"\n")
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the inbox is as the test wants it."""
        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(condition)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        sent = 0
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: len(self._lines) > sent)  # noqa: B023 - waits inside this turn
            for line in self._lines[sent:]:
                await response.write(line)
            sent = len(self._lines)

    async def _append(self, request: web.Request) -> web.Response:
        return await self._take(request, "append")

    async def _defer(self, request: web.Request) -> web.Response:
        return await self._take(request, "defer")

    async def _take(self, request: web.Request, call: str) -> web.Response:
        entries = msgspec.json.decode(await request.read(), type=protocol.AppendRequest).entries
        async with self.arrived:
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            self.arrived.notify_all()
        try:
            await self.inbox_open.wait()
            return await self._keep(entries, call)
        finally:
            self.under_way -= 1

    async def _keep(self, entries: list[protocol.InboxEntry], call: str) -> web.Response:
        async with self.arrived:
            self.calls.append(call)
            self.arrived.notify_all()
            if self.failing:
                return problem(503, "unavailable")
            if self.refused & {entry.interaction_id for entry in entries}:
                return problem(404, "not_found")
            for entry in entries:
                if call == "defer" or entry.interaction_id not in self.inbox:
                    self.inbox[entry.interaction_id] = entry
        return web.Response(status=204)

    async def _key(self, _request: web.Request) -> web.Response:
        told = protocol.AnonymityKey(day="2026-11-23", key=KEY, seconds_left=3600.0)
        return web.Response(body=msgspec.json.encode(told))

    async def _pods(self, _request: web.Request) -> web.Response:
        if self.failing:
            return problem(503, "unavailable")
        return web.Response(body=msgspec.json.encode(protocol.PodList(pods=self.pods_told)))

    async def _shards(self, _request: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(protocol.ShardList(shards=self.shards_told)))


def problem(status: int, code: str) -> web.Response:
    told = protocol.Problem(title="x", status=status, detail="x", code=code, hint="x", retry=status >= 500)
    return web.Response(status=status, body=msgspec.json.encode(told))


class Discord:
    """Calls the http pod the way Discord does."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def send(
        self, body: bytes, *, path: str = "/interactions", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, str]:
        given = signed(body) if headers is None else headers
        async with self.session.post(self.url + path, data=body, headers=given) as answer:
            return answer.status, await answer.read(), answer.headers.get("content-type", "")

    async def interact(self, told: dict[str, Any]) -> dict[str, Any]:
        status, body, kind = await self.send(msgspec.json.encode(told))
        assert (status, kind) == (200, "application/json")
        return msgspec.json.decode(body)

    async def metric(self, name: str, **labels: str) -> float:
        """Return a metric of the http pod."""
        wanted = name + ("{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else "")
        async with self.session.get(self.url + "/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return next((float(line.split()[-1]) for line in lines if line.split()[0] == wanted), 0.0)

    async def until_metric(self, name: str, value: float) -> None:
        """Wait until a metric has a value."""

        async def reached() -> bool:
            return await self.metric(name) == value

        await eventually(reached)


def signed(body: bytes, timestamp: str = "1790000000") -> dict[str, str]:
    signature = SIGNING.sign(timestamp.encode() + body).signature.hex()
    return {"X-Signature-Ed25519": signature, "X-Signature-Timestamp": timestamp}


def settings_for(config_url: str, *, deadline: float = DEADLINE) -> HttpSettings:
    return HttpSettings(
        common=CommonSettings(internal_token=Secret(TOKEN)),
        application_id=1,
        public_key=SIGNING.verify_key.encode().hex(),
        client_secret=Secret("client-secret-for-tests"),
        session_secret=Secret("session-secret-for-tests"),
        config_url=config_url,
        host="127.0.0.1",
        port=0,
        interaction_deadline=deadline,
    )


@contextlib.asynccontextmanager
async def started(*servers: Served) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for server in servers:
            await server.start()
            stack.push_async_callback(server.stop)
        yield


@contextlib.asynccontextmanager
async def http_pod(settings: HttpSettings, *, ready: bool = True) -> AsyncIterator[Discord]:
    """Run an http pod in this loop; with `ready`, wait for its routing table."""
    async with main.serving_at(settings, registry()) as url, aiohttp.ClientSession() as session:
        if ready:
            await until_ready(url, session)
        yield Discord(url, session)


async def until_ready(url: str, session: aiohttp.ClientSession) -> None:
    async def ready() -> bool:
        async with session.get(url + "/ready") as answer:
            return answer.status == 200

    await eventually(ready)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until it is so, for five seconds at most."""
    async with asyncio.timeout(5):
        for pause in itertools.repeat(0.005):
            if await condition():
                return
            await asyncio.sleep(pause)


def _pod(owner: Owner) -> protocol.Pod:
    live = protocol.PodState.LIVE
    return protocol.Pod(pod_id=owner.name, incarnation=Incarnation(owner.name), address=owner.url, state=live)


def tell(config: Config, *, connected: bool = True, name: str = "gateway-0") -> None:
    load = protocol.ShardLoad(
        shard_id=SHARD, epoch=Epoch(3), guilds=1234, events_per_second=56.78, lag_seconds=0.004, connected=connected
    )
    config.pods_told = [
        protocol.PodHealth(
            pod_id=PodId(name),
            incarnation=Incarnation("an-incarnation"),
            address="http://an-internal-address:3000",
            state=protocol.PodState.LIVE,
            lease_seconds=4.2,
            capacity=64,
            shards=[load],
        )
    ]
    shard = protocol.ShardDetail(
        shard_id=SHARD, epoch=Epoch(3), owner=PodId(name), last_owner=PodId(name), replica_store="a-store", waiting=""
    )
    config.shards_told = [shard]
