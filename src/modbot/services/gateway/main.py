"""`modbot gateway`: starts a gateway pod, serves until it is asked to stop, and stops in order.

On SIGTERM or SIGINT the sessions close with 4000 (so that Discord keeps them), everything received is committed, the files are closed
and the config service is told that the shards wait for this pod.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from modbot.ops import serving, starting
from modbot.ops.settings import GatewaySettings
from modbot.services.gateway import archiving
from modbot.services.gateway import pod as pods
from modbot.services.gateway.api import Api

_log = structlog.get_logger()


async def run(settings: GatewaySettings) -> None:
    """Serve until SIGTERM, SIGINT or the end of this incarnation."""
    async with pods.opened(settings) as pod, _serving(pod):
        _log.info("gateway_started", pod=pod.pod_id, incarnation=pod.incarnation)
        working = asyncio.create_task(pod.run())
        with serving.stop_signal() as stop:
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        if pod.ended.done():
            await working
            raise pod.ended.result()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await pod.leave()
    _log.info("gateway_stopped")


@contextlib.asynccontextmanager
async def _serving(pod: pods.GatewayPod) -> AsyncIterator[None]:
    archiving.forget_unfinished(Path(pod.settings.data_dir))
    async with serving.http(Api(pod), pod.settings.host, pod.settings.port):
        yield


def main() -> int:
    """Read the environment, serve, and return the exit code."""
    return starting.service("gateway", GatewaySettings, run)
