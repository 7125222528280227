"""Reading what callers of the control API send, strictly, and answering JSON.

Refuses unknown fields: a misspelt fault must not look like a fault that did nothing.
"""

from typing import Any, TypeVar

import msgspec
from aiohttp import web

from discordsim.world.errors import DiscordError

Body = TypeVar("Body", bound=msgspec.Struct)


def answer(data: Any, *, status: int = 200) -> web.Response:
    """Return a JSON response."""
    return web.Response(body=msgspec.json.encode(data), status=status, content_type="application/json")


def refused(message: str) -> web.Response:
    """Return 400 in the shape of Discord's errors."""
    return answer({"code": 50035, "message": "Invalid Form Body", "errors": {"_errors": [message]}}, status=400)


async def read(request: web.Request, kind: type[Body]) -> Body:
    """Return the body as `kind`; ids may be strings or numbers. Raises msgspec.ValidationError."""
    raw = await request.read()
    return msgspec.convert(msgspec.json.decode(raw or b"{}"), kind, strict=False)


@web.middleware
async def errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """Turn bad bodies and refusals of the world into JSON answers, below /control only."""
    try:
        response: web.StreamResponse = await handler(request)
    except msgspec.DecodeError as error:
        if not request.path.startswith("/control"):
            raise
        return refused(str(error))
    except DiscordError as error:
        if not request.path.startswith("/control"):
            raise
        return answer(error.payload(), status=error.status)
    return response
