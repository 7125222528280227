"""The address that Discord calls (`POST /interactions`, alias `/webhooks/discord`), as plain ASGI: no framework on this path.

In this order: method, size, signature over the raw bytes, and only then the body is looked at. Whatever is not signed by Discord is
401, malformed signatures included, because Discord probes with forged requests and takes the address away when one is accepted.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from modbot.cluster.protocol import Problem
from modbot.discord import signatures
from modbot.domain.errors import InvalidInputError
from modbot.services.http import deciding, events
from modbot.services.http.answering import Answerer
from modbot.services.http.deciding import Kind
from modbot.services.http.metrics import Metrics

PATHS: Final = frozenset({"/interactions", "/webhooks/discord"})
BODY_LIMIT: Final = 1024 * 1024
_JSON: Final = b"application/json"
_PROBLEM: Final = b"application/problem+json"
_REFUSALS: Final = {
    400: "The request is signed, but it is nothing that modbot understands.",
    401: "The request is not signed by Discord.",
    405: "This address takes POST only.",
    413: f"The body is larger than {BODY_LIMIT} bytes.",
}
_log = structlog.get_logger(__name__)


class Refused(Exception):  # noqa: N818 - control flow inside this module, not an error of the tree
    """The request is not accepted."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Receiver:
    """An ASGI application for one address; `public_key` in hexadecimal."""

    def __init__(self, answerer: Answerer, metrics: Metrics, *, public_key: str) -> None:
        self._answerer = answerer
        self._metrics = metrics
        self._public_key = public_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        received = asyncio.get_running_loop().time()
        try:
            body = await self._verified(scope, receive)
            if body is None:
                return
            status, answer = await self._dispatch(body, received)
        except Refused as refused:
            self._metrics.rejected.labels(refused.status).inc()
            await _respond(send, refused.status, _problem(refused.status), _PROBLEM)
            return
        await _respond(send, status, answer, _JSON)

    async def _dispatch(self, body: bytes, received: float) -> tuple[int, bytes]:
        try:
            kind = deciding.decide_kind(body)
            if kind is Kind.EVENT:
                events.record(body, self._metrics)
        except InvalidInputError as error:
            _log.warning("request_not_understood", error=str(error))
            raise Refused(400) from None
        if kind is Kind.INTERACTION:
            return 200, await self._answerer.answer(body, received=received)
        return (200, deciding.PONG) if kind is Kind.PING else (204, b"")

    async def _verified(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body, or None when the caller hung up."""
        if scope["method"] != "POST":
            raise Refused(405)
        signature = timestamp = ""
        for name, value in scope["headers"]:
            if name == b"x-signature-ed25519":
                signature = value.decode("latin-1")
            elif name == b"x-signature-timestamp":
                timestamp = value.decode("latin-1")
            elif name == b"content-length" and value.isdigit() and int(value) > BODY_LIMIT:
                raise Refused(413)
        body = await _read(receive)
        if body is not None and not signatures.verify(self._public_key, signature, timestamp, body):
            raise Refused(401)
        return body


async def _read(receive: Receive) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > BODY_LIMIT:
            raise Refused(413)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunk if len(chunks) == 1 else b"".join(chunks)


async def _respond(send: Send, status: int, body: bytes, media_type: bytes) -> None:
    headers = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
    if status != 204:
        headers += [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]
    if status == 405:
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _problem(status: int) -> bytes:
    detail = _REFUSALS[status]
    code = {400: "invalid_input", 401: "unsigned", 405: "method_not_allowed", 413: "too_large"}[status]
    hint = "Only Discord calls this address; `docs/how-to` says how to enter it in the developer portal."
    return msgspec.json.encode(Problem(title=detail, status=status, detail=detail, code=code, hint=hint, retry=False))
