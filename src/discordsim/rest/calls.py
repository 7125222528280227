"""One authenticated request, opened: who asks, about what, with which body, files and audit reason.

The body is read whole before a handler runs, so handlers are synchronous and no other request comes between.
"""

import json
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import msgspec
from aiohttp import web

from discordsim.interactions.uploads import Upload
from discordsim.rest import forms
from discordsim.rest.state import Rest
from discordsim.world import errors
from discordsim.world.model.users import Application
from discordsim.world.world import World

MAX_REASON = 512
MAX_BODY = 25 * 1024 * 1024
BODY: web.RequestKey[Any] = web.RequestKey("body", Any)
_FILE_FIELD = re.compile(r"^files\[(\d+)\]$")
_YES = frozenset({"true", "1"})
F = TypeVar("F", bound=msgspec.Struct)


@dataclass(slots=True)
class Call:
    """A request of a bot. `body` is the JSON (of `payload_json` in a multipart body) or None."""

    rest: Rest
    request: web.Request
    application: Application
    body: Any = None
    uploads: list[Upload] = field(default_factory=list)

    @property
    def world(self) -> World:
        """Return the world."""
        return self.rest.world

    @property
    def actor_id(self) -> int:
        """Return the id of the bot that asks."""
        return self.application.bot.id

    @property
    def reason(self) -> str | None:
        """Return the decoded audit log reason; 50035 when it is too long."""
        raw = self.request.headers.get("X-Audit-Log-Reason")
        reason = urllib.parse.unquote(raw) if raw else None
        if reason is not None and len(reason) > MAX_REASON:
            raise errors.too_long("reason", MAX_REASON)
        return reason

    def form(self, kind: type[F]) -> F:
        """Return the body as a form or raise 50035."""
        return forms.parse(self.body, kind)

    def id(self, name: str) -> int:
        """Return an id of the path or raise 50035."""
        return snowflake(self.request.match_info[name], name)

    def query_id(self, name: str) -> int | None:
        """Return an id of the query, None when it is not there, or raise 50035."""
        text = self.request.query.get(name)
        return None if text is None else snowflake(text, name)

    def query_number(self, name: str, default: int, *, low: int, high: int) -> int:
        """Return a number of the query within bounds or raise 50035."""
        text = self.request.query.get(name)
        if text is None:
            return default
        if not re.fullmatch(r"-?\d{1,18}", text):
            raise errors.invalid(name, "NUMBER_TYPE_COERCE", f'Value "{text}" is not int.')
        if not low <= int(text) <= high:
            raise errors.invalid(name, "NUMBER_TYPE_MAX", f"int value should be between {low} and {high}.")
        return int(text)

    def query_flag(self, name: str) -> bool:
        """Return a boolean of the query; False when it is not there."""
        return self.request.query.get(name, "").lower() in _YES


def snowflake(text: str, name: str) -> int:
    """Return the id in a text or raise 50035 about `name`."""
    if not text.isascii() or not text.isdecimal() or len(text) > 20:
        raise errors.invalid(name, "NUMBER_TYPE_COERCE", f'Value "{text}" is not snowflake.')
    return int(text)


def application_of(rest: Rest, request: web.Request) -> Application | None:
    """Return the application whose bot token the request carries."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return rest.world.applications_by_token.get(token.strip()) if kind == "Bot" else None


async def open_call(rest: Rest, request: web.Request) -> Call:
    """Return the opened request of a bot. Errors: 401 without a valid bot token, 50035, 50109 for broken JSON."""
    application = application_of(rest, request)
    if application is None:
        raise errors.DiscordError(401, 0, "401: Unauthorized")
    rest.files.base_url = rest.files.base_url or str(request.url.origin())
    call = Call(rest, request, application)
    if request.can_read_body:
        call.body, call.uploads = await read_body(request)
    request[BODY] = call.body
    return call


async def read_body(request: web.Request) -> tuple[Any, list[Upload]]:
    """Return the JSON and the files of a JSON or multipart body. Errors: 40005 (413), 50109."""
    if (request.content_length or 0) > MAX_BODY:
        raise errors.DiscordError(413, 40005, "Request entity too large")
    if request.content_type.startswith("multipart/"):
        return await _read_multipart(request)
    raw = await request.content.read()
    return (_decode(raw) if raw.strip() else None), []


async def _read_multipart(request: web.Request) -> tuple[Any, list[Upload]]:
    body: Any = None
    uploads: list[Upload] = []
    async for part in await request.multipart():
        if not isinstance(part, aiohttp.BodyPartReader):
            raise errors.invalid("_", "BASE_TYPE_BAD_TYPE", "Nested multipart bodies are not allowed.")
        content = bytes(await part.read(decode=True))
        match = _FILE_FIELD.match(part.name or "")
        if part.name == "payload_json":
            body = _decode(content)
        elif part.filename is not None:
            uploads.append(Upload(match[1] if match else str(len(uploads)), part.filename, content))
    return body, uploads


def _decode(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        text = "The request body contains invalid JSON."
        raise errors.DiscordError(400, 50109, text) from None
