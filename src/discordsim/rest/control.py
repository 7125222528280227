"""`/control/rest/…`: faults, limits, the request log. For tests and for people at a desk; no authentication.

Endpoints: GET, POST, DELETE `/control/rest/faults`, DELETE `/control/rest/faults/{id}`, GET, DELETE `/control/rest/log`,
POST `/control/rest/forgive` (empties all rate limit counters), GET and PATCH `/control/rest/switches`.
"""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from discordsim.rest import forms
from discordsim.rest.faults import Fault, FaultKind
from discordsim.rest.limits import Scope
from discordsim.rest.state import REST
from discordsim.world import errors

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FaultForm(msgspec.Struct, forbid_unknown_fields=True):
    """A fault as the control API takes it; see `faults.Fault`."""

    kind: FaultKind
    method: str | None = None
    route: str = ""
    count: Annotated[int, Meta(ge=1)] | None = None
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    status: Annotated[int, Meta(ge=500, le=599)] = 503
    seconds: Annotated[float, Meta(ge=0)] = 1.0
    scope: Scope = Scope.GLOBAL


async def _body(request: web.Request) -> Any:
    try:
        return json.loads(await request.content.read())
    except ValueError:
        raise errors.invalid("_", "JSON", "The body is not JSON.") from None


async def _list_faults(request: web.Request) -> web.StreamResponse:
    return web.json_response([one.payload() for one in request.app[REST].faults.listed()])


async def _add_fault(request: web.Request) -> web.StreamResponse:
    wanted = msgspec.structs.asdict(forms.parse(await _body(request), FaultForm))
    try:
        fault = Fault(**wanted)
    except re.error as error:
        raise errors.invalid("route", "REGEX", str(error)) from None
    return web.json_response(request.app[REST].faults.add(fault).payload(), status=201)


async def _clear_faults(request: web.Request) -> web.StreamResponse:
    request.app[REST].faults.clear()
    return web.Response(status=204)


async def _remove_fault(request: web.Request) -> web.StreamResponse:
    found = request.match_info["id"]
    if not found.isdecimal() or not request.app[REST].faults.remove(int(found)):
        return web.json_response({"message": "no such fault (it may have struck often enough)"}, status=404)
    return web.Response(status=204)


async def _show_log(request: web.Request) -> web.StreamResponse:
    limit = request.query.get("limit", "100")
    if not limit.isdecimal():
        raise errors.invalid("limit", "NUMBER_TYPE_COERCE", f'Value "{limit}" is not int.')
    return web.json_response(request.app[REST].log.payload(int(limit)))


async def _clear_log(request: web.Request) -> web.StreamResponse:
    request.app[REST].log.clear()
    return web.Response(status=204)


async def _forgive(request: web.Request) -> web.StreamResponse:
    request.app[REST].limiter.forgive()
    return web.Response(status=204)


async def _show_switches(request: web.Request) -> web.StreamResponse:
    return web.json_response(msgspec.to_builtins(request.app[REST].switches))


async def _set_switches(request: web.Request) -> web.StreamResponse:
    switches, body = request.app[REST].switches, await _body(request)
    if not isinstance(body, dict):
        raise errors.invalid("_", "DICT_TYPE_CONVERT", "Only dictionaries may be used here.")
    checked = forms.parse(msgspec.to_builtins(switches) | body, type(switches))
    for name in switches.__struct_fields__:
        setattr(switches, name, getattr(checked, name))
    return web.json_response(msgspec.to_builtins(switches))


def _explained(handler: Handle) -> Handle:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except errors.DiscordError as error:
            return web.json_response(error.payload(), status=error.status)

    return answer


def add_routes(app: web.Application) -> None:
    """Add the control endpoints of the REST API."""
    table: list[tuple[str, str, Handle]] = [
        ("GET", "faults", _list_faults),
        ("POST", "faults", _add_fault),
        ("DELETE", "faults", _clear_faults),
        ("DELETE", "faults/{id}", _remove_fault),
        ("GET", "log", _show_log),
        ("DELETE", "log", _clear_log),
        ("POST", "forgive", _forgive),
        ("GET", "switches", _show_switches),
        ("PATCH", "switches", _set_switches),
    ]
    for method, path, handler in table:
        app.router.add_route(method, f"/control/rest/{path}", _explained(handler))
