"""Live updates for open pages: the world's events as server-sent events, each page hearing only what its member may see.

A page that reads too slowly is told to reload instead of getting a stream with holes.
"""

import asyncio
import json

from aiohttp import web

from discordsim.world import access
from discordsim.world.events import Dispatch
from discordsim.world.payloads import Json
from discordsim.world.world import World

MAX_WAITING = 500
BEAT_SECONDS = 15.0


class Listener:
    """One open page of one member in one guild."""

    def __init__(self, world: World, guild_id: int, user_id: int) -> None:
        self._world, self._guild_id, self._user_id = world, guild_id, user_id
        self.queue: asyncio.Queue[tuple[str, Json]] = asyncio.Queue(MAX_WAITING)
        self.lost = False

    def hear(self, event: Dispatch) -> None:
        """Take an event of the world when the member may know of it."""
        if event.guild_id != self._guild_id or event.user_id not in {None, self._user_id}:
            return
        if event.channel_id is not None and not access.can_see(self._world, self._user_id, event.channel_id):
            return
        if event.permission is not None and not self._may(event.permission):
            return
        if self.queue.full():
            self.lost = True
        else:
            self.queue.put_nowait((event.name, dict(event.data)))

    def _may(self, needed: int) -> bool:
        bits = access.guild_permissions_of(self._world, self._user_id, self._world.guild(self._guild_id))
        return bits & needed == needed

    async def next(self) -> bytes:
        """Return the next piece of the stream; a comment keeps it alive when nothing happens."""
        if self.lost:
            self.lost = False
            return _piece("RELOAD", {})
        try:
            async with asyncio.timeout(BEAT_SECONDS):
                name, data = await self.queue.get()
        except TimeoutError:
            return b": alive\n\n"
        return _piece(name, data)


def _piece(name: str, data: Json) -> bytes:
    return f"data: {json.dumps({'name': name, 'data': data})}\n\n".encode()


class Streams:
    """All open streams; `close` ends them, so that a server can stop."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, request: web.Request, guild_id: int, user_id: int) -> web.StreamResponse:
        """Stream until the page leaves or the server stops."""
        listener = Listener(self._world, guild_id, user_id)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        task = asyncio.create_task(self._pump(response, listener))
        self._tasks.add(task)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            self._tasks.discard(task)
        return response

    async def _pump(self, response: web.StreamResponse, listener: Listener) -> None:
        stop = self._world.subscribe(listener.hear)
        try:
            await response.write(_piece("HELLO", {}))
            while True:
                await response.write(await listener.next())
        except ConnectionError:
            return
        finally:
            stop()

    async def close(self) -> None:
        """End all streams."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
