"""IDENTIFY and RESUME: who may start or continue a session, and what it is told first.

Checks run in the order in which Discord is known to answer: token, intents, shard, size, daily limit, concurrency.
Raises `GatewayClose` or `InvalidSession`; refuses to touch sockets besides the one that asks.
"""

from discordsim.gateway import counting, events, frames
from discordsim.gateway.budgets import Verdict
from discordsim.gateway.codes import CloseCode, GatewayClose, InvalidSession, Op
from discordsim.gateway.connection import Connection
from discordsim.gateway.frames import Identify, Resume
from discordsim.gateway.hub import GatewayHub
from discordsim.gateway.sessions import Session, Wire
from discordsim.world.events import Intent
from discordsim.world.model import users
from discordsim.world.model.users import Application
from discordsim.world.payloads import Json

_KNOWN_INTENTS = sum(bit.value for bit in Intent)
_PRIVILEGED = (
    (Intent.GUILD_PRESENCES, users.FLAG_PRESENCES),
    (Intent.GUILD_MEMBERS, users.FLAG_MEMBERS),
    (Intent.MESSAGE_CONTENT, users.FLAG_MESSAGE_CONTENT),
)


def identify(hub: GatewayHub, connection: Connection, wanted: Identify, *, wire: Wire, resume_url: str) -> Session:
    """Start a session on a connection and send READY."""
    application = _authenticated(hub, wanted.token)
    _check_intents(application, wanted.intents)
    shard = wanted.shard or (0, 1)
    _check_shard(hub, application, shard)
    _spend(hub, application, shard)
    session = hub.open_session(
        application, shard=shard, intents=wanted.intents, wire=wire, large_threshold=wanted.large_threshold
    )
    _join(hub, connection, session)
    session.put(events.made("READY", _ready(session, wanted, resume_url)))
    connection.refill = session.introduce_some
    return session


def resume(hub: GatewayHub, connection: Connection, wanted: Resume, *, wire: Wire) -> Session:
    """Continue a session on a connection: what was missed, then RESUMED."""
    application = _authenticated(hub, wanted.token)
    session = hub.sessions.get(wanted.session_id)
    if session is None or session.application is not application or session.bricked or session.wire != wire:
        raise _unresumable(hub)
    if wanted.seq > session.seq or wanted.seq < 0:
        raise GatewayClose(CloseCode.INVALID_SEQ)
    replayed = session.replay(wanted.seq, connection)
    if replayed is None:
        hub.end(session)
        raise _unresumable(hub)
    _push_out_others(hub, session)
    _join(hub, connection, session)
    session.resumes += 1
    hub.counters.resumes += 1
    hub.counters.replayed += replayed
    session.put(events.made("RESUMED", {"_trace": ["discordsim"]}))
    connection.refill = session.introduce_some
    return session


def _authenticated(hub: GatewayHub, token: str) -> Application:
    found = hub.world.applications_by_token.get(token.removeprefix("Bot "))
    if found is None:
        raise GatewayClose(CloseCode.AUTHENTICATION_FAILED)
    return found


def _check_intents(application: Application, intents: int) -> None:
    if intents < 0 or intents & ~_KNOWN_INTENTS:
        raise GatewayClose(CloseCode.INVALID_INTENTS)
    for intent, flags in _PRIVILEGED:
        if intents & intent and not application.flags & flags:
            raise GatewayClose(CloseCode.DISALLOWED_INTENTS)


def _check_shard(hub: GatewayHub, application: Application, shard: tuple[int, int]) -> None:
    shard_id, num_shards = shard
    most = hub.switches.max_num_shards
    if not 0 <= shard_id < num_shards or (most is not None and num_shards > most):
        raise GatewayClose(CloseCode.INVALID_SHARD)
    if len(hub.guild_ids(application.id, shard)) > hub.switches.max_guilds_per_session:
        raise GatewayClose(CloseCode.SHARDING_REQUIRED)


def _spend(hub: GatewayHub, application: Application, shard: tuple[int, int]) -> None:
    verdict = hub.budget(application.id).spend(shard[0], hub.switches, hub.clock.monotonic())
    if verdict is Verdict.TOO_FAST:
        hub.counters.identifies_too_fast += 1
        raise InvalidSession
    if verdict is Verdict.EXHAUSTED:
        hub.counters.identifies_over_limit += 1
        hub.revoke(application)
        raise GatewayClose(CloseCode.AUTHENTICATION_FAILED)
    hub.counters.identifies += 1
    hub.counters.identifies_by_shard[f"{shard[0]}/{shard[1]}"] += 1
    key = shard[0] % hub.switches.max_concurrency
    hub.counters.identify_log.append(counting.IdentifyRecord(hub.clock.unix(), application.id, *shard, key))


def _unresumable(hub: GatewayHub) -> InvalidSession:
    hub.counters.resumes_failed += 1
    return InvalidSession()


def _push_out_others(hub: GatewayHub, session: Session) -> None:
    if hub.switches.second_resume == "close_old":
        for socket in tuple(session.sockets):
            socket.close(hub.switches.second_resume_close_code)


def _join(hub: GatewayHub, connection: Connection, session: Session) -> None:
    hub.connections[connection] = session
    session.attach(connection)


def _ready(session: Session, wanted: Identify, resume_url: str) -> Json:
    application = session.application
    own = application.bot.payload() | {"mfa_enabled": True, "verified": True, "email": None, "locale": "en-US"}
    data: Json = {
        "v": session.wire.version,
        "user": own,
        "guilds": [{"id": str(guild_id), "unavailable": True} for guild_id in session.unavailable],
        "session_id": session.id,
        "session_type": "normal",
        "resume_gateway_url": resume_url,
        "application": {"id": str(application.id), "flags": application.flags},
        "private_channels": [],
        "relationships": [],
        "presences": [],
        "user_settings": {},
        "_trace": ["discordsim"],
    }
    if wanted.shard is not None:
        data["shard"] = list(wanted.shard)
    return data


def hello(interval: float) -> bytes:
    """Return the first payload of every connection; `interval` in seconds."""
    return frames.control(Op.HELLO, {"heartbeat_interval": int(interval * 1000), "_trace": ["discordsim"]})
