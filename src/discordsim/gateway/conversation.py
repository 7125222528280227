"""What a client says on one connection, and what the gateway makes of it: the state machine of opcodes.

Before a session exists only heartbeats, IDENTIFY and RESUME are heard; afterwards a second IDENTIFY or RESUME closes with 4005.
Refuses payloads above 4096 bytes, more than 120 payloads a minute, and anything it cannot decode.
"""

import asyncio
from collections import deque
from typing import Any, TypeVar

import msgspec

from discordsim.gateway import chunking, frames, identifying
from discordsim.gateway.codes import CloseCode, GatewayClose, InvalidSession, Op
from discordsim.gateway.compression import Transport, payload_encoder
from discordsim.gateway.connection import Connection
from discordsim.gateway.hub import GatewayHub
from discordsim.gateway.sessions import Session, Wire

Body = TypeVar("Body", bound=msgspec.Struct)
_MINUTE = 60.0
_NEEDS_SESSION = frozenset({Op.PRESENCE_UPDATE, Op.VOICE_STATE_UPDATE, Op.REQUEST_GUILD_MEMBERS})


class Conversation:
    """One client on one connection."""

    def __init__(self, hub: GatewayHub, connection: Connection, *, wire: Wire, resume_url: str) -> None:
        self._hub, self._connection, self._wire, self._resume_url = hub, connection, wire, resume_url
        self._sent: deque[float] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._anonymous = asyncio.get_running_loop().call_later(hub.switches.identify_deadline, self._time_out)

    @property
    def _session(self) -> Session | None:
        return self._hub.connections.get(self._connection)

    def start(self) -> None:
        """Say HELLO and begin to expect heartbeats."""
        self._connection.push(identifying.hello(self._hub.switches.heartbeat_interval))
        self._expect_heartbeat()

    def stop(self) -> None:
        """Forget all timers."""
        self._anonymous.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _expect_heartbeat(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        patience = self._hub.switches.heartbeat_interval * self._hub.switches.heartbeat_patience
        self._timer = asyncio.get_running_loop().call_later(patience, self._time_out)

    def _time_out(self) -> None:
        if self._connection.frozen:
            return
        session = self._session
        self._connection.close(CloseCode.SESSION_TIMED_OUT)
        if session is not None and self._hub.switches.timeout_ends_session:
            self._hub.end(session)

    def hear(self, payload: str | bytes) -> None:
        """Act on one message of the client."""
        try:
            self._act(payload)
        except GatewayClose as ending:
            self._connection.close(ending.code)
        except InvalidSession as refusal:
            self._hub.counters.invalid_sessions += 1
            self._connection.push(frames.control(Op.INVALID_SESSION, refusal.resumable))

    def _act(self, payload: str | bytes) -> None:
        self._limit_rate()
        message = _decoded(payload)
        self._hub.counters.inbound[message.op] += 1
        if message.op == Op.HEARTBEAT:
            self._heartbeat(message.d)
        elif message.op == Op.IDENTIFY:
            self._identify(_body(message.d, frames.Identify))
        elif message.op == Op.RESUME:
            self._resume(_body(message.d, frames.Resume))
        elif message.op in _NEEDS_SESSION:
            self._command(Op(message.op), message.d)
        else:
            raise GatewayClose(CloseCode.UNKNOWN_OPCODE)

    def _limit_rate(self) -> None:
        now = self._hub.clock.monotonic()
        while self._sent and now - self._sent[0] >= _MINUTE:
            self._sent.popleft()
        self._sent.append(now)
        if len(self._sent) > self._hub.switches.sends_per_minute:
            raise GatewayClose(CloseCode.RATE_LIMITED)

    def _heartbeat(self, seq: Any) -> None:
        if seq is not None and not isinstance(seq, int):
            raise GatewayClose(CloseCode.DECODE_ERROR)
        if self._session is not None:
            self._session.acknowledge(seq)
        self._hub.counters.heartbeats += 1
        self._connection.push(frames.control(Op.HEARTBEAT_ACK))
        self._expect_heartbeat()

    def _identify(self, wanted: frames.Identify) -> None:
        self._refuse_second()
        if wanted.compress and self._wire.transport is Transport.NONE:
            self._connection.encode = payload_encoder
        identifying.identify(self._hub, self._connection, wanted, wire=self._wire, resume_url=self._resume_url)
        self._anonymous.cancel()

    def _resume(self, wanted: frames.Resume) -> None:
        self._refuse_second()
        identifying.resume(self._hub, self._connection, wanted, wire=self._wire)
        self._anonymous.cancel()

    def _refuse_second(self) -> None:
        if self._session is not None:
            raise GatewayClose(CloseCode.ALREADY_AUTHENTICATED)

    def _command(self, op: Op, data: Any) -> None:
        session = self._session
        if session is None:
            raise GatewayClose(CloseCode.NOT_AUTHENTICATED)
        if op is Op.PRESENCE_UPDATE:
            _body(data, frames.PresenceUpdate)
        elif op is Op.VOICE_STATE_UPDATE:
            _body(data, frames.VoiceStateUpdate)
        else:
            chunking.answer(self._hub, session, _body(data, frames.RequestMembers))


def _decoded(payload: str | bytes) -> frames.Inbound:
    raw = payload.encode() if isinstance(payload, str) else payload
    if len(raw) > frames.MAX_INBOUND_BYTES:
        raise GatewayClose(CloseCode.DECODE_ERROR)
    try:
        return frames.inbound.decode(raw)
    except msgspec.DecodeError as error:
        raise GatewayClose(CloseCode.DECODE_ERROR) from error


def _body(data: Any, kind: type[Body]) -> Body:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise GatewayClose(CloseCode.DECODE_ERROR) from error
