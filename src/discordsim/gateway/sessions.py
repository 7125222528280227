"""One gateway session: its sequence, replay buffer, log and the sockets it is on.

A session outlives its sockets. Sequence numbers rise by one per dispatch; every dispatch is buffered and logged before it is sent.
Refuses to decide who may receive what (`routing`) and what goes wrong on the way (`faults`).
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from discordsim.gateway import buffering, frames
from discordsim.gateway.buffering import Entry, ReplayBuffer
from discordsim.gateway.compression import Transport
from discordsim.gateway.counting import Counters
from discordsim.gateway.events import Event
from discordsim.switches import Switches
from discordsim.world.model.users import Application
from discordsim.world.payloads import Json


class Wire(NamedTuple):
    """What a RESUME must repeat of the first connection."""

    version: int
    encoding: str
    transport: Transport


class Delivered(NamedTuple):
    """One line of the log of dispatches; `data` is the encoded payload, empty unless the switch `delivered_data` is on."""

    seq: int
    name: str
    guild_id: int | None
    key: tuple[str, ...]
    data: bytes = b""


class Socket(Protocol):
    """The side of a connection that sessions use."""

    def push(self, payload: bytes) -> None:
        """Queue a payload."""
        ...

    def close(self, code: int) -> None:
        """Close after what is queued."""
        ...


class Session:
    """A session of one shard. `introduce` returns the GUILD_CREATE of a guild, or None when there is none to send."""

    def __init__(
        self,
        session_id: str,
        application: Application,
        *,
        shard: tuple[int, int],
        intents: int,
        wire: Wire,
        switches: Switches,
        counters: Counters,
        monotonic: Callable[[], float],
        introduce: Callable[["Session", int], Event | None],
    ) -> None:
        self.id, self.application, self.shard, self.intents, self.wire = session_id, application, shard, intents, wire
        self.large_threshold = 50
        self.seq, self.guild_count, self.resumes = 0, 0, 0
        self.buffer = ReplayBuffer()
        self.delivered: deque[Delivered] = deque(maxlen=switches.delivered_limit)
        self.heartbeats: deque[int | None] = deque(maxlen=100)
        self.sockets: list[Socket] = []
        self.disconnected_at: float | None = None
        self.unavailable: dict[int, None] = {}
        self.bricked = False
        self.counters = counters
        self._switches, self._monotonic, self._introduce = switches, monotonic, introduce

    def put(self, event: Event, *, sent: bool = True) -> None:
        """Give the event the next sequence number, keep it, and send it unless it is to get lost on the way."""
        self.seq += 1
        now = self._monotonic()
        entry = Entry(self.seq, now, event.name, event.data)
        self.buffer.append(entry, limit=self._buffer_limit())
        if self._switches.buffer_event_seconds is not None:
            self.buffer.drop_before(now - self._switches.buffer_event_seconds)
        data = event.data if self._switches.delivered_data else b""
        self.delivered.append(Delivered(self.seq, event.name, event.guild_id, event.key, data))
        self.counters.dispatches += 1
        if sent and self.sockets:
            payload = frames.dispatch(entry.seq, entry.name, entry.data)
            for socket in self.sockets:
                socket.push(payload)

    def _buffer_limit(self) -> int:
        limit = self._switches.buffer_events
        return buffering.size_for(self.guild_count) if limit is None else limit

    def replay(self, seq: int, socket: Socket) -> int | None:
        """Send what came after `seq` to a socket and return how much; None when part of it is gone."""
        if self._switches.buffer_event_seconds is not None:
            self.buffer.drop_before(self._monotonic() - self._switches.buffer_event_seconds)
        missed = self.buffer.after(seq)
        if missed is None:
            return None
        for entry in missed:
            socket.push(frames.dispatch(entry.seq, entry.name, entry.data))
        return len(missed)

    def acknowledge(self, seq: int | None) -> None:
        """Note the sequence number of a heartbeat."""
        self.heartbeats.append(seq)
        if seq is not None and self._switches.trim_on_heartbeat:
            self.buffer.drop_through(seq)

    def introduce(self, guild_id: int) -> None:
        """Send the outstanding GUILD_CREATE of a guild; nothing when it was sent before."""
        if guild_id in self.unavailable:
            del self.unavailable[guild_id]
            event = self._introduce(self, guild_id)
            if event is not None:
                self.put(event)

    def introduce_some(self, count: int = 20) -> bool:
        """Send the next outstanding GUILD_CREATEs; False when all are out."""
        for guild_id in list(self.unavailable)[:count]:
            self.introduce(guild_id)
        return bool(self.unavailable)

    def attach(self, socket: Socket) -> None:
        """Send on this socket from now on."""
        self.sockets.append(socket)
        self.disconnected_at = None

    def detach(self, socket: Socket) -> None:
        """Stop sending on a socket; repeating changes nothing."""
        if socket in self.sockets:
            self.sockets.remove(socket)
            if not self.sockets:
                self.disconnected_at = self._monotonic()

    def expired(self) -> bool:
        """Tell whether nobody came back in time."""
        since = self.disconnected_at
        return since is not None and self._monotonic() - since > self._switches.buffer_seconds

    def payload(self) -> Json:
        """Return the session as the control API shows it."""
        return {
            "session_id": self.id,
            "application_id": str(self.application.id),
            "shard": list(self.shard),
            "intents": self.intents,
            "seq": self.seq,
            "connected": bool(self.sockets),
            "sockets": len(self.sockets),
            "resumes": self.resumes,
            "guilds": self.guild_count,
            "unavailable": len(self.unavailable),
            "buffer": len(self.buffer),
            "buffer_floor": self.buffer.floor,
            "last_heartbeat": self.heartbeats[-1] if self.heartbeats else None,
            "heartbeats": list(self.heartbeats),
            "bricked": self.bricked,
            "compress": str(self.wire.transport),
        }
