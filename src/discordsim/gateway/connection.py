"""One websocket seen from the sending side: an ordered queue, a writer, and the ways in which it can break.

Everything a client gets passes the queue, so acknowledgements wait behind events as they do at Discord. A reader that is too slow is
cut off with 4000 when more than `max_pending_bytes` wait; the session's replay buffer is not touched by that.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from aiohttp import WSMsgType, web

from discordsim.gateway.codes import CloseCode
from discordsim.gateway.compression import Encoder
from discordsim.gateway.counting import Counters

SILENT_CLOSE = 0


class Connection:
    """The sending side. `on_close` is called once with the close code when the server ends the connection (0 for an abort)."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        *,
        encode: Encoder,
        counters: Counters,
        max_pending_bytes: int,
        on_close: Callable[["Connection", int], None],
    ) -> None:
        self.encode = encode
        self.delay = 0.0
        self.refill: Callable[[], bool] = lambda: False
        self.frozen = False
        self.closing = False
        self.aborted = False
        self._ws, self._transport, self._counters = ws, transport, counters
        self._max_pending_bytes, self._on_close = max_pending_bytes, on_close
        self._queue: deque[bytes | int] = deque()
        self.pending_bytes = 0
        self._wake = asyncio.Event()
        self._thawed = asyncio.Event()
        self._thawed.set()

    def push(self, payload: bytes) -> None:
        """Queue a payload; a closing connection ignores it."""
        if self.closing:
            return
        self.pending_bytes += len(payload)
        if self.pending_bytes > self._max_pending_bytes:
            self._finish(CloseCode.UNKNOWN_ERROR)
            self.abort()
            return
        self._queue.append(payload)
        self._wake.set()

    def close(self, code: int) -> None:
        """Close with a code after what is queued; a closing connection ignores it."""
        if not self.closing:
            self._queue.append(code)
            self._finish(code)
            self._wake.set()

    def abort(self) -> None:
        """Cut the TCP connection at once."""
        if not self.closing:
            self._finish(SILENT_CLOSE)
        self.aborted = True
        self._transport.abort()

    def freeze(self) -> None:
        """Stop reading and writing but keep the socket open."""
        if not self._transport.is_closing():
            self.frozen = True
            self._thawed.clear()
            self._transport.pause_reading()

    def thaw(self) -> None:
        """Go on after `freeze`."""
        if self.frozen:
            self.frozen = False
            self._thawed.set()
            self._transport.resume_reading()

    def _finish(self, code: int) -> None:
        self.closing = True
        self._on_close(self, code)

    async def write(self) -> None:
        """Send until closed; returns after the close handshake or when the client is gone."""
        try:
            while await self._send_next():
                pass
        except ConnectionError:
            self._transport.abort()

    async def _send_next(self) -> bool:
        await self._thawed.wait()
        if not self._queue:
            await self._wait_for_more()
            return True
        item = self._queue.popleft()
        if isinstance(item, int):
            await self._ws.close(code=item)
            return False
        if self.delay:
            await asyncio.sleep(self.delay)
            await self._thawed.wait()
        self.pending_bytes -= len(item)
        message, opcode = self.encode(item)
        await self._ws.send_frame(message, opcode)
        self._counters.frames += 1
        return True

    async def _wait_for_more(self) -> None:
        if not self.closing and self.refill():
            await asyncio.sleep(0)
            return
        if not self._queue:
            self._wake.clear()
            await self._wake.wait()


TEXT = frozenset({WSMsgType.TEXT, WSMsgType.BINARY})
