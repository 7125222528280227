"""What a pod does with a grant: it opens what is new, but nothing contested before it may."""

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
from modbot.services.gateway.pod import GatewayPod
from modbot.services.gateway.replicating import Replication

PLAIN, CONTESTED = ShardId("0-of-2"), ShardId("1-of-2")
LEASE = 0.2


async def test_a_contested_shard_waits_for_the_first_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = GatewaySettings(
        common=CommonSettings(internal_token=Secret("an-internal-token-of-this-test")),
        discord=DiscordSettings(token=Secret("a-bot-token"), application_id=1),
        replicas=ReplicaSettings(),
        pod_name="gateway-0",
        data_dir=str(tmp_path),
    )
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
        pod = GatewayPod(settings, http, Replication(None, Sidecar(tmp_path / "socket")))
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
