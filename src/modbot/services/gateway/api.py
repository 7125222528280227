"""The internal API of a gateway pod, for the http pods and for people who watch.

`POST /shards/{shard_id}/interactions` is the hot way and goes straight through ASGI; the rest is Starlette. Every call but the probes
and the metrics carries the internal token. An epoch that is not this owner's gets 409, a shard that is not served here 421, with the
owner's address when it is known (I2, third door).
"""

from __future__ import annotations

import dataclasses
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modbot.cluster import protocol
from modbot.discord import interactions
from modbot.domain.errors import (
    InvalidInputError,
    ModbotError,
    NotOwnerError,
    StaleEpochError,
    UnauthorizedError,
    UnavailableError,
)
from modbot.domain.ids import ShardId
from modbot.ops import metrics, tracing
from modbot.ops.tracing import Fact
from modbot.services.gateway import archiving, handoff_api, transfer_source
from modbot.services.gateway.observing import Observer
from modbot.services.gateway.pod import GatewayPod
from modbot.services.gateway.serving import ServedShard

_log = structlog.get_logger()
_LARGEST_BODY = 1_000_000
_JSON = b"application/json"
_PROBLEM = b"application/problem+json"
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Api:
    """The ASGI application."""

    def __init__(self, pod: GatewayPod) -> None:
        self._pod = pod
        self._observer = Observer(pod)
        self._expected = f"Bearer {pod.settings.common.internal_token.reveal()}".encode()
        self._others = Starlette(
            routes=[
                Route("/started", self._started),
                Route("/health", self._health),
                Route("/ready", self._ready),
                Route("/metrics", self._metrics),
                Route("/shards", self._guarded(self._shards)),
                *handoff_api.routes(self._served_of, self._guarded),
                *archiving.routes(pod, self._served, self._guarded),
                *transfer_source.routes(pod.surroundings, self._served_of, self._guarded),
                Route("/failsafe", self._guarded(self._failsafe), methods=["POST"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        posted = scope["type"] == "http" and scope["method"] == "POST"
        parts: list[str] = scope["path"].split("/") if posted else []
        if len(parts) == 4 and parts[1] == "shards" and parts[3] == "interactions":
            await self._interaction(ShardId(parts[2]), scope, receive, send)
        else:
            await self._others(scope, receive, send)

    async def _interaction(self, shard_id: ShardId, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = dict(scope["headers"])
            self._authorize(headers.get(b"authorization", b""))
            served = self._served(shard_id, headers.get(b"x-modbot-epoch", b""))
            journaled = headers.get(b"x-modbot-journaled") == b"1"
            deferred = headers.get(b"x-modbot-deferred") == b"1"
            parent = headers.get(tracing.HEADER.encode(), b"").decode("latin-1")
            facts: tracing.Facts = {Fact.SHARD: tracing.shard_name(served.shard_id), Fact.POD: self._pod.pod_id}
            with tracing.below(parent), tracing.span("interaction applied", facts, server=True):
                body = await self._apply(served, await _read(receive), journaled=journaled, deferred=deferred)
                tracing.note(Fact.OUTCOME, "applied")
        except ModbotError as error:
            await _answer(send, error.status, _PROBLEM, _problem(error, owner=self._owner(shard_id, error)))
        except Exception:  # noqa: BLE001 - the http pod gets a clear 500 and Discord its deferral
            _log.error("interaction_failed", shard=shard_id, exc_info=True)
            await _answer(send, 500, _PROBLEM, _problem(ModbotError("This pod failed; its log says why.")))
        else:
            await _answer(send, 200, _JSON, body)

    async def _apply(self, served: ServedShard, body: bytes, *, journaled: bool, deferred: bool) -> bytes:
        interaction = interactions.decode(body)
        engine, inbox = served.engine, served.inbox
        if engine is None or inbox is None:
            raise UnavailableError(f"Shard {served.shard_id} is not open yet.")
        response = await engine.interact(interaction, deferred=deferred, durable=not journaled)
        if journaled:
            inbox.applied(interaction.id)
        elif not self._pod.lease.valid_for(0.0):
            # Somebody else may be the owner, and nobody but this file has it: an answer now could be a promise that is lost (I9).
            raise UnavailableError(f"This pod cannot be sure that shard {served.shard_id} is still its own.")
        return response

    def _authorize(self, given: bytes) -> None:
        if not hmac.compare_digest(given, self._expected):
            raise UnauthorizedError("The internal token is missing or wrong.")

    def _served(self, shard_id: ShardId, epoch: bytes) -> ServedShard:
        served = self._pod.shards.get(shard_id)
        if not epoch.isdigit():
            raise InvalidInputError("The header X-Modbot-Epoch is missing or not a number.")
        if served is None:
            raise NotOwnerError(f"Shard {shard_id} is not served here.")
        if served.epoch != int(epoch):
            raise StaleEpochError(f"Shard {shard_id} is served here under epoch {served.epoch}, not {int(epoch)}.")
        return served

    def _owner(self, shard_id: ShardId, error: ModbotError) -> dict[str, Any] | None:
        """Return who serves the shard as far as this pod knows, for callers that came to the wrong one."""
        if not isinstance(error, StaleEpochError | NotOwnerError):
            return None
        route = self._pod.routing.route(shard_id)
        if route is None or route.pod_id == self._pod.pod_id:
            return None
        return {"pod_id": route.pod_id, "epoch": route.epoch, "address": route.address}

    async def _started(self, _request: Request) -> Response:
        started = self._pod.started
        text = "started\n" if started else "not registered yet\n"
        return Response(text, 200 if started else 503, media_type="text/plain")

    async def _health(self, _request: Request) -> Response:
        return Response("alive\n", media_type="text/plain")

    async def _ready(self, _request: Request) -> Response:
        ready = self._pod.ready
        return Response(
            "ready\n" if ready else "no lease yet, or draining\n", 200 if ready else 503, media_type="text/plain"
        )

    async def _metrics(self, _request: Request) -> Response:
        self._observer.look()
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4")

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        """Ask for the internal token, and turn our errors into problems."""

        async def guarded(request: Request) -> Response:
            try:
                self._authorize(request.headers.get("authorization", "").encode())
                return await endpoint(request)
            except ModbotError as error:
                return Response(_problem(error), error.status, media_type=_PROBLEM.decode())

        return guarded

    def _served_of(self, request: Request) -> ServedShard:
        epoch = request.headers.get("x-modbot-epoch", "").encode()
        return self._served(ShardId(request.path_params["shard_id"]), epoch)

    async def _shards(self, _request: Request) -> Response:
        acting = self._pod.acting
        rows = [await _row(served) | {"acting": acting} for served in list(self._pod.shards.values())]
        return Response(msgspec.json.encode(rows), media_type="application/json")

    async def _failsafe(self, request: Request) -> Response:
        """Answer a peer that asks whether it may go on after its lease: at once, because the answer is about this very moment."""
        try:
            question = msgspec.json.decode(await request.body(), type=protocol.FailsafeRequest)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise InvalidInputError("The body is no question of a peer.") from None
        answer = self._pod.lease.failsafe.answer(question)
        return Response(msgspec.json.encode(answer), media_type="application/json")


async def _row(served: ServedShard) -> dict[str, Any]:
    engine = served.engine
    try:
        gaps = None if engine is None else [dataclasses.asdict(gap) for gap in await engine.list_gaps()]
    except Exception:  # noqa: BLE001 - the shard is being closed, or its file has a problem: the row says which
        _log.warning("gaps_not_read", shard=served.shard_id, exc_info=True)
        gaps = None
    return {
        "shard_id": served.shard_id,
        "label": metrics.shard_label(served.shard_id),
        "epoch": served.epoch,
        "open": engine is not None,
        "seq": engine.offset.seq if engine is not None and engine.offset is not None else None,
        "problem": served.problem,
        "gaps": gaps,
    }


def _problem(error: ModbotError, *, owner: dict[str, Any] | None = None) -> bytes:
    extra = {} if owner is None else {"owner": owner}
    return msgspec.json.encode(
        {
            **extra,
            "type": "about:blank",
            "title": error.code.replace("_", " "),
            "status": error.status,
            "detail": str(error),
            "code": error.code,
            "hint": error.hint,
            "retry": error.retry,
        }
    )


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _LARGEST_BODY:
            raise InvalidInputError("The interaction is larger than 1 MB.")
    return body


async def _answer(send: Send, status: int, kind: bytes, body: bytes) -> None:
    length = str(len(body)).encode()
    headers = [(b"content-type", kind), (b"content-length", length)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
