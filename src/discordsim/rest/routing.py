"""From a table of routes to aiohttp: each handler gets an opened `Call` and returns what to answer.

A handler returns JSON (200), a `Reply` with another status, or None (204). It runs without interruption; the few that must wait for
others return an awaitable.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from discordsim.rest import calls
from discordsim.rest.calls import Call
from discordsim.rest.state import Rest
from discordsim.world.payloads import Json

PREFIXES = ("/api/v10", "/api/v9", "/api")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with a status other than 200 or 204."""

    body: Any
    status: int = 201


Answer = Json | list[Any] | Reply | None
Handler = Callable[[Call], Answer | Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint; `path` is Discord's template without the API prefix."""

    method: str
    path: str
    handler: Handler


def register(app: web.Application, rest: Rest, routes: Iterable[Route]) -> None:
    """Add the routes under each API prefix."""
    for route in routes:
        handler = _answering(rest, route.handler)
        for prefix in PREFIXES:
            app.router.add_route(route.method, prefix + route.path, handler)


def _answering(rest: Rest, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        call = await calls.open_call(rest, request)
        found = handler(call)
        return respond(await found if inspect.isawaitable(found) else found)

    return answer


def respond(answer: Answer) -> web.Response:
    """Return the HTTP answer for what a handler returned."""
    if answer is None:
        return web.Response(status=204)
    if isinstance(answer, Reply):
        return web.json_response(answer.body, status=answer.status)
    return web.json_response(answer)
