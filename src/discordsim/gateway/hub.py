"""The gateway as one thing: all sessions and sockets, fed by the world.

The hub is subscribed to the world and hands every event to the sessions that may know of it. It forgets sessions whose time is over.
"""

import asyncio
import random
import secrets
from collections.abc import Callable

from discordsim.clock import SimulatorClock
from discordsim.gateway import frames, routing
from discordsim.gateway.budgets import IdentifyBudget
from discordsim.gateway.buffering import ReplayBuffer
from discordsim.gateway.codes import CloseCode, Op
from discordsim.gateway.connection import Connection
from discordsim.gateway.counting import Counters
from discordsim.gateway.events import Event, Outgoing, made
from discordsim.gateway.faults import FaultyPath
from discordsim.gateway.routing import Router
from discordsim.gateway.sessions import Session, Wire
from discordsim.switches import Switches
from discordsim.world.events import Dispatch, Intent
from discordsim.world.model.users import Application
from discordsim.world.payloads import Json
from discordsim.world.world import World

_ALWAYS = 0


class GatewayHub:
    """Sessions, sockets, budgets, counters and faults of the simulated gateway."""

    def __init__(self, world: World, switches: Switches, clock: SimulatorClock) -> None:
        self.world, self.switches, self.clock = world, switches, clock
        self.counters = Counters()
        self.router = Router()
        self.path = FaultyPath()
        self.connections: dict[Connection, Session | None] = {}
        self.refuse_until = float("-inf")
        self.reconnects_instead_of_hello = 0
        self.everyone: dict[str, Session] = {}
        self.member_requests: dict[tuple[int, int], float] = {}
        self._budgets: dict[int, IdentifyBudget] = {}
        self._chance = random.Random(world.seed)  # noqa: S311 - an order, not a secret
        self._shuffled: dict[str, list[Event]] = {}
        world.subscribe(self.dispatch)

    @property
    def sessions(self) -> dict[str, Session]:
        """Return all sessions that are alive, by id."""
        for session in [one for one in self.router.sessions.values() if one.expired()]:
            self.end(session)
        return self.router.sessions

    def budget(self, application_id: int) -> IdentifyBudget:
        """Return the identify budget of an application."""
        return self._budgets.setdefault(application_id, IdentifyBudget())

    def dispatch(self, dispatch: Dispatch) -> None:
        """Hand an event of the world to every session that may know of it."""
        self.counters.world_events += 1
        outgoing, allowed = Outgoing(dispatch), dict[int, bool]()
        for application_id, sessions in self.router.by_application(dispatch.guild_id):
            if application_id not in allowed:
                allowed[application_id] = routing.may_receive(self.world, application_id, dispatch)
            if allowed[application_id]:
                self._hand_out(outgoing, list(sessions))

    def _hand_out(self, outgoing: Outgoing, sessions: list[Session]) -> None:
        wanted, guild_id = int(outgoing.dispatch.intents), outgoing.dispatch.guild_id
        for session in sessions:
            if wanted != _ALWAYS and not session.intents & wanted:
                continue
            if session.expired():
                self.end(session)
                continue
            if guild_id is not None and session.unavailable:
                self._introduce_first(session, outgoing.dispatch, guild_id)
            self._deliver(session, outgoing.for_session(session.application.id, session.intents))

    @staticmethod
    def _introduce_first(session: Session, dispatch: Dispatch, guild_id: int) -> None:
        """Keep GUILD_CREATE ahead of a guild's other events while a session is starting."""
        if dispatch.name in {"GUILD_CREATE", "GUILD_DELETE"}:
            session.unavailable.pop(guild_id, None)
        else:
            session.introduce(guild_id)

    def _deliver(self, session: Session, event: Event) -> None:
        if not self.switches.shuffle_across_sessions:
            self.path.deliver(session, event)
            return
        if session.id not in self._shuffled:
            self._shuffled[session.id] = []
            asyncio.get_running_loop().call_later(self.switches.shuffle_seconds, self._flush_shuffled, session)
        self._shuffled[session.id].append(event)

    def _flush_shuffled(self, session: Session) -> None:
        events = self._shuffled.pop(session.id)
        self._chance.shuffle(events)
        for event in events:
            self.path.deliver(session, event)

    def send_to_bot(self, application_id: int, guild_id: int | None, name: str, data: Json) -> int:
        """Hand an event that needs no intent (an interaction) to an application and return how many sessions took it."""
        event = made(name, data, guild_id)
        found = [one for one in self.router.serving(application_id, guild_id) if not one.expired()]
        for session in found:
            if guild_id is not None:
                session.introduce(guild_id)
            self._deliver(session, event)
        return len(found)

    def open_session(
        self, application: Application, *, shard: tuple[int, int], intents: int, wire: Wire, large_threshold: int
    ) -> Session:
        """Start a session; its guilds wait in `unavailable`."""
        session = Session(
            secrets.token_hex(16),
            application,
            shard=shard,
            intents=intents,
            wire=wire,
            switches=self.switches,
            counters=self.counters,
            monotonic=self.clock.monotonic,
            introduce=self._guild_create,
        )
        session.large_threshold = large_threshold
        guild_ids = self.guild_ids(application.id, shard)
        session.guild_count, session.unavailable = len(guild_ids), dict.fromkeys(guild_ids)
        self.router.add(session)
        self.everyone[session.id] = session
        return session

    def guild_ids(self, application_id: int, shard: tuple[int, int]) -> list[int]:
        """Return the guilds of an application that a shard serves."""
        guilds = self.world.guilds_of(application_id)
        return [guild.id for guild in guilds if routing.shard_of(guild.id, shard[1]) == shard[0]]

    def _guild_create(self, session: Session, guild_id: int) -> Event | None:
        guild, bot_id = self.world.guilds.get(guild_id), session.application.id
        hidden = not session.intents & Intent.GUILDS
        if guild is None or hidden or guild.unavailable or bot_id not in guild.members:
            return None
        presences = bool(session.intents & Intent.GUILD_PRESENCES)
        threshold = session.large_threshold
        data = guild.create_payload(bot_id, large_threshold=threshold, with_presences=presences)
        return made("GUILD_CREATE", data, guild_id)

    def end(self, session: Session) -> None:
        """Forget a session; it cannot be resumed any more."""
        self.counters.sessions_ended += session.id in self.router.sessions
        self.router.remove(session)
        session.buffer = ReplayBuffer()

    def closed_by_server(self, connection: Connection, code: int) -> None:
        """Note that the server ended a connection (0: without a close frame)."""
        self.counters.closes[int(code)] += 1
        self.leave(connection)

    def leave(self, connection: Connection) -> None:
        """Take a connection off its session; repeating changes nothing."""
        session = self.connections.pop(connection, None)
        if session is not None:
            session.detach(connection)

    def invalidate(self, connection: Connection, *, resumable: bool) -> None:
        """Send op 9 and take the connection off its session, which ends unless it is resumable."""
        session = self.connections.get(connection)
        if session is not None:
            session.detach(connection)
            if not resumable:
                self.end(session)
        self.connections[connection] = None
        connection.refill = lambda: False
        self.counters.invalid_sessions += 1
        connection.push(frames.control(Op.INVALID_SESSION, resumable))

    def each_connection(self, chosen: Callable[[Session | None], bool]) -> list[Connection]:
        """Return the connections whose session (None before IDENTIFY) is chosen."""
        return [connection for connection, session in self.connections.items() if chosen(session)]

    def revoke(self, application: Application) -> None:
        """End all sessions of an application and make its token worthless."""
        for session in [one for one in self.router.sessions.values() if one.application is application]:
            for socket in tuple(session.sockets):
                socket.close(CloseCode.AUTHENTICATION_FAILED)
            self.end(session)
        if self.switches.exhaustion_resets_token:
            del self.world.applications_by_token[application.token]
            application.token = f"{application.token.rpartition('.')[0]}.{secrets.token_hex(19)}"
            self.world.applications_by_token[application.token] = application
