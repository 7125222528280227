"""`modbot config`: starts the config service, serves until it is asked to stop, and stops in order.

On SIGTERM or SIGINT the watch streams end first (members go to another replica), then open calls get a few seconds to finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import structlog
import uvicorn

from modbot.domain.errors import ModbotError, SettingsError
from modbot.ops import logs
from modbot.ops import settings as settings_module
from modbot.ops.settings import ConfigSettings
from modbot.services.config import api
from modbot.services.config.service import Service, running

_FAREWELL = 5
_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: this module, or the program around it, decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(settings: ConfigSettings) -> AsyncIterator[tuple[str, Service]]:
    """Serve while the block runs; yields the base URL (useful with port 0) and the service."""
    listener = _listen(settings)
    async with running(settings) as service:
        config = uvicorn.Config(
            api.application(service),
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_FAREWELL,
            timeout_keep_alive=75,
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        host, port = listener.getsockname()[:2]
        try:
            yield f"http://{host}:{port}", service
        finally:
            service.board.close()
            server.should_exit = True
            await task


async def run(settings: ConfigSettings, *, started: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM, SIGINT or cancellation; `started` is told the base URL."""
    stop = asyncio.Event()
    async with serving(settings) as (url, _service):
        _log.info("config_started", url=url, shard_count=settings.shard_count)
        if started is not None:
            started(url)
        with _stopping(stop):
            await stop.wait()
    _log.info("config_stopped")


def main() -> int:
    """Read the environment, serve, and return the exit code."""
    try:
        settings = settings_module.load(ConfigSettings, os.environ)
        common = settings.common
        secrets = [common.internal_token, settings.database_url]
        logs.configure(log_format=common.log_format, level=common.log_level, service="config", secrets=secrets)
        asyncio.run(run(settings))
    except ModbotError as error:
        sys.stderr.write(f"{error}\n{error.hint}\n")
        return 2 if isinstance(error, SettingsError) else 1
    return 0


def _listen(settings: ConfigSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.create_server((settings.host, settings.port), family=family, backlog=512)
    # asyncio sets this only on sockets it made itself; without it an answer waits 40 ms for the peer's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    return listener


@contextlib.contextmanager
def _stopping(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT)
    for number in caught:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
