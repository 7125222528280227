"""Routes of OAuth2 and of Bearer access to one's own account.

Bearer requests to `/users/@me…` are answered by a middleware, before the routes of bots see them; everything else passes untouched.
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from discordsim.oauth2 import pages
from discordsim.oauth2.grants import GrantError, Grants, Tokens
from discordsim.world import errors, permissions
from discordsim.world.model.users import Application, User
from discordsim.world.payloads import Json, iso
from discordsim.world.world import World

GRANTS: web.AppKey[Grants] = web.AppKey("grants", Grants)
_ME = re.compile(r"/api(?:/v\d+)?/users/@me(?P<rest>|/guilds|/guilds/(?P<guild>\d+)/member)")
_WITHOUT_USER = ("bot", "applications.commands")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Host(Protocol):
    """The part of the simulator that OAuth2 needs."""

    world: World


def add_routes(app: web.Application, simulator: Host) -> None:
    """Add the consent page, the token routes and the Bearer middleware."""
    app[GRANTS] = Grants(simulator.world)
    app.router.add_get("/oauth2/authorize", show)
    app.router.add_post("/oauth2/authorize", decide)
    for prefix in ("/api/v10", "/api/v9", "/api"):
        app.router.add_get(prefix + "/oauth2/authorize", show)
        app.router.add_post(prefix + "/oauth2/token", token)
        app.router.add_post(prefix + "/oauth2/token/revoke", revoke)
        app.router.add_get(prefix + "/oauth2/@me", me)
    app.middlewares.append(bearer_middleware)


def bearer_tokens(request: web.Request) -> Tokens | None:
    """Return what a Bearer header stands for; None without a valid one."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return request.app[GRANTS].find(value) if scheme.lower() == "bearer" else None


def bearer_user(request: web.Request) -> User | None:
    """Return the user of a valid Bearer token."""
    found = bearer_tokens(request)
    return None if found is None else request.app[GRANTS].world.user(found.user_id)


@web.middleware
async def bearer_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a Bearer's reads of its own account; pass on everything else."""
    matched = _ME.fullmatch(request.path)
    if matched is None or not request.headers.get("Authorization", "").lower().startswith("bearer "):
        return await handler(request)
    if request.method != "GET":
        return web.json_response({"message": "405: Method Not Allowed", "code": 0}, status=405)
    tokens = bearer_tokens(request)
    try:
        return web.json_response(_own(request.app[GRANTS].world, tokens, matched["rest"], matched["guild"]))
    except errors.DiscordError as error:
        return web.json_response(error.payload(), status=error.status)


def _own(world: World, tokens: Tokens | None, rest: str, guild: str | None) -> Json | list[Json]:
    if tokens is None:
        raise errors.DiscordError(401, 0, "401: Unauthorized")
    needed = "guilds.members.read" if guild else "guilds" if rest else "identify"
    if needed not in tokens.scopes:
        raise errors.DiscordError(403, 50025, "Invalid OAuth2 access token provided")
    user = world.user(tokens.user_id)
    if guild is not None:
        return world.member(int(guild), user.id).payload()
    if rest:
        return [_guild(world, one.id, user.id) for one in world.guilds_of(user.id)]
    email = {"email": f"{user.username}@example.invalid", "verified": True} if "email" in tokens.scopes else {}
    return user.payload() | {"mfa_enabled": False, "locale": "en-US", "premium_type": 0} | email


def _guild(world: World, guild_id: int, user_id: int) -> Json:
    guild = world.guild(guild_id)
    return {
        "id": str(guild.id),
        "name": guild.name,
        "icon": None,
        "banner": None,
        "owner": guild.owner_id == user_id,
        "permissions": str(int(permissions.in_guild(guild, guild.members[user_id]))),
        "features": list(guild.features),
    }


async def show(request: web.Request) -> web.StreamResponse:
    """Show the consent page, or say in plain text what is wrong with the address."""
    world, query = request.app[GRANTS].world, request.query
    application, scopes = _asked(world, query)
    people = [one for one in world.users.values() if not one.bot and world.guilds_of(one.id)][:500]
    page = pages.consent(application, people, scopes, query)
    return web.Response(text=page, content_type="text/html", headers={"Cache-Control": "no-store"})


def _asked(world: World, query: Mapping[str, str]) -> tuple[Application, tuple[str, ...]]:
    client = query.get("client_id", "")
    application = world.applications.get(int(client)) if client.isdecimal() else None
    if application is None:
        raise web.HTTPBadRequest(text="unknown client_id")
    scopes = tuple(query.get("scope", "").split())
    if not scopes:
        raise web.HTTPBadRequest(text="scope is required")
    if query.get("code_challenge") and query.get("code_challenge_method") != "S256":
        raise web.HTTPBadRequest(text="code_challenge_method must be S256")
    only_install = set(scopes) <= set(_WITHOUT_USER)
    redirect = query.get("redirect_uri", "")
    if not only_install and (query.get("response_type") != "code" or redirect not in application.redirect_uris):
        raise web.HTTPBadRequest(text="response_type must be code and redirect_uri must be registered")
    if redirect and redirect not in application.redirect_uris:
        raise web.HTTPBadRequest(text="redirect_uri is not registered")
    return application, scopes


async def decide(request: web.Request) -> web.StreamResponse:
    """Take the decision and send the browser back with a code or with `access_denied`."""
    form = {key: str(value) for key, value in (await request.post()).items()}
    grants = request.app[GRANTS]
    application, scopes = _asked(grants.world, form)
    if not form.get("redirect_uri"):
        return web.Response(text="Done. You can close this page.")
    answer = {"error": "access_denied"}
    if form.get("decision") == "approve":
        user_id = int(form["user"]) if form.get("user", "").isdecimal() else 0
        if user_id not in grants.world.users:
            raise web.HTTPBadRequest(text="unknown user")
        challenge = form.get("code_challenge") or None
        answer = {"code": grants.authorize(application.id, user_id, scopes, form["redirect_uri"], challenge)}
    if "state" in form:
        answer["state"] = form["state"]
    joiner = "&" if urlsplit(form["redirect_uri"]).query else "?"
    raise web.HTTPFound(form["redirect_uri"] + joiner + urlencode(answer))


async def token(request: web.Request) -> web.StreamResponse:
    """Exchange a code or a refresh token. Client authentication by Basic header or in the body."""
    form = {key: str(value) for key, value in (await request.post()).items()}
    grants = request.app[GRANTS]
    application = _client(request, grants.world, form)
    if application is None:
        return web.json_response({"error": "invalid_client"}, status=401)
    try:
        made = _granted(grants, application, form)
    except GrantError as error:
        return web.json_response({"error": str(error)}, status=400)
    body = {"token_type": "Bearer", "access_token": made.access, "expires_in": int(made.expires - grants.world.now())}
    body |= {"refresh_token": made.refresh, "scope": " ".join(made.scopes)}
    return web.json_response(body, headers={"Cache-Control": "no-store"})


def _granted(grants: Grants, application: Application, form: Mapping[str, str]) -> Tokens:
    if form.get("grant_type") == "authorization_code":
        code, redirect = form.get("code", ""), form.get("redirect_uri", "")
        return grants.exchange(application, code, redirect, form.get("code_verifier"))
    if form.get("grant_type") == "refresh_token":
        return grants.renew(application, form.get("refresh_token", ""))
    raise GrantError("unsupported_grant_type")


def _client(request: web.Request, world: World, form: Mapping[str, str]) -> Application | None:
    client, secret = form.get("client_id", ""), form.get("client_secret", "")
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
    found = world.applications.get(int(client)) if client.isdecimal() else None
    return found if found is not None and found.client_secret == secret else None


async def revoke(request: web.Request) -> web.StreamResponse:
    """End an access or refresh token."""
    form = {key: str(value) for key, value in (await request.post()).items()}
    application = _client(request, request.app[GRANTS].world, form)
    if application is None:
        return web.json_response({"error": "invalid_client"}, status=401)
    request.app[GRANTS].revoke(application, form.get("token", ""))
    return web.json_response({})


async def me(request: web.Request) -> web.StreamResponse:
    """Say what the presented access token stands for."""
    tokens = bearer_tokens(request)
    if tokens is None:
        return web.json_response({"message": "401: Unauthorized", "code": 0}, status=401)
    world = request.app[GRANTS].world
    application = world.applications[tokens.application_id]
    body: Json = {
        "application": {"id": str(application.id), "name": application.name, "description": application.description},
        "scopes": list(tokens.scopes),
        "expires": iso(tokens.expires),
    }
    if "identify" in tokens.scopes:
        body["user"] = world.user(tokens.user_id).payload()
    return web.json_response(body)
