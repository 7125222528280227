"""What to do after a gateway connection has ended: a table, and the errors that no reconnecting helps against.

The rule behind the table: a session id is worth a RESUME until Discord says otherwise, since resuming is free and replays what was
missed, while a new session costs an IDENTIFY of a daily budget and loses the events in between. We ourselves always close with
`VOLUNTARY` (4000): Discord takes 1000 and 1001 from a client as "this session is over".
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from modbot.domain.errors import ModbotError

VOLUNTARY: Final = 4000
"""Close code of everything we end ourselves: stop, handoff, zombie, broken stream."""


class Next(StrEnum):
    """What follows the end of a connection."""

    RESUME = "resume"
    NEW_SESSION = "new_session"
    STOP = "stop"


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """Why a connection ended and what follows. `immediate`: Discord asked for it, so the first reconnect does not wait."""

    next: Next
    reason: str
    code: int | None = None
    immediate: bool = False


class GatewayRefusedError(ModbotError):
    """Discord refuses this bot's gateway connection for a reason that trying again cannot mend."""

    code = "gateway_refused"
    status = 502
    hint = "Look up the close code in Discord's documentation of gateway close events."


class TokenRefusedError(GatewayRefusedError):
    """Discord does not accept the bot token."""

    code = "token_refused"
    hint = "Copy the token from the Developer Portal (Bot, Reset Token) into DISCORD_HASH and restart."


class ShardingRefusedError(GatewayRefusedError):
    """Discord does not accept the shard number or demands more shards."""

    code = "sharding_refused"
    hint = "MODBOT_SHARD_COUNT must be large enough for the number of guilds (at most 2500 per shard)."


class IntentsRefusedError(GatewayRefusedError):
    """Discord does not grant the intents that were asked for."""

    code = "intents_refused"
    hint = "Enable Message Content in the Developer Portal, or set MODBOT_MESSAGE_CONTENT=false."


class VersionRefusedError(GatewayRefusedError):
    """Discord no longer speaks the gateway version that this release uses."""

    code = "version_refused"
    hint = "Update modbot."


_FATAL: Final[dict[int, type[GatewayRefusedError]]] = {
    4004: TokenRefusedError,
    4010: ShardingRefusedError,
    4011: ShardingRefusedError,
    4012: VersionRefusedError,
    4013: IntentsRefusedError,
    4014: IntentsRefusedError,
}
_NEW_SESSION: Final = {
    4006: "the session is no longer valid",
    4007: "the sequence number was not valid",
    4009: "the session timed out",
}
_RESUME: Final = {
    4000: "unknown error",
    4001: "unknown opcode",
    4002: "payload could not be decoded",
    4003: "not authenticated",
    4005: "already authenticated",
    4008: "too many messages sent",
}


def decide_after_close(code: int | None) -> Ending:
    """Say what follows a close by Discord or the network (`None`: no close frame); raises for codes that end the attempt."""
    if code in _FATAL:
        kind = _FATAL[code]
        raise kind(f"{kind.__doc__} (close code {code})")
    if code in _NEW_SESSION:
        return Ending(next=Next.NEW_SESSION, reason=_NEW_SESSION[code], code=code)
    reason = "connection lost" if code is None else _RESUME.get(code, "closed")
    return Ending(next=Next.RESUME, reason=reason, code=code)
