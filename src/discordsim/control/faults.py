"""Faults of the gateway on demand: events that get lost, sockets that break, sessions that die."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import msgspec
from aiohttp import web

from discordsim.control import bodies
from discordsim.gateway import frames
from discordsim.gateway.codes import CloseCode, Op
from discordsim.gateway.connection import Connection
from discordsim.gateway.faults import DispatchFault, FaultKind
from discordsim.gateway.hub import GatewayHub
from discordsim.gateway.sessions import Session

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class SocketAction(StrEnum):
    """What to do to sockets."""

    CUT = "cut"
    HALF_OPEN = "half_open"
    THAW = "thaw"
    CLOSE = "close"
    RECONNECT = "reconnect"
    INVALIDATE = "invalidate"
    HEARTBEAT = "heartbeat"
    SLOW = "slow"


class DispatchFaultBody(msgspec.Struct, forbid_unknown_fields=True):
    """A fault for the next `count` events of each matching session; `count: null` lasts until cleared."""

    kind: FaultKind
    count: Count | None = 1
    session_id: str | None = None
    shard_id: int | None = None
    name: str | None = None


class SocketFaultBody(msgspec.Struct, forbid_unknown_fields=True):
    """An action on the sockets of matching sessions; `code` for close, `resumable` for invalidate, `seconds` per frame for slow."""

    action: SocketAction
    session_id: str | None = None
    shard_id: int | None = None
    code: Annotated[int, msgspec.Meta(ge=1000, le=4999)] = int(CloseCode.UNKNOWN_ERROR)
    resumable: bool = False
    seconds: Seconds = 0.0

    def chooses(self, session: Session | None) -> bool:
        """Tell whether a connection with this session is meant."""
        if self.session_id is None and self.shard_id is None:
            return True
        if session is None:
            return False
        return self.session_id in {None, session.id} and self.shard_id in {None, session.shard[0]}


class BrickBody(msgspec.Struct, forbid_unknown_fields=True):
    """Whether a session refuses RESUME; None means all sessions."""

    session_id: str | None = None
    bricked: bool = True


class RefuseBody(msgspec.Struct, forbid_unknown_fields=True):
    """Refuse new sockets with 503 for so many seconds; 0 ends it."""

    seconds: Seconds


class StormBody(msgspec.Struct, forbid_unknown_fields=True):
    """Answer the next `count` sockets with op 7 instead of HELLO, after telling all open ones to reconnect."""

    count: Annotated[int, msgspec.Meta(ge=0)] = 0


class FaultRoutes:
    """Handlers of /control/faults."""

    def __init__(self, hub: GatewayHub) -> None:
        self._hub = hub

    def add(self, app: web.Application) -> None:
        """Register the routes."""
        app.router.add_get("/control/faults", self.shown)
        for name in ("dispatch", "sockets", "brick", "refuse", "storm", "clear"):
            app.router.add_post(f"/control/faults/{name}", getattr(self, name))

    async def shown(self, _request: web.Request) -> web.Response:
        """List dispatch faults, also those that are used up."""
        return bodies.answer([fault.payload() for fault in self._hub.path.faults])

    async def dispatch(self, request: web.Request) -> web.Response:
        """Set a dispatch fault."""
        body = await bodies.read(request, DispatchFaultBody)
        if body.kind is FaultKind.REORDER and body.count is None:
            return bodies.refused("reorder needs a count: it hands over when so many are held")
        fault = DispatchFault(
            body.kind, count=body.count, session_id=body.session_id, shard_id=body.shard_id, name=body.name
        )
        self._hub.path.faults.append(fault)
        return bodies.answer(fault.payload())

    async def sockets(self, request: web.Request) -> web.Response:
        """Do something to sockets; answers how many."""
        body = await bodies.read(request, SocketFaultBody)
        chosen = self._hub.each_connection(body.chooses)
        act = _actions(self._hub, body)[body.action]
        for connection in chosen:
            act(connection)
        return bodies.answer({"sockets": len(chosen)})

    async def brick(self, request: web.Request) -> web.Response:
        """Let sessions refuse RESUME, or end that."""
        body = await bodies.read(request, BrickBody)
        found = [one for one in self._hub.sessions.values() if body.session_id in {None, one.id}]
        for session in found:
            session.bricked = body.bricked
        return bodies.answer({"sessions": len(found)})

    async def refuse(self, request: web.Request) -> web.Response:
        """Refuse new sockets for a while."""
        body = await bodies.read(request, RefuseBody)
        self._hub.refuse_until = self._hub.clock.monotonic() + body.seconds
        return bodies.answer({"seconds": body.seconds})

    async def storm(self, request: web.Request) -> web.Response:
        """Tell everybody to reconnect, and the next ones too."""
        body = await bodies.read(request, StormBody)
        self._hub.reconnects_instead_of_hello = body.count
        chosen = self._hub.each_connection(lambda _session: True)
        for connection in chosen:
            connection.push(frames.control(Op.RECONNECT))
        return bodies.answer({"sockets": len(chosen)})

    async def clear(self, _request: web.Request) -> web.Response:
        """End every fault that lasts; held events are handed over, frozen sockets go on."""
        self._hub.path.clear(self._hub.router.sessions)
        self._hub.refuse_until, self._hub.reconnects_instead_of_hello = float("-inf"), 0
        for session in self._hub.sessions.values():
            session.bricked = False
        for connection in tuple(self._hub.connections):
            connection.delay = 0.0
            connection.thaw()
        return bodies.answer({})


def _actions(hub: GatewayHub, body: SocketFaultBody) -> dict[SocketAction, Callable[[Connection], None]]:
    def slow(connection: Connection) -> None:
        connection.delay = body.seconds

    return {
        SocketAction.CUT: Connection.abort,
        SocketAction.HALF_OPEN: Connection.freeze,
        SocketAction.THAW: Connection.thaw,
        SocketAction.CLOSE: lambda connection: connection.close(body.code),
        SocketAction.RECONNECT: lambda connection: connection.push(frames.control(Op.RECONNECT)),
        SocketAction.INVALIDATE: lambda connection: hub.invalidate(connection, resumable=body.resumable),
        SocketAction.HEARTBEAT: lambda connection: connection.push(frames.control(Op.HEARTBEAT)),
        SocketAction.SLOW: slow,
    }
