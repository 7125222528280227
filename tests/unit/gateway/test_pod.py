"""What a pod does with a grant: it opens what is new, but nothing contested before it may. And when it is to stop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import msgspec
import pytest
import structlog

from modbot.cluster import protocol
from modbot.domain.ids import Epoch, PodId, ShardId
from modbot.ops.litestream import Sidecar
from modbot.ops.settings import CommonSettings, DiscordSettings, GatewaySettings, ReplicaSettings, Secret
from modbot.services.gateway import pod as pods
from modbot.services.gateway.pod import GatewayPod
from modbot.services.gateway.replicating import Replication

PLAIN, CONTESTED = ShardId("0-of-2"), ShardId("1-of-2")
LEASE = 0.2


def settings_for(folder: Path) -> GatewaySettings:
    return GatewaySettings(
        common=CommonSettings(internal_token=Secret("an-internal-token-of-this-test")),
        discord=DiscordSettings(token=Secret("a-bot-token"), application_id=1),
        replicas=ReplicaSettings(),
        pod_name="gateway-0",
        data_dir=str(folder),
    )


async def test_a_contested_shard_waits_for_the_first_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[ShardId] = []
    everything = asyncio.Event()

    def note(pod: GatewayPod, shard: protocol.Shard) -> None:
        opened.append(shard.shard_id)
        served = SimpleNamespace(epoch=shard.epoch, guilds=0, counted=False, measure=lambda: None)
        pod.shards[shard.shard_id] = served  # type: ignore[assignment]
        if len(opened) == 2:
            everything.set()

    monkeypatch.setattr(GatewayPod, "_open", note)
    async with aiohttp.ClientSession() as http:
        pod = GatewayPod(settings_for(tmp_path), http, Replication(None, Sidecar(tmp_path / "socket")))
        grant = protocol.Grant(
            lease_seconds=LEASE,
            shards=[
                protocol.Shard(shard_id=CONTESTED, epoch=Epoch(4), owner=PodId("gateway-0"), contested=True),
                protocol.Shard(shard_id=PLAIN, epoch=Epoch(3), owner=PodId("gateway-0")),
            ],
            shard_count=2,
            rest_per_second=1,
            rest_open=True,
            members=[],
        )
        pod.lease.failsafe.renewed(0.0, grant)
        pod._on_grant(grant)
        reconciling = asyncio.create_task(pod._reconcile())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert opened == [PLAIN]
        async with asyncio.timeout(5):
            await everything.wait()
        assert opened == [PLAIN, CONTESTED]
        assert pod.lease.failsafe.opens_in(grant.shards[0]) == 0
        _look_for_assigned_guilds(pod, grant)
        reconciling.cancel()
        await asyncio.gather(reconciling, return_exceptions=True)
        await pod.surroundings.tools.writer.close()


@pytest.mark.parametrize(
    ("acting", "ticks", "waits"), [("lease", False, True), ("no", True, True), ("no", False, False)]
)
async def test_a_drain_ends_when_nobody_can_give_the_shards_to_a_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acting: str, *, ticks: bool, waits: bool
) -> None:
    """Neither the lease nor the watch stream lives: the config service is away, and with it every handoff."""
    monkeypatch.setattr(pods, "_SILENCE", 0.05)
    monkeypatch.setattr(GatewayPod, "_has_peers", lambda _pod: True)
    monkeypatch.setattr(GatewayPod, "acting", property(lambda _pod: acting))
    async with aiohttp.ClientSession() as http:
        pod = GatewayPod(settings_for(tmp_path), http, Replication(None, Sidecar(tmp_path / "socket")))
        pod.shards[PLAIN] = SimpleNamespace()  # type: ignore[assignment]
        draining = asyncio.create_task(pod.drain(30.0))
        for _ in range(20):
            if ticks:
                pod._listen(protocol.Tick())
            await asyncio.sleep(0.01)
        assert draining.done() is not waits
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
        await pod.surroundings.tools.writer.close()


def _look_for_assigned_guilds(pod: GatewayPod, grant: protocol.Grant) -> None:
    """The line that operators look for names the shards, and once more, when it is known, how many guilds that is."""
    with structlog.testing.capture_logs() as lines:
        pod._measure()
        for served in pod.shards.values():
            served.guilds, served.counted = 20, True  # type: ignore[misc]
        pod._measure()
        pod._measure()
        pod._on_grant(msgspec.structs.replace(grant, shards=[]))
    found = [line for line in lines if line["event"] == "assigned guilds"]
    assert [(line["count"], line.get("guilds")) for line in found] == [(2, 40), (0, None)]
    assert found[0]["shards"] == [PLAIN, CONTESTED]
