"""The routes applications use: the callback of an interaction and its follow-up messages. They are exempt from the global limit.

Refuses everything but the token in the path as a credential.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from discordsim.interactions import control
from discordsim.interactions.hub import Host, Interactions
from discordsim.interactions.records import Record, Source
from discordsim.interactions.replies import ReplyType
from discordsim.interactions.uploads import content_type, read_body
from discordsim.world import errors
from discordsim.world.model.messages import Message, MessageFlag
from discordsim.world.payloads import Json

PREFIXES = ("/api/v10", "/api/v9", "/api")
_WITH_MESSAGE = frozenset({ReplyType.MESSAGE, ReplyType.DEFERRED_MESSAGE, ReplyType.UPDATE_MESSAGE})
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(app: web.Application, simulator: Host) -> None:
    """Add the callback and follow-up routes under every API prefix, and the inspection routes."""
    routes = _Routes(simulator.interactions)
    for prefix in PREFIXES:
        hook = prefix + r"/webhooks/{application:\d+}/{token:[\w-]{60,}}"
        app.router.add_post(prefix + r"/interactions/{id:\d+}/{token}/callback", guarded(routes.callback))
        app.router.add_post(hook, guarded(routes.follow_up))
        app.router.add_get(hook + "/messages/{which}", guarded(routes.get))
        app.router.add_patch(hook + "/messages/{which}", guarded(routes.edit))
        app.router.add_delete(hook + "/messages/{which}", guarded(routes.delete))
    app.router.add_get(r"/attachments/{channel:\d+}/{id:\d+}/{name}", serve_file(simulator.interactions))
    control.add_routes(app, simulator)

    async def close(_: web.Application) -> None:
        await simulator.interactions.close()

    app.on_cleanup.append(close)


def guarded(handler: Handler) -> Handler:
    """Answer Discord's refusals as Discord does."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except errors.DiscordError as error:
            return web.json_response(error.payload(), status=error.status)

    return answer


class _Routes:
    def __init__(self, interactions: Interactions) -> None:
        self._hub = interactions

    async def callback(self, request: web.Request) -> web.StreamResponse:
        record = self._hub.by_callback(int(request.match_info["id"]), request.match_info["token"])
        body, uploads = await read_body(request)
        self._hub.answer(record, body, Source.CALLBACK, uploads)
        if request.query.get("with_response", "").lower() not in {"true", "1"}:
            return web.Response(status=204)
        return web.json_response(_callback_payload(record))

    def _record(self, request: web.Request) -> Record:
        return self._hub.by_webhook(int(request.match_info["application"]), request.match_info["token"])

    async def follow_up(self, request: web.Request) -> web.StreamResponse:
        record = self._record(request)
        body, uploads = await read_body(request)
        return _drawn(self._hub.follow_up(record, body, uploads))

    async def get(self, request: web.Request) -> web.StreamResponse:
        return _drawn(self._hub.find(self._record(request), request.match_info["which"]))

    async def edit(self, request: web.Request) -> web.StreamResponse:
        record = self._record(request)
        body, uploads = await read_body(request)
        return _drawn(self._hub.edit(record, request.match_info["which"], body, uploads))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        self._hub.delete(self._record(request), request.match_info["which"])
        return web.Response(status=204)


def _drawn(message: Message) -> web.Response:
    return web.json_response(message.payload())


def _callback_payload(record: Record) -> Json:
    """Draw the answer to `with_response`: what an answer did not make (modals and choices make no message) is left out, never null."""
    data: Json = {"interaction": {"id": str(record.id), "type": int(record.type), "channel_id": str(record.channel_id)}}
    if record.guild_id is not None:
        data["interaction"]["guild_id"] = str(record.guild_id)
    message = record.original
    if message is None:
        return data
    data["interaction"] |= {
        "response_message_id": str(message.id),
        "response_message_loading": bool(message.flags & MessageFlag.LOADING),
        "response_message_ephemeral": bool(message.flags & MessageFlag.EPHEMERAL),
    }
    if record.first_type in _WITH_MESSAGE:
        data["resource"] = {"type": record.first_type, "message": message.payload()}
    return data


def serve_file(interactions: Interactions) -> Handler:
    """Return a handler that serves uploaded files as downloads, never as pages."""

    async def serve(request: web.Request) -> web.StreamResponse:
        key = int(request.match_info["channel"]), int(request.match_info["id"])
        name, content = interactions.files.files.get(key, ("", b""))
        if not name:
            raise web.HTTPNotFound
        kind = content_type(name)
        safe = kind.startswith(("image/", "video/", "audio/")) and kind != "image/svg+xml"
        headers = {"Content-Type": kind if safe else "application/octet-stream", "X-Content-Type-Options": "nosniff"}
        if not safe:
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return web.Response(body=content, headers=headers)

    return serve
