"""The edge of the config service: from bytes on the wire to typed calls and back, and every error as a problem (RFC 9457).

A call reads its whole body (up to `BODY_LIMIT`) and decodes it before anything else happens, so a refused call changes nothing.
Unknown fields, wrong types and malformed names are 400. The internal token is compared in constant time.
"""

from __future__ import annotations

import hmac
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from modbot.cluster import protocol
from modbot.domain import ids
from modbot.domain.errors import InvalidInputError, ModbotError, UnauthorizedError
from modbot.domain.ids import Epoch, GuildId, Incarnation, PodId, ShardId
from modbot.ops.settings import Secret

BODY_LIMIT = 16 * 1024 * 1024
LARGEST_ID = 2**63 - 1
OPEN_PATHS = frozenset({"/started", "/health", "/ready", "/metrics", "/guild-assignments"})
_DECIMAL = re.compile(r"[0-9]{1,19}")
_T = TypeVar("_T")


class TokenGate:
    """Lets nobody pass without the internal token, except to `OPEN_PATHS`.

    A kubelet and Prometheus hold no secret of ours, and whoever looks for the cause of an outage should not need one. What these paths
    tell is no secret: counts, names of pods, and where shards live.
    """

    def __init__(self, app: ASGIApp, *, token: Secret) -> None:
        self._app = app
        self._expected = f"Bearer {token.reveal()}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or answer 401."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            given = Headers(scope=scope).get("authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, self._expected):
                await problem(UnauthorizedError("The internal token is missing or wrong."))(scope, receive, send)
                return
        await self._app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Query:
    """The query of a URL, read strictly: a missing, repeated or malformed value is a 400."""

    values: Mapping[str, list[str]]

    def one(self, name: str) -> str:
        """Return the single value of a name."""
        found = self.values.get(name, [])
        if len(found) != 1:
            raise InvalidInputError(f"The query needs exactly one {name!r}.")
        return found[0]

    def many(self, name: str) -> list[str]:
        """Return all values of a name."""
        return self.values.get(name, [])


def position(texts: list[str]) -> int:
    """Read a place in a list that is read page by page; without one it begins at 0."""
    if not texts:
        return 0
    if len(texts) > 1 or not texts[0].isascii() or not texts[0].isdigit() or len(texts[0]) > 18:
        raise InvalidInputError("'after' is one number, the 'last' of the page before.")
    return int(texts[0])


def query_of(request: Request, known: frozenset[str]) -> Query:
    """Read the query; a name that the operation does not know is a 400."""
    values: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise InvalidInputError(f"{name!r} is not a parameter of this call.")
        values.setdefault(name, []).append(value)
    return Query(values)


async def body_of(request: Request, kind: type[_T]) -> _T:
    """Read and decode the body; `InvalidInputError` names the field that is wrong."""
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > BODY_LIMIT:
                raise InvalidInputError(f"The body is larger than {BODY_LIMIT} bytes.")
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise InvalidInputError("The caller hung up before the end of the body.") from error
    try:
        return msgspec.json.decode(b"".join(chunks), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInputError(f"The body is not valid: {error}.") from None


def pod_id(text: str) -> PodId:
    """Read a pod's name."""
    return ids.parse_pod_id(text)


def shard_id(text: str) -> ShardId:
    """Read a shard's name."""
    return ids.parse_shard_id(text)


def incarnation(text: str) -> Incarnation:
    """Read an incarnation: a UUID in its canonical form, because members compare it as text."""
    try:
        canonical = str(uuid.UUID(text))
    except ValueError:
        canonical = ""
    if canonical != text:
        raise InvalidInputError("The incarnation is not a UUID in lower-case canonical form.")
    return Incarnation(text)


def number(text: str, what: str) -> int:
    """Read a decimal number between 0 and 2^63-1."""
    if _DECIMAL.fullmatch(text) is None or int(text) > LARGEST_ID:
        raise InvalidInputError(f"{what} is not a number between 0 and {LARGEST_ID}.")
    return int(text)


def guild_id(text: str) -> GuildId:
    """Read a guild's snowflake."""
    return GuildId(number(text, "The guild id"))


def epoch(text: str) -> Epoch:
    """Read an epoch."""
    return Epoch(number(text, "The epoch"))


def answer(message: protocol.Message | None) -> Response:
    """Encode an answer; nothing to say is a 204."""
    if message is None:
        return Response(status_code=204)
    return Response(msgspec.json.encode(message), media_type="application/json")


def problem(error: ModbotError) -> Response:
    """Encode an error of our tree."""
    title = (type(error).__doc__ or error.code).split("\n", maxsplit=1)[0]
    return _problem(error.status, title, str(error), code=error.code, hint=error.hint, retry=error.retry)


async def http_problem(_request: Request, error: Exception) -> Response:
    """Encode an unknown path or a wrong method."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http")
    hint = "`GET /openapi.json` lists every path and method."
    found = _problem(error.status_code, error.detail, error.detail, code=code, hint=hint, retry=False)
    found.headers.update(error.headers or {})
    return found


def _problem(status: int, title: str, detail: str, **rest: Any) -> Response:
    body = protocol.Problem(title=title, status=status, detail=detail, **rest)
    headers = {"www-authenticate": "Bearer"} if status == UnauthorizedError.status else None
    return Response(msgspec.json.encode(body), status, headers, media_type="application/problem+json")
