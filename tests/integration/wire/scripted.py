"""A gateway that follows a script: each connection is served by the next function of a list."""

import asyncio
import json
import zlib
from contextlib import asynccontextmanager

import zstandard
from aiohttp import WSMsgType, web

from modbot.discord.connections import Timing
from modbot.discord.sending import Identity
from modbot.discord.sessions import GatewaySession
from modbot.discord.transports import Compression
from modbot.ops.settings import Secret

TOKEN = "token.that.must.not.leak"
QUICK = Timing(
    connect=2, hello=1, close=0.5, reidentify=(0.01, 0.02), backoff_base=0.01, backoff_cap=0.05, stable_after=5
)


class Peer:
    """The server's side of one connection."""

    def __init__(self, socket, request, gateway):
        self.socket = socket
        self.query = dict(request.query)
        self.path = request.path
        self.gateway = gateway
        self.beats = []
        self.close_code = None
        self._compress = self.query.get("compress")
        self._zlib = zlib.compressobj()
        self._zstd = zstandard.ZstdCompressor().compressobj()

    async def send(self, op, d=None, *, s=None, t=None, pieces=1):
        data = json.dumps({"t": t, "s": s, "op": op, "d": d}, separators=(",", ":")).encode()
        if self._compress == "zlib-stream":
            data = self._zlib.compress(data) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        elif self._compress == "zstd-stream":
            data = self._zstd.compress(data) + self._zstd.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        else:
            await self.socket.send_str(data.decode())
            return
        size = -(-len(data) // pieces)
        for start in range(0, len(data), size):
            await self.socket.send_bytes(data[start : start + size])

    async def hello(self, interval=60.0):
        await self.send(10, {"heartbeat_interval": interval * 1000})

    async def event(self, s, name="MESSAGE_DELETE", **data):
        await self.send(0, {"id": str(s), "channel_id": "1"} | data, s=s, t=name)

    async def ready(self, session="sess", s=1):
        user = {"id": "9", "username": "modbot"}
        await self.send(
            0, {"session_id": session, "resume_gateway_url": self.gateway.url + "/resume", "user": user}, s=s, t="READY"
        )

    async def resumed(self, s):
        await self.send(0, {}, s=s, t="RESUMED")

    async def receive(self, *, beats=False):
        """Return the next payload that is no heartbeat (or the next heartbeat), `None` when the client has closed."""
        async for message in self.socket:
            assert message.type is WSMsgType.TEXT
            payload = json.loads(message.data)
            if payload["op"] == 1:
                self.beats.append(payload["d"])
            if (payload["op"] == 1) == beats:
                return payload
        self.close_code = self.socket.close_code
        return None

    async def until_closed(self):
        """Acknowledge heartbeats until the client closes; return its close code."""
        while await self.receive(beats=True) is not None:
            await self.send(11)
        return self.close_code


class Gateway:
    """Runs the scripts; `errors` of scripts fail the test."""

    def __init__(self, scripts):
        self.scripts = list(scripts)
        self.peers = []
        self.errors = []
        self.done = asyncio.Event()
        self.url = ""

    async def handle(self, request):
        socket = web.WebSocketResponse(autoclose=True)
        await socket.prepare(request)
        peer = Peer(socket, request, self)
        self.peers.append(peer)
        if not self.scripts:
            await socket.close(code=4000)
            return socket
        script = self.scripts.pop(0)
        try:
            await script(peer)
        except ConnectionError:
            peer.close_code = socket.close_code  # the client went away while the script was still sending
        except Exception as error:  # noqa: BLE001 - `serve` raises it in the test
            self.errors.append(error)
            self.done.set()
        return socket


@asynccontextmanager
async def serve(*scripts):
    gateway = Gateway(scripts)
    app = web.Application()
    app.router.add_get("/", gateway.handle)
    app.router.add_get("/resume", gateway.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    gateway.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield gateway
    finally:
        await runner.cleanup()
        assert not gateway.errors, gateway.errors


class Owner:
    """The sink, permits and durable position of a test."""

    def __init__(self, *, size=1000):
        self.batches = asyncio.Queue(size)
        self.items = []
        self.offset = None
        self.durable = None
        self.permits = 0

    async def put(self, batch):
        await self.batches.put(batch)

    async def permit(self):
        self.permits += 1

    async def until(self, kind, count=1):
        """Read batches until this many items of a kind have come; return the last one."""
        while sum(isinstance(each, kind) for each in self.items) < count:
            await self.read()
        return [each for each in self.items if isinstance(each, kind)][count - 1]

    async def read(self):
        async with asyncio.timeout(5):
            batch = await self.batches.get()
        self.items.extend(batch.items)
        self.offset = batch.offset
        return batch

    def drain(self):
        while not self.batches.empty():
            batch = self.batches.get_nowait()
            self.items.extend(batch.items)
            self.offset = batch.offset


def session(http, gateway, owner, **options):
    given = {
        "http": http,
        "url": gateway.url,
        "identity": Identity(token=Secret(TOKEN), intents=513, shard=(3, 16)),
        "wanted": ["MESSAGE_DELETE"],
        "sink": owner,
        "permit": owner.permit,
        "durable_seq": lambda: owner.durable,
        "compression": Compression.NONE,
        "timing": QUICK,
        "rng": lambda: 0.5,
        "progress_every": 0.02,
    }
    return GatewaySession(**(given | options))
