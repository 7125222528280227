"""`modbot gateway`: starts a gateway pod, serves until it is asked to stop, and stops in order.

On SIGTERM the pod hands its shards to its peers, one handoff after the other, while it goes on serving the rest. What is left at the
end of the limit, or all of them when there is no peer, it keeps: the sessions close with 4000 (so that Discord keeps them), everything
received is committed, the files are closed and the config service is told that the shards wait for this pod. SIGINT keeps all of them
at once; a second signal during the drain does the same.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

import structlog

from modbot.ops import serving, starting
from modbot.ops.settings import GatewaySettings
from modbot.services.gateway import pod as pods
from modbot.services.gateway.api import Api

_log = structlog.get_logger()


async def run(settings: GatewaySettings) -> None:
    """Serve until SIGTERM, SIGINT or the end of this incarnation."""
    async with pods.opened(settings) as pod, serving.http(Api(pod), settings.host, settings.port):
        _log.info("gateway_started", pod=pod.pod_id, incarnation=pod.incarnation)
        working = asyncio.create_task(pod.run())
        with serving.stop_signal() as stop:
            await _first(working, stop.wait())
            if stop.number is signal.SIGTERM:
                stop.clear()
                await _first(working, stop.wait(), pod.drain(settings.drain_limit))
        if pod.ended.done():
            await working
            raise pod.ended.result()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await pod.leave()
    _log.info("gateway_stopped")


async def _first(working: asyncio.Task[None], *others: Coroutine[Any, Any, object]) -> None:
    """Wait until the pod's work or one of the others ends; the others are cancelled then."""
    tasks = [asyncio.ensure_future(other) for other in others]
    try:
        done, _ = await asyncio.wait([working, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {working}:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def main() -> int:
    """Read the environment, serve, and return the exit code."""
    return starting.service("gateway", GatewaySettings, run)
