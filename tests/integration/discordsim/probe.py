"""A bare websocket client of the gateway that hides nothing: it keeps every payload and says only what the test says."""

import asyncio
import contextlib
import zlib

import aiohttp
import msgspec
import zstandard

from discordsim import server
from discordsim.simulator import Simulator
from discordsim.world.events import Intent
from discordsim.world.model.users import Application

EVERYTHING = int(sum(bit.value for bit in Intent))
PATIENCE = 5.0


class ClosedError(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code


class GatewayProbe:
    def __init__(self, ws, compress):
        self.ws = ws
        self.seq = None
        self.seen = []
        self.session_id = None
        self.resume_url = None
        self._inflate = {
            "": lambda data: data,
            "zlib-stream": zlib.decompressobj().decompress,
            "zstd-stream": zstandard.ZstdDecompressor().decompressobj().decompress,
        }[compress]

    async def receive(self):
        message = await asyncio.wait_for(self.ws.receive(), PATIENCE)
        if message.type is aiohttp.WSMsgType.CLOSE:
            raise ClosedError(message.data)
        if message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING}:
            raise ClosedError(self.ws.close_code)
        if message.type is aiohttp.WSMsgType.ERROR:
            raise ClosedError(1006)
        payload = msgspec.json.decode(self._inflate(message.data))
        self.seen.append(payload)
        if payload["s"] is not None:
            self.seq = payload["s"]
        if payload["t"] == "READY":
            self.session_id, self.resume_url = payload["d"]["session_id"], payload["d"]["resume_gateway_url"]
        return payload

    async def until(self, wanted):
        """Read until an opcode (int) or an event name (str) arrives."""
        while True:
            payload = await self.receive()
            if wanted in (payload["op"], payload["t"]):
                return payload

    async def named(self, name, count):
        return [await self.until(name) for _ in range(count)]

    async def send(self, op, data=None):
        await self.ws.send_bytes(msgspec.json.encode({"op": op, "d": data}))

    async def identify(self, token, *, intents=EVERYTHING, shard=None, **more):
        data = {"token": token, "properties": {"os": "linux"}, "intents": intents, **more}
        if shard is not None:
            data["shard"] = shard
        await self.send(2, data)

    async def closed(self):
        """Read to the end and return the close code."""
        with contextlib.suppress(TimeoutError):
            while True:
                try:
                    await self.receive()
                except ClosedError as end:
                    return end.code
        raise AssertionError("the socket stayed open")

    async def silent(self):
        """Prove that nothing is on its way: the answer to a heartbeat is the next payload."""
        await self.send(1, self.seq)
        assert (await self.receive())["op"] == 11

    async def drop(self):
        """Break the TCP connection without a close frame."""
        self.ws._response.connection.transport.abort()


class Rig:
    """A running simulator with its bot, and a way to open probes."""

    def __init__(self, simulator: Simulator, app: Application, url: str, http: aiohttp.ClientSession):
        self.simulator, self.app, self.url, self.http = simulator, app, url, http
        self.hub, self.world, self.switches = simulator.gateway, simulator.world, simulator.switches

    async def connect(self, *, compress="", query="v=10&encoding=json", url=None):
        extra = f"&compress={compress}" if compress else ""
        address = f"{url or self.url + '/gateway'}?{query}{extra}"
        return GatewayProbe(await self.http.ws_connect(address, max_msg_size=0), compress)

    async def ready(self, *, intents=EVERYTHING, shard=None, compress="", **more):
        """Open a session and read READY and all GUILD_CREATEs."""
        probe = await self.connect(compress=compress)
        await probe.until(10)
        await probe.identify(self.app.token, intents=intents, shard=shard, **more)
        ready = await probe.until("READY")
        if intents & Intent.GUILDS:
            await probe.named("GUILD_CREATE", len(ready["d"]["guilds"]))
        return probe

    async def resume(self, old, *, seq=None, compress="", session_id=None, token=None):
        probe = await self.connect(compress=compress, url=old.resume_url)
        await probe.until(10)
        seq = old.seq if seq is None else seq
        data = {"token": token or self.app.token, "session_id": session_id or old.session_id, "seq": seq}
        await probe.send(6, data)
        probe.session_id, probe.resume_url = old.session_id, old.resume_url
        return probe

    def session(self, probe):
        return self.hub.router.sessions[probe.session_id]

    def guild(self, index=0):
        return list(self.world.guilds.values())[index]

    def general(self, index=0):
        return next(one for one in self.guild(index).channels.values() if one.name == "general")

    def people(self, index=0):
        return [one.user for one in self.guild(index).members.values() if not one.user.bot]

    async def control(self, method, path, body=None, *, status=200):
        async with self.http.request(method, f"{self.url}/control{path}", json=body) as answer:
            text = await answer.text()
            assert answer.status == status, (answer.status, text)
            return msgspec.json.decode(text) if text else None


@contextlib.asynccontextmanager
async def rig(*, guilds=3, members=3, **switches):
    simulator, app = server.build(server.Size(guilds=guilds, members=members), seed=5)
    simulator.switches.identify_interval = 0.0
    for name, value in switches.items():
        assert hasattr(simulator.switches, name)
        setattr(simulator.switches, name, value)
    runner, url = await server.start(simulator)
    try:
        async with aiohttp.ClientSession() as http:
            yield Rig(simulator, app, url, http)
    finally:
        await runner.cleanup()
