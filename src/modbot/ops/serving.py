"""Serving an ASGI application inside a larger program: one socket, uvicorn without its own signal handlers, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn

_FAREWELL = 5
_IDLE = 75


class _Server(uvicorn.Server):
    """The program around it decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def http(app: Any, host: str, port: int, *, reuse_port: bool = False) -> AsyncIterator[str]:
    """Serve `app` while the block runs; yields the base URL, which is useful with port 0."""
    listener = listen(host, port, reuse_port=reuse_port)
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_FAREWELL,
        timeout_keep_alive=_IDLE,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    bound_host, bound_port = listener.getsockname()[:2]
    try:
        yield f"http://{bound_host}:{bound_port}"
    finally:
        server.should_exit = True
        await task


class Stop(asyncio.Event):
    """Set by SIGTERM and SIGINT; `number` is the first of them."""

    number: signal.Signals | None = None

    def because(self, number: signal.Signals) -> None:
        """Set it."""
        self.number = self.number or number
        self.set()


@contextlib.contextmanager
def stop_signal() -> Iterator[Stop]:
    """Give an event that SIGTERM and SIGINT set."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT)
    for number in caught:
        loop.add_signal_handler(number, stop.because, number)
    try:
        yield stop
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


def listen(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """Open a listening socket; without TCP_NODELAY an answer would wait 40 ms for the peer's acknowledgement."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=512, reuse_port=reuse_port)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    return listener
