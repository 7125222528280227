"""Routes of the chat page: the static files at `/`, its JSON API under `/chat/api`.

Every call names the member who acts (`user`); the world checks what that member may do. Refusals are `{"error": sentence}` with 400.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from discordsim.chat import views
from discordsim.chat.stream import Streams
from discordsim.interactions import control
from discordsim.interactions.hub import Host
from discordsim.interactions.uploads import read_body
from discordsim.world import deleting, errors, members, posting, reacting, threads
from discordsim.world.model.messages import Draft
from discordsim.world.payloads import Json

STATIC = Path(__file__).parent / "static"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' http: https: data:; base-uri 'none'; form-action 'none'"
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(app: web.Application, simulator: Host) -> None:
    """Add the page and its API."""
    api, base = _Api(simulator), "/chat/api"
    message = base + r"/channels/{channel:\d+}/messages/{message:\d+}"
    app.router.add_get("/", _page)
    app.router.add_static("/chat/static", STATIC)
    for method, path, handler in (
        ("GET", base + "/guilds", api.guilds),
        ("GET", base + r"/guilds/{guild:\d+}", api.guild),
        ("GET", base + "/stream", api.stream),
        ("GET", base + r"/channels/{channel:\d+}/messages", api.messages),
        ("POST", base + r"/channels/{channel:\d+}/messages", api.post),
        ("GET", base + r"/channels/{channel:\d+}/commands", api.commands),
        ("PATCH", message, api.edit),
        ("DELETE", message, api.delete),
        ("POST", message + "/reactions", api.react),
        ("POST", message + "/thread", api.thread),
        ("POST", base + r"/guilds/{guild:\d+}/members/{member:\d+}/{act:kick|ban|timeout}", api.moderate),
        ("GET", base + r"/guilds/{guild:\d+}/members/{member:\d+}", api.profile),
        ("POST", base + "/interact", api.interact),
    ):
        app.router.add_route(method, path, _guarded(handler))

    async def close(_: web.Application) -> None:
        await api.streams.close()

    app.on_shutdown.append(close)


async def _page(_: web.Request) -> web.StreamResponse:
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return web.Response(text=page, content_type="text/html", headers=headers)


def _guarded(handler: Handler) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except errors.DiscordError as error:
            return web.json_response({"error": error.message, **error.payload()}, status=400)

    return answer


def _id(request: web.Request, key: str) -> int:
    return int(request.match_info[key])


def _user(source: Any) -> int:
    value = str(source.get("user", ""))
    if not value.isdecimal():
        raise errors.invalid("user", "BASE_TYPE_REQUIRED", "Say which member acts.")
    return int(value)


class _Api:
    def __init__(self, simulator: Host) -> None:
        self._world = simulator.world
        self._interactions = simulator.interactions
        self.streams = Streams(simulator.world)

    async def guilds(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(views.guilds(self._world))

    async def guild(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(views.guild(self._world, _id(request, "guild"), _user(request.query)))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        guild = request.query.get("guild", "")
        self._world.member(int(guild) if guild.isdecimal() else 0, _user(request.query))
        return await self.streams.serve(request, int(guild), _user(request.query))

    async def messages(self, request: web.Request) -> web.StreamResponse:
        before = request.query.get("before", "")
        number = int(before) if before.isdecimal() else None
        found = views.messages(self._world, _id(request, "channel"), _user(request.query), before=number)
        return web.json_response(found)

    async def post(self, request: web.Request) -> web.StreamResponse:
        channel, (body, uploads) = _id(request, "channel"), await read_body(request)
        draft = Draft(content=str(body.get("content") or ""))
        if body.get("reply_to"):
            draft.message_reference = {"message_id": str(body["reply_to"])}
        draft.attachments = self._interactions.files.keep(channel, uploads)
        message = posting.create(self._world, channel, _user(body), draft)
        return web.json_response(message.payload())

    async def commands(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(views.offers(self._world, _id(request, "channel"), _user(request.query)))

    async def edit(self, request: web.Request) -> web.StreamResponse:
        body, place = await control.read_object(request), (_id(request, "channel"), _id(request, "message"))
        changes = {"content": str(body.get("content") or "")}
        posting.edit(self._world, *place, changes, actor_id=_user(body))
        return web.json_response({})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Delete a message; an ephemeral one is only dismissed by its reader."""
        channel, message, user = _id(request, "channel"), _id(request, "message"), _user(request.query)
        own = self._world.message(channel, message).visible_to == user
        deleting.delete(self._world, channel, message, actor_id=None if own else user)
        return web.json_response({})

    async def react(self, request: web.Request) -> web.StreamResponse:
        """Add the member's reaction, or take it back when it is there."""
        body, (channel, number) = await control.read_object(request), (_id(request, "channel"), _id(request, "message"))
        user, emoji = _user(body), str(body.get("emoji") or "")
        reaction = self._world.message(channel, number).reactions.get(emoji)
        if reaction is not None and user in reaction.users:
            reacting.remove(self._world, channel, number, emoji, user, actor_id=user)
        else:
            reacting.add(self._world, channel, number, emoji, user)
        return web.json_response({})

    async def thread(self, request: web.Request) -> web.StreamResponse:
        body = await control.read_object(request)
        thread = threads.create_from_message(
            self._world,
            _id(request, "channel"),
            _id(request, "message"),
            str(body.get("name") or ""),
            owner_id=_user(body),
        )
        return web.json_response({"id": str(thread.id)})

    async def moderate(self, request: web.Request) -> web.StreamResponse:
        body: Json = await control.read_object(request)
        guild, target, actor = _id(request, "guild"), _id(request, "member"), _user(body)
        reason = str(body.get("reason") or "") or None
        act = request.match_info["act"]
        if act == "kick":
            members.kick(self._world, guild, target, actor_id=actor, reason=reason)
        elif act == "ban":
            members.ban(self._world, guild, target, actor_id=actor, reason=reason)
        else:
            until = self._world.now() + 3600.0
            members.time_out(self._world, guild, target, until, actor_id=actor, reason=reason)
        return web.json_response({})

    async def profile(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(views.profile(self._world, _id(request, "guild"), _id(request, "member")))

    async def interact(self, request: web.Request) -> web.StreamResponse:
        return await control.perform(self._interactions, await control.read_object(request))
