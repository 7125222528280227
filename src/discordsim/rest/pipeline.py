"""The way of every API request: ban, faults, limits, handler, log. It also serves routes of other packages under `/api`.

Errors of the world become Discord's JSON here. A client that must not learn the outcome gets its connection reset after the
handler ran; the log still says what would have been answered.
"""

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

from discordsim.rest import calls, limits
from discordsim.rest.faults import Fault, FaultKind
from discordsim.rest.limits import Scope, Verdict
from discordsim.rest.log import LoggedRequest, Outcome
from discordsim.rest.state import Rest
from discordsim.world import errors

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]
UNKNOWN = "unknown"
_PREFIX = re.compile(r"^/api(/v\d+)?(?=/)")
_MAJOR = ("channel_id", "guild_id", "webhook_id", "token", "webhook_token")
_BOUND_BY_TOKEN = re.compile(r"^/(interactions|webhooks)/\{\w+\}/\{\w+\}")
_INVALID = frozenset({401, 403, 429})
_VIA = "1.1 google"  # clients take a 429 without it for a ban by the proxy
_JSON = "application/json"


@dataclass(slots=True)
class _Passage:
    """What is known about one request on its way."""

    request: web.Request
    route: str
    path: str
    client: str
    application_id: str | None
    scope: Scope | None = None
    outcome: Outcome = Outcome.ANSWERED


def middleware(rest: Rest) -> Middleware:
    """Return the middleware that leads all `/api` requests through the pipeline."""

    @web.middleware
    async def lead(request: web.Request, handler: Next) -> web.StreamResponse:
        if not _PREFIX.match(request.path):
            return await handler(request)
        passage = _begin(rest, request)
        response = await _pass(rest, passage, handler)
        response.headers.setdefault("Via", _VIA)
        if response.content_type == _JSON:
            response.headers["Content-Type"] = _JSON  # without a charset: client libraries compare the whole header
        _log(rest, passage, response.status)
        if passage.outcome is not Outcome.ANSWERED:
            cut(request)
        return response

    return lead


def _begin(rest: Rest, request: web.Request) -> _Passage:
    resource = request.match_info.route.resource
    canonical = resource.canonical if resource is not None else UNKNOWN
    route, path = _PREFIX.sub("", canonical), _PREFIX.sub("", request.path)
    application = calls.application_of(rest, request)
    authorization = request.headers.get("Authorization")
    client = str(application.id) if application else authorization or f"ip {request.remote}"
    return _Passage(request, route, path, client, str(application.id) if application else None)


async def _pass(rest: Rest, passage: _Passage, handler: Next) -> web.StreamResponse:
    request, address = passage.request, passage.request.remote or ""
    if rest.limiter.is_banned(address):
        return web.Response(status=403, text="<html><title>Access denied | discord.com</title></html>")
    struck = rest.faults.draw(request.method, passage.route, passage.path)
    response = await _fail(passage, struck)
    if response is None:
        response = await _limited(rest, passage, handler)
    if any(one.kind is FaultKind.DROP_RESPONSE for one in struck):
        passage.outcome = Outcome.DROPPED
    if response.status in _INVALID and passage.scope is not Scope.SHARED:
        rest.limiter.count_invalid(address)
    return response


async def _fail(passage: _Passage, struck: list[Fault]) -> web.StreamResponse | None:
    """Play the faults that come before the handler; the answer of the first that answers."""
    for fault in struck:
        if fault.kind is FaultKind.SLOW:
            await asyncio.sleep(fault.seconds)
        elif fault.kind is FaultKind.RESET:
            passage.outcome = Outcome.RESET
            return web.Response(status=499)
        elif fault.kind is FaultKind.SERVER_ERROR:
            return web.Response(status=fault.status, text="upstream connect error or disconnect/reset before headers")
        elif fault.kind is FaultKind.RATE_LIMIT:
            passage.scope = fault.scope
            return _too_many(Verdict(reset_after=fault.seconds, refused=fault.scope))
    return None


async def _limited(rest: Rest, passage: _Passage, handler: Next) -> web.StreamResponse:
    request = passage.request
    globally = not _BOUND_BY_TOKEN.match(passage.route)
    verdict = rest.limiter.take(
        passage.client, request.method, passage.route, _major(passage), counts_globally=globally
    )
    if verdict.refused is not None:
        passage.scope = verdict.refused
        return _too_many(verdict)
    response = await _answer(request, handler)
    response.headers.update(verdict.headers())
    if response.status == 429 and "X-RateLimit-Scope" not in response.headers:
        passage.scope = Scope.USER
        response.headers["X-RateLimit-Scope"] = Scope.USER.value
    return response


def _major(passage: _Passage) -> str:
    """Return the top-level resource by which a bucket is split."""
    values = passage.request.match_info
    names = list(values) if _BOUND_BY_TOKEN.match(passage.route) else [one for one in _MAJOR if one in values]
    return "/".join(values[one] for one in names[:2])


async def _answer(request: web.Request, handler: Next) -> web.StreamResponse:
    try:
        return await handler(request)
    except errors.DiscordError as error:
        body = error.payload()
        response = web.json_response(body, status=error.status)
        if "retry_after" in body:
            response.headers.update(limits.refusal_headers(Scope.USER, body["retry_after"]))
        return response


def _too_many(verdict: Verdict) -> web.Response:
    body: dict[str, Any] = {
        "message": "You are being rate limited.",
        "retry_after": round(verdict.reset_after, 3),
        "global": verdict.refused is Scope.GLOBAL,
    }
    return web.json_response(body, status=429, headers=verdict.headers())


def _log(rest: Rest, passage: _Passage, status: int) -> None:
    body = passage.request.get(calls.BODY)
    nonce = body.get("nonce") if isinstance(body, dict) else None
    rest.log.add(
        LoggedRequest(
            time=rest.world.now(),
            method=passage.request.method,
            route=passage.route,
            path=passage.path,
            status=status,
            application_id=passage.application_id,
            nonce=nonce if isinstance(nonce, str | int) else None,
            outcome=passage.outcome,
            scope=passage.scope.value if passage.scope else None,
            user_agent=passage.request.headers.get("User-Agent"),
        )
    )


def cut(request: web.Request) -> None:
    """Reset the client's connection at once, without a byte of an answer."""
    transport = request.transport
    if transport is None:
        return
    found = transport.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
