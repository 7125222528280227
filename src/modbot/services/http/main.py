"""`modbot http`: starts an http pod, serves until it is asked to stop, and stops in order.

On SIGTERM or SIGINT no new connection is taken, open requests get their answer, and the deferrals that the inbox does not know of yet
are sent before the process ends (I7). It starts without the config service too: then it is not ready, defers what it is given, and
becomes ready with the first routing table.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

import aiohttp
import structlog

from modbot.cluster.anonymity_keys import AnonymityKeys
from modbot.cluster.client import ConfigClient
from modbot.cluster.routing import RoutingTable
from modbot.domain.errors import SettingsError
from modbot.features import all_features
from modbot.ops import serving, starting
from modbot.ops.settings import HttpSettings
from modbot.portal.assets import Assets
from modbot.portal.pages import Pages
from modbot.services.http import web
from modbot.services.http.answering import Answerer
from modbot.services.http.cluster_status import ClusterStatus
from modbot.services.http.forwarding import Forwarder
from modbot.services.http.journal import Journal
from modbot.services.http.metrics import Metrics
from modbot.services.http.receiving import Receiver
from modbot.shard.registry import Registry

_FAREWELL: Final = 15.0
_KEEP_ALIVE: Final = 60.0
_KEY_DIGITS: Final = 64
_log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def application(settings: HttpSettings, registry: Registry) -> AsyncIterator[web.Application]:
    """Build the ASGI application with everything that works behind it; the end waits for deferrals under way."""
    _check_public_key(settings.public_key)
    now = asyncio.get_running_loop().time
    token = settings.common.internal_token
    metrics = Metrics()
    async with _session() as session:
        client = ConfigClient(settings.config_url, token, session)
        routing = RoutingTable(client)
        keys = AnonymityKeys(client, on_local=metrics.local_keys.inc, now=now, today=lambda: datetime.now(UTC))
        forwarder = Forwarder(routing, token, session, metrics)
        journal = Journal(client, routing.shard_of, metrics, deliver=forwarder.deliver, now=now)
        answerer = Answerer(
            registry,
            forwarder,
            journal,
            metrics,
            anonymity_key=keys.current,
            deadline=settings.interaction_deadline,
        )
        assets = Assets()
        site = web.Site(
            status=ClusterStatus(client, now=now),
            metrics=metrics,
            started=routing.is_filled,
            ready=lambda: routing.shard_count > 0,
            assets=assets,
            pages=Pages(assets),
        )
        receiver = Receiver(answerer, metrics, public_key=settings.public_key)
        async with _background(routing, keys), journal.running(farewell=_FAREWELL):
            yield web.Application(receiver, web.Portal(site).application())


@contextlib.asynccontextmanager
async def serving_at(settings: HttpSettings, registry: Registry | None = None) -> AsyncIterator[str]:
    """Serve while the block runs; yields the base URL, which is useful with port 0."""
    found = registry or Registry(all_features())
    async with (
        application(settings, found) as app,
        serving.http(app, settings.host, settings.port, reuse_port=settings.reuse_port) as url,
    ):
        yield url


async def run(settings: HttpSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    async with serving_at(settings) as url:
        _log.info("http_started", url=url)
        with serving.stop_signal() as stop:
            await stop.wait()
    _log.info("http_stopped")


def main() -> int:
    """Read the environment, serve, and return the exit code."""
    return starting.service("http", HttpSettings, run)


def _session() -> aiohttp.ClientSession:
    """Open the session for owners and the config service: as many connections as calls, kept for a minute, no cookies."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE, ttl_dns_cache=10),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=2.0),
        auto_decompress=False,
        skip_auto_headers=("user-agent", "accept", "accept-encoding"),
    )


@contextlib.asynccontextmanager
async def _background(routing: RoutingTable, keys: AnonymityKeys) -> AsyncIterator[None]:
    """Run what never ends; a defect in it ends the process, which is started again, rather than leaving a pod that knows nothing new."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(routing.run()), group.create_task(keys.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _check_public_key(public_key: str) -> None:
    try:
        raw = bytes.fromhex(public_key)
    except ValueError:
        raw = b""
    if len(raw) * 2 != _KEY_DIGITS:
        raise SettingsError("DISCORD_PUBLIC_KEY is not valid: expected 64 hexadecimal digits.")
