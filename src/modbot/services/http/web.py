"""Everything that a browser, a kubelet or Prometheus asks of an http pod; Discord's own way is `receiving`.

Every answer carries the security headers: no inline script, nothing from other hosts, no framing, no referrer.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from modbot.portal.assets import Assets
from modbot.portal.pages import Pages
from modbot.services.http.cluster_status import ClusterStatus
from modbot.services.http.metrics import Metrics
from modbot.services.http.receiving import PATHS

_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_NOT_KEPT: Final = "no-store"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """What the pages need."""

    status: ClusterStatus
    metrics: Metrics
    started: Callable[[], bool]
    ready: Callable[[], bool]
    assets: Assets
    pages: Pages


class Application:
    """The ASGI application of an http pod: interactions go past the framework, everything else through it."""

    def __init__(self, receiver: ASGIApp, pages: ASGIApp) -> None:
        self._receiver = receiver
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] in PATHS:
            await self._receiver(scope, receive, send)
        else:
            await self._pages(scope, receive, send)


class Portal:
    """The pages and probes; `application()` makes them an ASGI application."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def application(self) -> Starlette:
        """Build the application."""
        endpoints = {
            "/": self._landing,
            "/status": self._status,
            "/status.json": self._status,
            "/static/{name}": self._static,
            "/started": self._started,
            "/health": self._health,
            "/ready": self._ready,
            "/metrics": self._metrics,
        }
        routes = [Route(path, _measured(self._site, path, endpoint)) for path, endpoint in endpoints.items()]
        return Starlette(routes=routes, exception_handlers={HTTPException: self._not_routed})

    async def _landing(self, _request: Request) -> Response:
        return HTMLResponse(self._site.pages.landing())

    async def _status(self, request: Request) -> Response:
        model = await self._site.status.current()
        if request.url.path.endswith(".json") or _prefers_json(request.headers.get("accept", "")):
            return Response(msgspec.json.encode(model), media_type="application/json")
        return HTMLResponse(self._site.pages.status(model), headers={"vary": "accept"})

    async def _static(self, request: Request) -> Response:
        asset = self._site.assets.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(404)
        return Response(asset.body, media_type=asset.media_type, headers={"cache-control": _FOR_EVER})

    async def _started(self, _request: Request) -> Response:
        has_started = self._site.started()
        text = "started\n" if has_started else "no routing table was read yet\n"
        return Response(text, 200 if has_started else 503, media_type="text/plain")

    async def _health(self, _request: Request) -> Response:
        return Response("alive\n", media_type="text/plain")

    async def _ready(self, _request: Request) -> Response:
        is_ready = self._site.ready()
        text = "ready\n" if is_ready else "no routing table yet\n"
        return Response(text, 200 if is_ready else 503, media_type="text/plain")

    async def _metrics(self, _request: Request) -> Response:
        return Response(self._site.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _not_routed(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _problem_page(self._site, error.status_code)


def _problem_page(site: Site, code: int) -> Response:
    title, text = {
        404: ("There is no such page", "The address may be misspelled, or the page has moved."),
        405: ("This page cannot do that", "It can only be read."),
    }.get(code, ("Something went wrong on our side", "It is recorded. Please try again in a moment."))
    return _secured(HTMLResponse(site.pages.problem(title, text), code))


def _measured(
    site: Site, path: str, endpoint: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """Give an endpoint its security headers, its measurements and a page for what nobody foresaw."""

    async def measured(request: Request) -> Response:
        started = time.perf_counter()
        try:
            response = _secured(await endpoint(request))
        except HTTPException as error:
            response = _problem_page(site, error.status_code)
        except Exception as error:  # noqa: BLE001 - logged; the reader gets a page that says so
            _log.exception("page_failed", page=path, error=type(error).__name__)
            response = _problem_page(site, 500)
        site.metrics.pages.labels(path, response.status_code).inc()
        site.metrics.page_seconds.labels(path).observe(time.perf_counter() - started)
        return response

    return measured


def _secured(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("cache-control", _NOT_KEPT)
    return response


def _prefers_json(accept: str) -> bool:
    return "application/json" in accept and "text/html" not in accept
