"""Request Guild Members: answers in chunks of 1000.

Asking for all members is allowed once per guild and 30 seconds, else RATE_LIMITED; it needs the GUILD_MEMBERS intent. Up to 100
members can be asked for by prefix or by id at any time.
"""

from discordsim.gateway import events
from discordsim.gateway.codes import CloseCode, GatewayClose, Op
from discordsim.gateway.frames import RequestMembers
from discordsim.gateway.hub import GatewayHub
from discordsim.gateway.routing import shard_of
from discordsim.gateway.sessions import Session
from discordsim.world.events import Intent
from discordsim.world.model.guilds import Guild, Member
from discordsim.world.payloads import Json

CHUNK = 1000
MOST = 100


def answer(hub: GatewayHub, session: Session, request: RequestMembers) -> None:
    """Send the chunks of one request to the session; a guild that is not this shard's gets nothing."""
    guild = hub.world.guilds.get(_guild_id(request))
    if guild is None or session.application.id not in guild.members:
        return
    if shard_of(guild.id, session.shard[1]) != session.shard[0]:
        return
    if request.user_ids is not None:
        _by_ids(session, guild, request)
    elif request.query or request.limit:
        _by_prefix(session, guild, request)
    elif request.query is None:
        raise GatewayClose(CloseCode.DECODE_ERROR)
    else:
        _all(hub, session, guild, request)


def _guild_id(request: RequestMembers) -> int:
    one = request.guild_id if isinstance(request.guild_id, str) else ",".join(request.guild_id)
    return _number(one)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise GatewayClose(CloseCode.DECODE_ERROR)
    return int(text)


def _by_ids(session: Session, guild: Guild, request: RequestMembers) -> None:
    listed = request.user_ids or []
    wanted = [_number(one) for one in ([listed] if isinstance(listed, str) else listed)]
    if len(wanted) > MOST:
        raise GatewayClose(CloseCode.DECODE_ERROR)
    found = [guild.members[one] for one in wanted if one in guild.members]
    missing = [str(one) for one in wanted if one not in guild.members]
    _send(session, guild, found, request, not_found=missing)


def _by_prefix(session: Session, guild: Guild, request: RequestMembers) -> None:
    prefix, limit = (request.query or "").casefold(), min(request.limit or MOST, MOST)
    found = [one for one in guild.members.values() if _starts(one, prefix)]
    _send(session, guild, found[:limit], request)


def _starts(member: Member, prefix: str) -> bool:
    names = (member.nick, member.user.global_name, member.user.username)
    return any(name.casefold().startswith(prefix) for name in names if name)


def _all(hub: GatewayHub, session: Session, guild: Guild, request: RequestMembers) -> None:
    if not session.intents & Intent.GUILD_MEMBERS:
        raise GatewayClose(CloseCode.DISALLOWED_INTENTS)
    now, key = hub.clock.monotonic(), (session.application.id, guild.id)
    wait = hub.member_requests.get(key, float("-inf")) + hub.switches.request_members_interval - now
    if wait > 0:
        meta = {"guild_id": str(guild.id)} | ({} if request.nonce is None else {"nonce": request.nonce})
        data = {"opcode": int(Op.REQUEST_GUILD_MEMBERS), "retry_after": round(wait, 3), "meta": meta}
        session.put(events.made("RATE_LIMITED", data))
        return
    hub.member_requests[key] = now
    _send(session, guild, list(guild.members.values()), request)


def _send(
    session: Session,
    guild: Guild,
    members: list[Member],
    request: RequestMembers,
    *,
    not_found: list[str] | None = None,
) -> None:
    parts = [members[start : start + CHUNK] for start in range(0, len(members), CHUNK)] or [[]]
    for index, part in enumerate(parts):
        data: Json = {
            "guild_id": str(guild.id),
            "members": [member.payload() for member in part],
            "chunk_index": index,
            "chunk_count": len(parts),
        }
        if not_found:
            data["not_found"] = not_found
        if request.presences:
            data["presences"] = []
        if request.nonce is not None and len(request.nonce.encode()) <= 32:
            data["nonce"] = request.nonce
        session.put(events.made("GUILD_MEMBERS_CHUNK", data, guild.id))
