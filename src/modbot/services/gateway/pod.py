"""The gateway pod: keeps its lease, and serves exactly the shards that the lease grants.

The lease keeper says which shards are ours, in which epoch; `_reconcile` opens what is new, closes what is gone and reopens what came
back under a newer epoch. Nothing else opens or closes a shard. What is being handed to us is fetched beside that (`arrivals.py`). A shard
whose last owner may still be acting waits (`cluster/failsafe.py`). When this incarnation has ended, everything is closed and the process
ends; whoever starts it again gives it a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import aiohttp
import structlog

from modbot.cluster import protocol
from modbot.cluster.anonymity_keys import AnonymityKeys
from modbot.cluster.client import ConfigClient
from modbot.cluster.confirming import Confirming, PeerClient
from modbot.cluster.leases import Hooks, LeaseKeeper, Measurements
from modbot.cluster.routing import RoutingTable
from modbot.discord.budgets import Budget
from modbot.discord.intents import intents_for
from modbot.discord.rest import RestClient
from modbot.discord.transports import Compression
from modbot.domain.errors import InvalidInputError, ModbotError, SettingsError
from modbot.domain.ids import NO_CLUSTER, ClusterId, Epoch, Incarnation, ShardId, parse_pod_id
from modbot.domain.pins import parse_labels
from modbot.features import all_features
from modbot.ops import metrics, replicas
from modbot.ops.clocks import SteadyClock
from modbot.ops.litestream import Sidecar
from modbot.ops.settings import GatewaySettings
from modbot.services.gateway.arrivals import Arrivals
from modbot.services.gateway.discarding import Discarder
from modbot.services.gateway.permits import Permits
from modbot.services.gateway.presence import Presence
from modbot.services.gateway.registration import register_commands
from modbot.services.gateway.replicating import Replication
from modbot.services.gateway.restores import Restorer
from modbot.services.gateway.retaining import Retention
from modbot.services.gateway.serving import ServedShard
from modbot.services.gateway.surroundings import Surroundings
from modbot.services.gateway.transferring import Transferring
from modbot.shard import copying, database, exporting, restoring
from modbot.shard.engine import Tools
from modbot.shard.registry import Registry
from modbot.shard.writer import Writer

_log = structlog.get_logger()
_COMPRESSIONS = {"zstd-stream": Compression.ZSTD, "zlib-stream": Compression.ZLIB, "none": Compression.NONE}
_FIRST_LOOK = 5.0
_SILENCE = 5.0
"""Seconds without a line of the watch stream, which ticks every two: the config service is away."""
_ALWAYS_WANTED = frozenset({"READY", "RESUMED", "INTERACTION_CREATE"})


class GatewayPod:
    """One incarnation of a pod. Create it with `opened`."""

    def __init__(self, settings: GatewaySettings, http: aiohttp.ClientSession, replication: Replication) -> None:
        self.settings = settings
        self._store = replication.store
        self.pod_id = parse_pod_id(settings.pod_name)
        self.incarnation = Incarnation(str(uuid.uuid4()))
        self.shards: dict[ShardId, ServedShard] = {}
        self.ended: asyncio.Future[ModbotError] = asyncio.get_running_loop().create_future()
        self._tasks: dict[ShardId, asyncio.Task[None]] = {}
        self._closing: dict[ShardId, asyncio.Task[None]] = {}
        self._granted: dict[ShardId, protocol.Shard] = {}
        self._incoming: list[protocol.Shard] = []
        self._changed = asyncio.Event()
        self._heard = asyncio.Event()
        self._draining = False
        self._guilds_told = True
        self._measured_at = asyncio.get_running_loop().time()
        self._budget = Budget()
        self._now = SteadyClock()
        config = ConfigClient(settings.config_url, settings.common.internal_token, http)
        self.routing = RoutingTable(config)
        self.lease = LeaseKeeper(config, self.pod_id, self._introduction(), hooks=self._hooks())
        self._confirming = Confirming(
            self.lease.failsafe,
            PeerClient(settings.common.internal_token, http),
            seconds=self._lease_seconds,
            tell=_tell,
        )
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
            writer=Writer(now=self._now),
            registry=registry,
            rest=rest,
            application_id=settings.discord.application_id,
            now=self._now,
            replicated=replication.store is not None,
        )
        data_dir = Path(settings.data_dir)
        self._discarder = Discarder(data_dir, self.pod_id, mine=self._is_mine, settled=replication.settled)
        self._retention = Retention(
            replication.store,
            keep=settings.replicas.keep_epochs,
            keep_for=timedelta(hours=settings.replicas.keep_hours),
            complete=replication.complete,
            now=self._now,
        )
        self.surroundings = Surroundings(
            pod_id=self.pod_id,
            incarnation=self.incarnation,
            data_dir=data_dir,
            tools=tools,
            http=http,
            config=config,
            lease=self.lease,
            anonymity=AnonymityKeys(
                config, on_local=metrics.LOCAL_ANONYMITY_KEYS.inc, now=time.monotonic, today=self._now
            ),
            internal_token=settings.common.internal_token,
            replication=replication,
            restorer=Restorer(
                data_dir, replication.store, program=settings.replicas.program, settled=replication.settled
            ),
            presence=Presence(
                replication.store, self.pod_id, self.incarnation, cluster=self._cluster, lost=self._on_dead
            ),
            permits=Permits(config=config, rest=rest, pod_id=self.pod_id, incarnation=self.incarnation),
            gateway_url=settings.discord.gateway_url,
            token=settings.discord.token,
            compression=_COMPRESSIONS[settings.discord.compression],
            wanted=wanted,
            intents=intents_for(wanted, message_content=settings.discord.message_content),
        )
        self.arrivals = Arrivals(self.surroundings, self.routing)

    async def run(self) -> None:
        """Serve until cancelled or until this incarnation has ended."""
        with self.routing.listening(self._listen):
            tasks = [
                asyncio.create_task(self.lease.run()),
                asyncio.create_task(self.routing.run()),
                asyncio.create_task(self._reconcile()),
                asyncio.create_task(self.surroundings.anonymity.run()),
                asyncio.create_task(Transferring(self.surroundings, self.routing, self.shards).run()),
                asyncio.create_task(self.surroundings.replication.run()),
                asyncio.create_task(self._discarder.run()),
                asyncio.create_task(self._retention.run()),
                asyncio.create_task(self.surroundings.presence.run()),
                asyncio.create_task(register_commands(self.surroundings, self._registers)),
            ]
            if self.settings.failsafe:
                tasks.append(asyncio.create_task(self._confirming.run()))
            try:
                running: list[asyncio.Future[Any]] = [*tasks, self.ended]
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                await self._stop(tasks)

    async def drain(self, limit: float) -> None:
        """Ask for the shards to be handed to peers; returns when none is left, nobody can take them, or after `limit` seconds.

        While the config service is away no handoff can begin, and waiting would only take time from the farewell.
        """
        self._draining = True
        self.lease.renew_soon()
        _log.info("draining", shards=len(self.shards), limit=limit)
        try:
            async with asyncio.timeout(limit):
                while self.shards and self._has_peers():
                    self._heard.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._heard.wait(), _SILENCE)
                    if not self._heard.is_set() and self.acting != "lease":
                        _log.warning("drain_without_config_service")
                        break
        except TimeoutError:
            _log.warning("drain_unfinished", shards=sorted(self.shards))
        else:
            _log.info("drained", kept=sorted(self.shards))

    async def leave(self) -> None:
        """Say goodbye; the shards wait for this pod, whose volume has their files."""
        try:
            await self.lease.leave(keep=True)
        except ModbotError as error:
            _log.warning("leave_not_told", code=error.code, error=str(error))

    @property
    def acting(self) -> str:
        """Why effects leave this pod now: `lease`, `failsafe`, or `no`."""
        if not self.lease.valid_for(0):
            return "no"
        return "failsafe" if self.lease.failsafe.active else "lease"

    @property
    def started(self) -> bool:
        """Whether this incarnation has registered; stays true."""
        return self.lease.grant is not None

    @property
    def ready(self) -> bool:
        """Whether the pod can accept assignments; says nothing about Discord."""
        return self.lease.grant is not None and not self.ended.done() and not self._draining

    def _introduction(self) -> protocol.RegisterRequest:
        settings = self.settings
        address = settings.advertised_url or f"http://{settings.pod_name}.gateway-internal:{settings.port}"
        return protocol.RegisterRequest(
            incarnation=self.incarnation,
            address=address,
            capacity=settings.capacity,
            egress=settings.egress,
            owns_volume=True,
            replica_store=None if self._store is None else self._store.name,
            failsafe=self.settings.failsafe,
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
            # The description of the deployment looks for these two words; the number of guilds follows when the files have been read.
            _log.info("assigned guilds", shards=sorted(granted), count=len(granted))
            self._guilds_told = False
        self._granted = granted
        self._incoming = grant.incoming
        self._changed.set()

    def _on_lost(self) -> None:
        """Keep ingesting; the gate holds all effects back until the lease is renewed (I2)."""
        _log.warning("effects_held_back")

    def _on_dead(self, error: ModbotError) -> None:
        if not self.ended.done():
            self.ended.set_result(error)

    def _gate(self, seconds: float) -> str | None:
        return None if self.lease.valid_for(seconds) else "the lease does not last that long"

    def _is_mine(self, shard_id: ShardId) -> bool:
        return shard_id in self.shards or shard_id in self._granted

    def _registers(self) -> bool:
        """Whether this pod registers the commands: the owner of the first shard does."""
        return any(shard_id.startswith("0-of-") for shard_id in self.shards) and self.lease.valid_for(3.0)

    def _measure(self) -> Measurements:
        now = asyncio.get_running_loop().time()
        elapsed, self._measured_at = max(0.001, now - self._measured_at), now
        self._tell_guilds()
        loads = [load for served in self.shards.values() if (load := served.measure()) is not None]
        demand = self._budget.take_demand() / elapsed
        return Measurements(tuple(loads), demand, self._budget.take_invalid(), self._draining)

    def _tell_guilds(self) -> None:
        """Say once after each change of the grant how many guilds that is."""
        served = [self.shards[key] for key in self._granted if key in self.shards]
        if self._guilds_told or len(served) < len(self._granted) or not all(each.counted for each in served):
            return
        self._guilds_told = True
        _log.info(
            "assigned guilds",
            shards=sorted(self._granted),
            count=len(served),
            guilds=sum(each.guilds for each in served),
        )

    def _has_peers(self) -> bool:
        return any(
            pod.pod_id != self.pod_id and pod.state is protocol.PodState.LIVE and not pod.draining
            for pod in self.routing.pods()
        )

    def _listen(self, line: protocol.WatchLine) -> None:
        self.lease.notice(line)
        self._discarder.notice(line)
        self._heard.set()
        if isinstance(line, protocol.InboxNotice):
            served = self.shards.get(line.shard_id)
            if served is not None and served.inbox is not None:
                served.inbox.notice()

    async def _reconcile(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            granted = dict(self._granted)
            self.arrivals.follow(self._incoming)
            for key, served in self.shards.items():
                if key not in self._closing and not _same(granted.get(key), served.epoch):
                    self._closing[key] = asyncio.create_task(self._close(key))
            for key, shard in granted.items():
                if key not in self.shards and not self._waits(shard):
                    self._open(shard)
            self._heard.set()

    def _waits(self, shard: protocol.Shard) -> bool:
        """Whether a shard must not be opened yet; if so, it is looked at again when it may be."""
        seconds = self.lease.failsafe.opens_in(shard)
        if seconds > 0:
            _log.warning("contested_shard_waits", shard=shard.shard_id, epoch=shard.epoch, seconds=round(seconds, 1))
            asyncio.get_running_loop().call_later(seconds, self._changed.set)
        return seconds > 0

    def _cluster(self) -> ClusterId:
        return NO_CLUSTER if self.lease.grant is None else self.lease.grant.cluster

    def _lease_seconds(self) -> float:
        return _FIRST_LOOK if self.lease.grant is None else self.lease.grant.lease_seconds

    def _open(self, shard: protocol.Shard) -> None:
        served = ServedShard(self.surroundings, shard, arrived=self.arrivals.take(shard))
        self.shards[shard.shard_id] = served
        self._tasks[shard.shard_id] = asyncio.create_task(served.run())

    async def _close(self, shard_id: ShardId) -> None:
        task = self._tasks.pop(shard_id)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        served = self.shards.pop(shard_id)
        metrics.forget_shard(shard_id)
        await served.handoff.close()
        self._closing.pop(shard_id, None)
        self._changed.set()  # it may have been granted anew meanwhile

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks[2:]:
            task.cancel()
        await asyncio.gather(*tasks[2:], return_exceptions=True)
        await self.arrivals.close()
        closing = [self._closing.get(shard_id) or self._close(shard_id) for shard_id in list(self.shards)]
        await asyncio.gather(*closing)
        for task in tasks[:2]:
            task.cancel()
        await asyncio.gather(*tasks[:2], return_exceptions=True)
        await self.surroundings.tools.writer.close()
        await self.surroundings.replication.close()
        await self.surroundings.presence.close()


@contextlib.asynccontextmanager
async def opened(settings: GatewaySettings) -> AsyncIterator[GatewayPod]:
    """Take the volume's lock and build the pod; the lock proves that no other process writes these files."""
    if settings.discord.compression not in _COMPRESSIONS:
        raise SettingsError(f"MODBOT_GATEWAY_COMPRESSION must be one of {', '.join(_COMPRESSIONS)}.")
    database.check_sqlite()
    store = replicas.configured(settings.replicas)
    program = settings.replicas.program
    if store is not None and shutil.which(program) is None:
        raise SettingsError(
            f"MODBOT_LITESTREAM_BIN: there is no program {program}; without it no shard can be restored."
        )
    data_dir = Path(settings.data_dir)
    with _volume_lock(data_dir):
        restoring.forget_workplaces(data_dir)
        copying.forget_unfinished(data_dir)
        exporting.forget_unfinished(data_dir)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        socket = Path(settings.replicas.socket) if settings.replicas.socket else data_dir / "litestream.sock"
        async with aiohttp.ClientSession(connector=connector) as http, Sidecar(socket) as sidecar:
            yield GatewayPod(settings, http, Replication(store, sidecar))


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


def _tell(active: bool) -> None:  # noqa: FBT001 - the only argument says it
    metrics.FAILSAFE.set(int(active))


def _labels(settings: GatewaySettings) -> dict[str, str]:
    try:
        return parse_labels(settings.labels)
    except InvalidInputError as error:
        raise SettingsError(f"MODBOT_POD_LABELS is not valid: {error}") from None
