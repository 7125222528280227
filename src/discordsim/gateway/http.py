"""Routes of the gateway: the websocket itself, Get Gateway and Get Gateway Bot.

A socket gets HELLO first, unless the version, encoding or compression it asks for is refused or a fault wants otherwise.
"""

import asyncio
import contextlib
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from aiohttp import WSMsgType, web

from discordsim.gateway import compression, frames
from discordsim.gateway.codes import ENDS_SESSION, CloseCode, Op
from discordsim.gateway.compression import Transport
from discordsim.gateway.connection import TEXT, Connection
from discordsim.gateway.conversation import Conversation
from discordsim.gateway.hub import GatewayHub
from discordsim.gateway.sessions import Wire
from discordsim.world.model.users import Application
from discordsim.world.payloads import Json

if TYPE_CHECKING:
    from discordsim.simulator import Simulator

API_PREFIXES = ("/api", "/api/v9", "/api/v10")
_VERSIONS = frozenset({"9", "10"})
_CLOSE_SECONDS = 2.0


def add_routes(app: web.Application, simulator: "Simulator") -> None:
    """Add the gateway to an application."""
    routes = _Routes(simulator.gateway)
    for path in ("/gateway", "/gateway/", "/gateway/resume", "/gateway/resume/"):
        app.router.add_get(path, routes.socket)
    for prefix in API_PREFIXES:
        app.router.add_get(f"{prefix}/gateway", routes.gateway)
        app.router.add_get(f"{prefix}/gateway/bot", routes.gateway_bot)
    app.on_shutdown.append(routes.shut_down)


class _Routes:
    def __init__(self, hub: GatewayHub) -> None:
        self._hub = hub

    async def gateway(self, request: web.Request) -> web.Response:
        return _json({"url": _url(request)})

    async def gateway_bot(self, request: web.Request) -> web.Response:
        application = self._application(request)
        if application is None:
            return _json({"message": "401: Unauthorized", "code": 0}, status=HTTPStatus.UNAUTHORIZED)
        hub = self._hub
        shards = hub.switches.recommended_shards or math.ceil(len(hub.world.guilds_of(application.id)) / 1000)
        limit = hub.budget(application.id).payload(hub.switches, hub.clock.monotonic())
        return _json({"url": _url(request), "shards": max(shards, 1), "session_start_limit": limit})

    def _application(self, request: web.Request) -> Application | None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        return self._hub.world.applications_by_token.get(token) if kind == "Bot" else None

    async def socket(self, request: web.Request) -> web.StreamResponse:
        if self._hub.clock.monotonic() < self._hub.refuse_until:
            self._hub.counters.refused_connections += 1
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        ws = web.WebSocketResponse(compress=False, timeout=_CLOSE_SECONDS)
        await ws.prepare(request)
        self._hub.counters.connections += 1
        await self._serve(request, ws)
        return ws

    async def _serve(self, request: web.Request, ws: web.WebSocketResponse) -> None:
        wire = _wire(request)
        if isinstance(wire, CloseCode):
            self._hub.counters.closes[int(wire)] += 1
            await ws.close(code=wire)
            return
        connection = Connection(
            ws,
            cast("asyncio.Transport", request.transport),
            encode=compression.encoder(wire.transport),
            counters=self._hub.counters,
            max_pending_bytes=self._hub.switches.max_pending_bytes,
            on_close=self._hub.closed_by_server,
        )
        self._hub.connections[connection] = None
        conversation = Conversation(self._hub, connection, wire=wire, resume_url=f"{_url(request)}/resume")
        writer = asyncio.create_task(connection.write())
        try:
            if self._greet(connection, conversation):
                await self._listen(ws, connection, conversation)
        finally:
            conversation.stop()
            self._hub.leave(connection)
            await _finished(writer, connection)

    def _greet(self, connection: Connection, conversation: Conversation) -> bool:
        if self._hub.reconnects_instead_of_hello > 0:
            self._hub.reconnects_instead_of_hello -= 1
            connection.push(frames.control(Op.RECONNECT))
            connection.close(CloseCode.UNKNOWN_ERROR)
            return False
        conversation.start()
        return True

    async def _listen(self, ws: web.WebSocketResponse, connection: Connection, conversation: Conversation) -> None:
        while True:
            message = await ws.receive()
            if message.type in TEXT:
                if not connection.closing:
                    conversation.hear(message.data)
                continue
            if message.type is WSMsgType.CLOSE:
                self._closed_by_client(connection, message.data)
            return

    def _closed_by_client(self, connection: Connection, code: int) -> None:
        """Note the client's close; 1000 and 1001 end the session when this was its last socket."""
        self._hub.counters.client_closes[code] += 1
        session = self._hub.connections.get(connection)
        if session is not None and code in ENDS_SESSION and session.sockets == [connection]:
            self._hub.end(session)

    async def shut_down(self, _app: web.Application) -> None:
        """Close all sockets; sessions do not outlive the simulator."""
        for connection in tuple(self._hub.connections):
            connection.thaw()
            connection.close(CloseCode.GOING_AWAY)


async def _finished(writer: asyncio.Task[None], connection: Connection) -> None:
    """Wait for a close handshake of ours; else stop the writer, which may be waiting for something that never comes."""
    if connection.aborted or connection.frozen or not connection.closing:
        writer.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await writer


def _json(data: Json, *, status: int = HTTPStatus.OK) -> web.Response:
    """Answer JSON as Discord does: clients compare the content type as a whole, so no charset."""
    return web.Response(body=frames.encoded(data), status=status, content_type="application/json")


def _url(request: web.Request) -> str:
    scheme = "wss" if request.secure else "ws"
    return f"{scheme}://{request.host}/gateway"


def _wire(request: web.Request) -> Wire | CloseCode:
    version, encoding = request.query.get("v", ""), request.query.get("encoding", "json")
    if version not in _VERSIONS:
        return CloseCode.INVALID_API_VERSION
    try:
        transport = Transport(request.query.get("compress", ""))
    except ValueError:
        return CloseCode.DECODE_ERROR
    return Wire(int(version), encoding, transport) if encoding == "json" else CloseCode.DECODE_ERROR
