"""The gateway pod: keeps its lease, and serves exactly the shards that the lease grants.

The lease keeper says which shards are ours, in which epoch; `_reconcile` opens what is new, closes what is gone and reopens what came
back under a newer epoch. Nothing else opens or closes a shard. When this incarnation has ended, everything is closed and the process
ends; whoever starts it again gives it a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import aiohttp
import structlog

from modbot.cluster import protocol
from modbot.cluster.anonymity_keys import AnonymityKeys
from modbot.cluster.client import ConfigClient
from modbot.cluster.leases import Hooks, LeaseKeeper, Measurements
from modbot.cluster.routing import RoutingTable
from modbot.discord.budgets import Budget
from modbot.discord.intents import intents_for
from modbot.discord.rest import RestClient
from modbot.discord.transports import Compression
from modbot.domain.errors import InvalidInputError, ModbotError, SettingsError
from modbot.domain.ids import Epoch, Incarnation, ShardId, parse_pod_id
from modbot.domain.pins import parse_labels
from modbot.features import all_features
from modbot.ops import metrics
from modbot.ops.settings import GatewaySettings
from modbot.services.gateway.permits import Permits
from modbot.services.gateway.registration import register_commands
from modbot.services.gateway.serving import ServedShard
from modbot.services.gateway.surroundings import Surroundings
from modbot.shard import database
from modbot.shard.engine import Tools
from modbot.shard.registry import Registry
from modbot.shard.writer import Writer

_log = structlog.get_logger()
_COMPRESSIONS = {"zstd-stream": Compression.ZSTD, "zlib-stream": Compression.ZLIB, "none": Compression.NONE}
_ALWAYS_WANTED = frozenset({"READY", "RESUMED", "INTERACTION_CREATE"})


class GatewayPod:
    """One incarnation of a pod. Create it with `opened`."""

    def __init__(self, settings: GatewaySettings, http: aiohttp.ClientSession) -> None:
        self.settings = settings
        self.pod_id = parse_pod_id(settings.pod_name)
        self.incarnation = Incarnation(str(uuid.uuid4()))
        self.shards: dict[ShardId, ServedShard] = {}
        self.ended: asyncio.Future[ModbotError] = asyncio.get_running_loop().create_future()
        self._tasks: dict[ShardId, asyncio.Task[None]] = {}
        self._granted: dict[ShardId, protocol.Shard] = {}
        self._changed = asyncio.Event()
        self._measured_at = asyncio.get_running_loop().time()
        self._budget = Budget()
        config = ConfigClient(settings.config_url, settings.common.internal_token, http)
        self.routing = RoutingTable(config)
        self.lease = LeaseKeeper(config, self.pod_id, self._introduction(), hooks=self._hooks())
        rest = RestClient(
            http=http,
            base_url=settings.discord.api_url,
            token=settings.discord.token,
            budget=self._budget,
            gate=self._gate,
        )
        registry = Registry(all_features())
        wanted = frozenset(registry.handlers) | _ALWAYS_WANTED
        tools = Tools(
            writer=Writer(now=_now),
            registry=registry,
            rest=rest,
            application_id=settings.discord.application_id,
            now=_now,
        )
        self.surroundings = Surroundings(
            pod_id=self.pod_id,
            incarnation=self.incarnation,
            data_dir=Path(settings.data_dir),
            tools=tools,
            http=http,
            config=config,
            lease=self.lease,
            anonymity=AnonymityKeys(config, on_local=metrics.LOCAL_ANONYMITY_KEYS.inc, now=time.monotonic, today=_now),
            permits=Permits(config=config, rest=rest, pod_id=self.pod_id, incarnation=self.incarnation),
            gateway_url=settings.discord.gateway_url,
            token=settings.discord.token,
            compression=_COMPRESSIONS[settings.discord.compression],
            wanted=wanted,
            intents=intents_for(wanted, message_content=settings.discord.message_content),
        )

    async def run(self) -> None:
        """Serve until cancelled or until this incarnation has ended."""
        with self.routing.listening(self._listen):
            tasks = [
                asyncio.create_task(self.lease.run()),
                asyncio.create_task(self.routing.run()),
                asyncio.create_task(self._reconcile()),
                asyncio.create_task(self.surroundings.anonymity.run()),
                asyncio.create_task(register_commands(self.surroundings, self._registers)),
            ]
            try:
                running: list[asyncio.Future[Any]] = [*tasks, self.ended]
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                await self._stop(tasks)

    async def leave(self) -> None:
        """Say goodbye; the shards wait for this pod, whose volume has their files."""
        try:
            await self.lease.leave(keep=True)
        except ModbotError as error:
            _log.warning("leave_not_told", code=error.code, error=str(error))

    @property
    def ready(self) -> bool:
        """Whether the pod can accept assignments; says nothing about Discord."""
        return self.lease.grant is not None and not self.ended.done()

    def _introduction(self) -> protocol.RegisterRequest:
        settings = self.settings
        address = settings.advertised_url or f"http://{settings.pod_name}.gateway-internal:{settings.port}"
        return protocol.RegisterRequest(
            incarnation=self.incarnation,
            address=address,
            capacity=settings.capacity,
            egress=settings.egress,
            owns_volume=True,
            labels=_labels(settings),
        )

    def _hooks(self) -> Hooks:
        return Hooks(on_grant=self._on_grant, on_lost=self._on_lost, on_dead=self._on_dead, measure=self._measure)

    def _on_grant(self, grant: protocol.Grant) -> None:
        self._budget.set_share(grant.rest_per_second, grant.rest_open)
        granted = {shard.shard_id: shard for shard in grant.shards}
        if {key: shard.epoch for key, shard in granted.items()} != {
            key: shard.epoch for key, shard in self._granted.items()
        }:
            _log.info("assigned guilds", shards=sorted(granted), count=len(granted))
        self._granted = granted
        self._changed.set()

    def _on_lost(self) -> None:
        """Keep ingesting; the gate holds all effects back until the lease is renewed (I2)."""
        _log.warning("effects_held_back")

    def _on_dead(self, error: ModbotError) -> None:
        if not self.ended.done():
            self.ended.set_result(error)

    def _gate(self, seconds: float) -> str | None:
        return None if self.lease.valid_for(seconds) else "the lease does not last that long"

    def _registers(self) -> bool:
        """Whether this pod registers the commands: the owner of the first shard does."""
        return any(shard_id.startswith("0-of-") for shard_id in self.shards) and self.lease.valid_for(3.0)

    def _measure(self) -> Measurements:
        now = asyncio.get_running_loop().time()
        elapsed, self._measured_at = max(0.001, now - self._measured_at), now
        loads = [load for served in self.shards.values() if (load := served.measure()) is not None]
        demand = self._budget.take_demand() / elapsed
        return Measurements(tuple(loads), demand, self._budget.take_invalid())

    def _listen(self, line: protocol.WatchLine) -> None:
        self.lease.notice(line)
        if isinstance(line, protocol.InboxNotice):
            served = self.shards.get(line.shard_id)
            if served is not None and served.inbox is not None:
                served.inbox.notice()

    async def _reconcile(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            granted = dict(self._granted)
            gone = [key for key, served in self.shards.items() if not _same(granted.get(key), served.epoch)]
            await asyncio.gather(*(self._close(key) for key in gone))
            for key, shard in granted.items():
                if key not in self.shards:
                    self._open(shard)

    def _open(self, shard: protocol.Shard) -> None:
        served = ServedShard(self.surroundings, shard.shard_id, shard.epoch, served=shard.served)
        self.shards[shard.shard_id] = served
        self._tasks[shard.shard_id] = asyncio.create_task(served.run())

    async def _close(self, shard_id: ShardId) -> None:
        task = self._tasks.pop(shard_id)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del self.shards[shard_id]

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks[2:]:
            task.cancel()
        await asyncio.gather(*tasks[2:], return_exceptions=True)
        await asyncio.gather(*(self._close(shard_id) for shard_id in list(self.shards)))
        for task in tasks[:2]:
            task.cancel()
        await asyncio.gather(*tasks[:2], return_exceptions=True)
        await self.surroundings.tools.writer.close()


@contextlib.asynccontextmanager
async def opened(settings: GatewaySettings) -> AsyncIterator[GatewayPod]:
    """Take the volume's lock and build the pod; the lock proves that no other process writes these files."""
    if settings.discord.compression not in _COMPRESSIONS:
        raise SettingsError(f"MODBOT_GATEWAY_COMPRESSION must be one of {', '.join(_COMPRESSIONS)}.")
    database.check_sqlite()
    with _volume_lock(Path(settings.data_dir)):
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        async with aiohttp.ClientSession(connector=connector) as http:
            yield GatewayPod(settings, http)


@contextlib.contextmanager
def _volume_lock(data_dir: Path) -> Iterator[None]:
    data_dir.mkdir(parents=True, exist_ok=True)
    lock: IO[str] = (data_dir / "pod.lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise SettingsError(f"Another process works in {data_dir}; two must never share a volume.") from None
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    try:
        yield
    finally:
        lock.close()


def _same(shard: protocol.Shard | None, epoch: Epoch) -> bool:
    return shard is not None and shard.epoch == epoch


def _labels(settings: GatewaySettings) -> dict[str, str]:
    try:
        return parse_labels(settings.labels)
    except InvalidInputError as error:
        raise SettingsError(f"MODBOT_POD_LABELS is not valid: {error}") from None


def _now() -> datetime:
    return datetime.now(UTC)
