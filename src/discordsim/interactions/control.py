"""Routes under `/control` for scripts and oracles: act as a user, read the record of all interactions, test endpoints.

Refuses nothing to anybody: the simulator listens on the loopback interface.
"""

import asyncio
import json
from typing import Any

from aiohttp import web

from discordsim.interactions import scripts
from discordsim.interactions.hub import Host, Interactions
from discordsim.interactions.records import Record
from discordsim.interactions.resolving import MisuseError
from discordsim.world import errors
from discordsim.world.model.users import Application
from discordsim.world.payloads import Json

WAIT_SECONDS = 30.0


def add_routes(app: web.Application, simulator: Host) -> None:
    """Add `/control/interact`, `/control/interactions` and the tests of endpoints."""
    control = _Control(simulator.interactions)
    app.router.add_post("/control/interact", control.interact)
    app.router.add_get("/control/interactions", control.list)
    app.router.add_get(r"/control/interactions/{id:\d+}", control.get)
    app.router.add_post("/control/interactions/endpoint", control.set_endpoint)
    app.router.add_post("/control/interactions/recheck", control.recheck)
    app.router.add_post("/control/webhook-events", control.webhook_event)


async def perform(interactions: Interactions, script: Json) -> web.Response:
    """Play a script and answer with the record, the visible result, the modal and the choices; 400 says what is wrong with the script."""
    try:
        record = scripts.begin(interactions, script)
    except MisuseError as misuse:
        return web.json_response({"error": str(misuse)}, status=400)
    except errors.DiscordError as error:
        return web.json_response({"error": str(error), **error.payload()}, status=400)
    wait = script.get("wait")
    if wait != "none":
        await record.answered.wait()
    if wait == "completed":
        await _finish(record, float(script.get("seconds") or WAIT_SECONDS))
    return web.json_response(result(record))


async def _finish(record: Record, seconds: float) -> None:
    """Wait for completion; a record that is not completed by then simply says so."""
    done, pending = await asyncio.wait([asyncio.ensure_future(record.finished.wait())], timeout=seconds)
    for task in pending:
        task.cancel()
    await asyncio.gather(*done, *pending, return_exceptions=True)


def result(record: Record) -> Json:
    """Return the record with what the user sees now."""
    channel_messages = [record.original, *record.followups.values()]
    return {
        "record": record.payload_for_control(),
        "message": record.original.payload(record.user_id) if record.original else None,
        "followups": [one.payload(record.user_id) for one in channel_messages[1:] if one is not None],
        "modal": record.modal,
        "choices": record.choices,
    }


async def read_object(request: web.Request) -> Json:
    """Return the JSON object of a request; 400 otherwise."""
    try:
        body: Any = await request.json()
    except json.JSONDecodeError as error:
        raise web.HTTPBadRequest(
            text='{"error": "a JSON object is needed"}', content_type="application/json"
        ) from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text='{"error": "a JSON object is needed"}', content_type="application/json")
    return body


class _Control:
    def __init__(self, interactions: Interactions) -> None:
        self._hub = interactions

    async def interact(self, request: web.Request) -> web.Response:
        return await perform(self._hub, await read_object(request))

    async def list(self, request: web.Request) -> web.Response:
        after = int(request.query.get("after", "0"))
        found = [one.payload_for_control() for one in self._hub.records.values() if one.id > after]
        return web.json_response({"interactions": found, "summary": _summary(list(self._hub.records.values()))})

    async def get(self, request: web.Request) -> web.Response:
        record = self._hub.records.get(int(request.match_info["id"]))
        if record is None:
            raise web.HTTPNotFound
        return web.json_response(result(record) | {"payload": {**record.payload, "token": None}})

    def _application(self, body: Json) -> Application:
        wanted = body.get("application")
        found = [one for one in self._hub.world.applications.values() if wanted is None or str(one.id) == str(wanted)]
        if not found:
            raise web.HTTPNotFound
        return found[0]

    async def set_endpoint(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        try:
            await self._hub.set_endpoint(self._application(body), body.get("url"))
        except errors.DiscordError as error:
            return web.json_response(error.payload(), status=error.status)
        return web.json_response({"ok": True})

    async def recheck(self, request: web.Request) -> web.Response:
        problem = await self._hub.recheck(self._application(await read_object(request)))
        return web.json_response({"ok": problem is None, "problem": problem})

    async def webhook_event(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        application, events = self._application(body), self._hub.webhook_events
        if "url" in body:
            problem = await events.check(application, str(body["url"]))
            application.webhook_events_url = application.webhook_events_url if problem else str(body["url"])
            return web.json_response({"ok": problem is None, "problem": problem})
        user_id = scripts.number(body, "user")
        if body.get("type") == "APPLICATION_DEAUTHORIZED":
            return web.json_response((await events.deauthorized(application, user_id)).payload())
        guild_id = scripts.number(body, "guild") if body.get("guild") else None
        return web.json_response((await events.authorized(application, user_id, guild_id)).payload())


def _summary(records: list[Record]) -> Json:
    answered = [one for one in records if one.acknowledged]
    times = sorted(one.first_response_ms or 0.0 for one in answered)
    return {
        "total": len(records),
        "answered": len(answered),
        "pending": sum(not one.acknowledged and one.problem is None for one in records),
        "failed": sum(one.problem is not None for one in records),
        "answered_twice": sum(one.answers > 1 for one in records),
        "unfinished": sum(one.acknowledged and one.completed is None for one in records),
        "first_response_ms_p50": times[len(times) // 2] if times else None,
        "first_response_ms_max": times[-1] if times else None,
    }
