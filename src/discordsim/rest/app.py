"""Puts the REST API into an application: pipeline, resources, control."""

from aiohttp import web

from discordsim.rest import control, pipeline, routing
from discordsim.rest.resources import (
    applications,
    audit_logs,
    automod,
    bans,
    channels,
    commands,
    guilds,
    members,
    messages,
    reactions,
    roles,
    threads,
    users,
)
from discordsim.rest.state import REST, Host, Rest

RESOURCES = (
    applications,
    audit_logs,
    automod,
    bans,
    channels,
    commands,
    guilds,
    members,
    messages,
    reactions,
    roles,
    threads,
    users,
)


def add_routes(app: web.Application, simulator: Host) -> None:
    """Add the REST API and its control endpoints; call it before the application starts.

    The pipeline (limits, faults, log) then also leads the `/api` routes that other packages add. Uploaded files are served by `interactions`.
    """
    rest = app[REST] = Rest(simulator)
    app.middlewares.insert(0, pipeline.middleware(rest))
    for resource in RESOURCES:
        routing.register(app, rest, resource.ROUTES)
    control.add_routes(app)
    app.router.add_route("*", "/api/{unknown:.*}", _unknown)


async def _unknown(_: web.Request) -> web.StreamResponse:
    return web.json_response({"message": "404: Not Found", "code": 0}, status=404)
