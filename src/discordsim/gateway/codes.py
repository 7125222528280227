"""Numbers of the gateway protocol: opcodes and close codes."""

from enum import IntEnum


class Op(IntEnum):
    """Gateway opcodes of API v10."""

    DISPATCH = 0
    HEARTBEAT = 1
    IDENTIFY = 2
    PRESENCE_UPDATE = 3
    VOICE_STATE_UPDATE = 4
    RESUME = 6
    RECONNECT = 7
    REQUEST_GUILD_MEMBERS = 8
    INVALID_SESSION = 9
    HELLO = 10
    HEARTBEAT_ACK = 11


class CloseCode(IntEnum):
    """Close codes which the gateway sends."""

    GOING_AWAY = 1001
    UNKNOWN_ERROR = 4000
    UNKNOWN_OPCODE = 4001
    DECODE_ERROR = 4002
    NOT_AUTHENTICATED = 4003
    AUTHENTICATION_FAILED = 4004
    ALREADY_AUTHENTICATED = 4005
    INVALID_SEQ = 4007
    RATE_LIMITED = 4008
    SESSION_TIMED_OUT = 4009
    INVALID_SHARD = 4010
    SHARDING_REQUIRED = 4011
    INVALID_API_VERSION = 4012
    INVALID_INTENTS = 4013
    DISALLOWED_INTENTS = 4014


ENDS_SESSION = frozenset({1000, 1001})


class GatewayClose(Exception):  # noqa: N818 - an outcome of the protocol, not a fault of ours
    """The gateway ends this connection with a close code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"close {code}")
        self.code = code


class InvalidSession(Exception):  # noqa: N818 - as above
    """The gateway answers op 9; the connection stays."""

    def __init__(self, *, resumable: bool = False) -> None:
        super().__init__(f"invalid session, resumable: {resumable}")
        self.resumable = resumable
