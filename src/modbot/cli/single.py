"""`modbot single`: the small deployment, and the way back from the load-balanced one: everything in one pod.

It runs what the load-balanced system runs, `modbot http`, `modbot config` and `modbot gateway`, as child processes with the settings of the
environment, and has no logic of theirs. What lies between them is on the loopback interface. It brings along what nobody else provides: a
PostgreSQL in the volume without `DATABASE_URL`, and a Litestream sidecar where a replica store is named but no sidecar.

A child that ends is started again; when one does not stay up, the pod ends with exit code 1, for whoever watches pods to see. On SIGTERM
the http service ends first. The gateway keeps its shards (there is nobody to hand them to), Litestream brings the last commits to the
store, and PostgreSQL ends last. All of that takes less than `LONGEST_STOP` seconds.

Before the gateway starts, a database that does not know what the replica store knows takes it over (`adopting.py`), as soon as nobody else
serves from that store.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import structlog

from modbot.cli import adopting, sidecars
from modbot.cli.processes import Child, python
from modbot.cluster.client import ConfigClient
from modbot.domain.errors import ModbotError, SettingsError
from modbot.ops import litestream, replicas, serving, starting
from modbot.ops import settings as known
from modbot.ops.litestream import Sidecar
from modbot.ops.replicas import ReplicaStore, ReplicationError, StoreError
from modbot.ops.settings import ConfigSettings, EntrySettings, GatewaySettings, HttpSettings, SingleSettings

EMBEDDED = "postgresql://embedded"
"""Stands for the PostgreSQL in the volume until it has an address."""
LONGEST_STOP = 55.0
_STOPS: tuple[tuple[str, signal.Signals, float], ...] = (
    ("http", signal.SIGTERM, 12.0),
    ("gateway", signal.SIGINT, 20.0),
    ("litestream", signal.SIGTERM, 10.0),
    ("config", signal.SIGTERM, 5.0),
    ("postgres", signal.SIGINT, 8.0),
)
"""In which order the children end, how they are asked, and the seconds that each has."""
MODULES = {"config": "modbot.services.config", "http": "modbot.services.http", "gateway": "modbot.services.gateway"}
"""What the services are started as."""
_MOST_DEATHS = 5
_SHORT_LIFE = 10.0
_ASK_EVERY = 0.1
_CONFIG_PORT, _GATEWAY_PORT = "3001", "3002"
_log = structlog.get_logger(__name__)


class NotStayingUpError(ModbotError):
    """One of the processes of this pod ends again and again, so the pod ends."""

    code = "not_staying_up"
    hint = "Its last words say why; the log of the pod has more."


def main() -> int:
    """Read the environment, run everything, and return the exit code."""
    environ = environment(os.environ)

    async def run(settings: SingleSettings) -> None:
        with serving.stop_signal() as stop:
            await Pod(settings, environ).run(stop)

    # uvloop cannot start a process as another user, which root needs for PostgreSQL; here no time is spent.
    return starting.service("single", SingleSettings, run, environ=environ, loop=asyncio.new_event_loop)


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of all children together: what is given, and what follows from their being in one pod."""
    config_port = given.get("MODBOT_CONFIG_PORT", _CONFIG_PORT)
    gateway_port = given.get("MODBOT_GATEWAY_PORT", _GATEWAY_PORT)
    usual = {"POD_NAME": "single-0", "DATABASE_URL": EMBEDDED}
    ours = {
        "MODBOT_CONFIG_HOST": "127.0.0.1",
        "MODBOT_CONFIG_PORT": config_port,
        "MODBOT_CONFIG_URL": f"http://127.0.0.1:{config_port}",
        "MODBOT_GATEWAY_HOST": "127.0.0.1",
        "MODBOT_GATEWAY_PORT": gateway_port,
        "MODBOT_ADVERTISED_URL": f"http://127.0.0.1:{gateway_port}",
    }
    return {**usual, **given, **ours}


class Pod:
    """The processes of the pod."""

    def __init__(self, settings: SingleSettings, environ: Mapping[str, str]) -> None:
        """`environ` as `environment` makes it; `SettingsError` when the replica store is half named."""
        self.children: dict[str, Child] = {}
        self._settings = settings
        self._environ = environ
        self._data_dir = Path(settings.gateway.data_dir)
        self._store = replicas.configured(settings.gateway.replicas)

    async def run(self, stop: asyncio.Event) -> None:
        """Start everything and keep it running until `stop`; raises what ends the pod."""
        working = asyncio.create_task(self._work())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)
            await self._stop()

    async def _work(self) -> None:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        await self._check_store()
        database_url = await self._start_postgres()
        await self._start("config", ConfigSettings, {"DATABASE_URL": database_url})
        await self._start("http", HttpSettings)
        async with aiohttp.ClientSession() as session:
            await self._until(lambda: self._answers(session, f"{self._settings.http.config_url}/ready"))
            if self._store is not None:
                client = ConfigClient(self._settings.http.config_url, self._settings.common.internal_token, session)
                await self._alive(self._prepare_store(self._store, client))
        await self._start("gateway", GatewaySettings)
        _log.info("single_started", children=sorted(self.children))
        await self._alive(asyncio.Event().wait())

    async def _check_store(self) -> None:
        """Refuse a shard count that is not the store's. A store that does not answer now is asked again when the database is there."""
        if self._store is not None:
            with contextlib.suppress(StoreError):
                await adopting.check_count(self._store, self._settings.config.shard_count)

    async def _prepare_store(self, store: ReplicaStore, client: ConfigClient) -> None:
        await adopting.adopt_when_quiet(client, store, self._settings.gateway.replicas.program)
        if not self._settings.gateway.replicas.socket and not await _served(self._data_dir / "litestream.sock"):
            await self._start_litestream(store)

    async def _start_postgres(self) -> str:
        given = self._settings.config.database_url.reveal()
        if given != EMBEDDED:
            return given
        try:
            from modbot.cli import embedded  # noqa: PLC0415 - only the extra `single` has it
        except ImportError:
            raise SettingsError(
                "DATABASE_URL is not set, and this installation has no PostgreSQL of its own."
            ) from None
        server = await asyncio.to_thread(embedded.prepare, self._data_dir / "postgres")
        await self._run("postgres", server.arguments, self._inherited(frozenset()), user=server.user)
        return server.address

    async def _start_litestream(self, store: ReplicaStore) -> None:
        program = self._settings.gateway.replicas.program
        socket = self._data_dir / "litestream.sock"
        socket.unlink(missing_ok=True)  # left by one that was killed
        command = sidecars.command(program, self._data_dir / "litestream.yml", socket)
        await self._run("litestream", command, litestream.child_environment(os.environ, store.keys.environment()))

    async def _start(self, name: str, group: type[msgspec.Struct], changes: Mapping[str, str] | None = None) -> None:
        """Start a service with what it reads of the environment, and no secret that it does not read."""
        environ = {**self._inherited(known.names(group)), **(changes or {})}
        await self._run(name, python(MODULES[name]), environ)

    async def _run(
        self, name: str, arguments: tuple[str, ...], environ: Mapping[str, str], *, user: str | None = None
    ) -> None:
        self.children[name] = Child(
            name,
            arguments,
            environ,
            log=None,
            tell=_tell,
            user=user,
            short_life=_SHORT_LIFE,
            most_deaths=_MOST_DEATHS,
        )
        await self.children[name].start()

    def _inherited(self, wanted: frozenset[str]) -> dict[str, str]:
        others = known.names(SingleSettings) | known.names(EntrySettings)
        return {name: value for name, value in self._environ.items() if name in wanted or name not in others}

    async def _answers(self, session: aiohttp.ClientSession, url: str) -> bool:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as answer:
                return answer.status == 200
        return False

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async def asking() -> None:
            while True:
                if await condition():
                    return
                await asyncio.sleep(_ASK_EVERY)

        await self._alive(asking())

    async def _alive(self, work: Awaitable[object]) -> None:
        """Wait for something while all children stay up; `NotStayingUpError` names the first that does not."""
        waits = [asyncio.ensure_future(child.given_up.wait()) for child in self.children.values()]
        working = asyncio.ensure_future(work)
        running: list[asyncio.Future[Any]] = [working, *waits]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for child in self.children.values():
                if child.given_up.is_set():
                    raise NotStayingUpError(f"{child.name} does not stay up. Its last words:\n{child.last_words()}")
            await working
        finally:
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _stop(self) -> None:
        for name, asking, grace in _STOPS:
            child = self.children.pop(name, None)
            if child is not None:
                await child.stop(asking=asking, grace=grace)
        _log.info("single_stopped")


async def _served(socket: Path) -> bool:
    """Say whether a sidecar answers on a socket already, although nobody has named it."""
    try:
        async with Sidecar(socket) as sidecar:
            await sidecar.info()
    except ReplicationError:
        return False
    return True


def _tell(line: str) -> None:
    _log.warning("child", detail=line)
