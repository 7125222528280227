"""Export and import of a guild over the internal API: `GET` and `POST /guilds/{guild_id}/archive`.

Archives pass through temporary files in `archives/` on the pod's volume, never through memory. What a process that died left there is
removed when the next one starts; the volume's lock says that nobody else works in it. An archive is taken only for the shard that the
guild belongs to, under the epoch that the caller names (I2).
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from modbot.domain.errors import InvalidInputError, UnavailableError
from modbot.domain.ids import GuildId, ShardId
from modbot.services.gateway.serving import ServedShard
from modbot.shard import archives, exporting
from modbot.shard.archive import Purpose
from modbot.shard.engine import Engine

if TYPE_CHECKING:
    from modbot.services.gateway.pod import GatewayPod

MEDIA_TYPE = "application/vnd.modbot.guild-archive"
_CHUNK = 256 * 1024
Endpoint = Callable[[Request], Awaitable[Response]]
Guard = Callable[[Endpoint], Endpoint]
Find = Callable[[ShardId, bytes], ServedShard]


class Archiving:
    """The two routes. `find` returns the served shard under the epoch that a caller names, or raises."""

    def __init__(self, pod: GatewayPod, find: Find) -> None:
        self._pod = pod
        self._find = find

    async def export(self, request: Request) -> Response:
        """Cut an archive and stream it."""
        guild_id = GuildId(request.path_params["guild_id"])
        purpose = _purpose(request)
        engine = self._engine(guild_id, request)
        path = self._temporary()
        try:
            await archives.export_guild(engine, guild_id, path, purpose=purpose)
            file = path.open("rb")
        finally:
            path.unlink(missing_ok=True)  # what is open stays readable, and cannot be left behind
        headers = {"content-length": str(os.fstat(file.fileno()).st_size)}
        return StreamingResponse(chunks(file), media_type=MEDIA_TYPE, headers=headers)

    async def import_(self, request: Request) -> Response:
        """Take an archive in; answers what was done."""
        guild_id = GuildId(request.path_params["guild_id"])
        replace = _flag(request, "replace")
        self._engine(guild_id, request)
        async with self._received(request) as path:
            engine = self._engine(guild_id, request)  # the shard may have gone while the archive came
            done = await archives.import_guild(engine, guild_id, path, replace=replace)
        return Response(msgspec.json.encode(done), media_type="application/json")

    def _engine(self, guild_id: GuildId, request: Request) -> Engine:
        shard_id = self._pod.routing.shard_of(guild_id)
        if shard_id is None:
            raise UnavailableError("This pod does not know the shards yet.")
        engine = self._find(shard_id, request.headers.get("x-modbot-epoch", "").encode()).engine
        if engine is None:
            raise UnavailableError(f"Shard {shard_id} is not open yet.")
        return engine

    def _temporary(self) -> Path:
        folder = exporting.folder_of(Path(self._pod.settings.data_dir))
        return folder / f"{uuid.uuid4()}.sqlite3"

    @asynccontextmanager
    async def _received(self, request: Request) -> AsyncIterator[Path]:
        path = self._temporary()
        try:
            with path.open("wb") as file:
                async for chunk in request.stream():
                    await asyncio.to_thread(file.write, chunk)
            yield path
        finally:
            path.unlink(missing_ok=True)
            path.with_name(path.name + "-journal").unlink(missing_ok=True)


def routes(pod: GatewayPod, find: Find, guarded: Guard) -> list[Route]:
    """Return the routes; `guarded` asks for the internal token and turns errors into problems."""
    archiving = Archiving(pod, find)
    path = "/guilds/{guild_id:int}/archive"
    return [
        Route(path, guarded(archiving.export), methods=["GET"]),
        Route(path, guarded(archiving.import_), methods=["POST"]),
    ]


async def chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    """Yield a file and close it."""
    with file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk


def _purpose(request: Request) -> Purpose:
    text = request.query_params.get("purpose", Purpose.PEOPLE)
    if text not in set(Purpose):
        raise InvalidInputError(f"purpose must be one of {', '.join(Purpose)}.")
    return Purpose(text)


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false")
    if text not in {"true", "false"}:
        raise InvalidInputError(f"{name} must be true or false.")
    return text == "true"
