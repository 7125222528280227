"""What a source answers to the target of a handoff: `/shards/{shard_id}/handoff/{move_id}`, part of the internal API.

`POST` pins the file, `GET …/file` and `GET …/log` read it, `POST …/finish` stops the shard, `DELETE` gives up. Every answer with
bytes carries their digest.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modbot.domain.errors import InvalidInputError, UnavailableError
from modbot.domain.ids import MoveId
from modbot.services.gateway import handoff_target
from modbot.services.gateway.handoff_target import Lent, PartedMessage
from modbot.services.gateway.serving import ServedShard

_LARGEST_READ = 16 << 20
Served = Callable[[Request], ServedShard]
Guard = Callable[[Callable[[Request], Awaitable[Response]]], Callable[[Request], Awaitable[Response]]]


def routes(served_of: Served, guard: Guard) -> list[Route]:
    """Return the routes. `served_of` finds the shard of a request and checks its epoch, `guard` turns errors into problems."""

    async def lend(request: Request) -> Response:
        served = served_of(request)
        if served.engine is None:
            raise UnavailableError(f"Shard {served.shard_id} is not open.")
        size = await served.handoff.lend(_move_id(request), served.path)
        return Response(msgspec.json.encode(Lent(size)), media_type="application/json")

    async def file(request: Request) -> Response:
        offset, amount = _number(request, "offset"), _number(request, "bytes")
        return _bytes(await served_of(request).handoff.read(_move_id(request), offset, min(amount, _LARGEST_READ)))

    async def log(request: Request) -> Response:
        header = _header(request)
        size, amount = _number(request, "size"), min(_number(request, "bytes"), _LARGEST_READ)
        end, start, data = await served_of(request).handoff.read_log(_move_id(request), header, size, amount)
        return _bytes(handoff_target.frame_log(end.header, start, data))

    async def finish(request: Request) -> Response:
        served = served_of(request)
        parted = await served.handoff.finish(_move_id(request))
        told = PartedMessage(
            epoch=served.epoch,
            offset=parted.offset,
            replicated=parted.replicated,
            stopped_for=time.monotonic() - parted.stopped_at,
        )
        return Response(msgspec.json.encode(told), media_type="application/json")

    async def abandon(request: Request) -> Response:
        served_of(request).handoff.abandon(_move_id(request))
        return Response(status_code=204)

    path = "/shards/{shard_id}/handoff/{move_id}"
    return [
        Route(path, guard(lend), methods=["POST"]),
        Route(path, guard(abandon), methods=["DELETE"]),
        Route(path + "/file", guard(file), methods=["GET"]),
        Route(path + "/log", guard(log), methods=["GET"]),
        Route(path + "/finish", guard(finish), methods=["POST"]),
    ]


def _bytes(data: bytes) -> Response:
    headers = {"x-modbot-digest": handoff_target.digest_of(data)}
    return Response(data, media_type="application/octet-stream", headers=headers)


def _move_id(request: Request) -> MoveId:
    text = request.path_params["move_id"]
    if not text.isdigit():
        raise InvalidInputError("The handoff's number is not a number.")
    return MoveId(int(text))


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not text.isdigit():
        raise InvalidInputError(f"{name} is missing or not a number.")
    return int(text)


def _header(request: Request) -> bytes:
    try:
        return bytes.fromhex(request.query_params.get("header", ""))
    except ValueError:
        raise InvalidInputError("header is not hexadecimal.") from None
