"""`modbot config`: starts the config service, serves until it is asked to stop, and stops in order.

On SIGTERM or SIGINT the watch streams end first (members go to another replica), then open calls get a few seconds to finish.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import structlog

from modbot.ops import serving as asgi
from modbot.ops import starting
from modbot.ops.settings import ConfigSettings
from modbot.services.config import api
from modbot.services.config.service import Service, running

_log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def serving(settings: ConfigSettings) -> AsyncIterator[tuple[str, Service]]:
    """Serve while the block runs; yields the base URL (useful with port 0) and the service."""
    async with (
        running(settings) as service,
        asgi.http(api.application(service), settings.host, settings.port) as url,
    ):
        try:
            yield url, service
        finally:
            service.board.close()


async def run(settings: ConfigSettings, *, started: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM, SIGINT or cancellation; `started` is told the base URL."""
    async with serving(settings) as (url, _service):
        _log.info("config_started", url=url, shard_count=settings.shard_count)
        if started is not None:
            started(url)
        with asgi.stop_signal() as stop:
            await stop.wait()
    _log.info("config_stopped")


def main() -> int:
    """Read the environment, serve, and return the exit code."""
    return starting.service("config", ConfigSettings, run)
