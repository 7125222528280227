"""Facts of a healthy system, and what is easily made wrong about them."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from modbot.cli.doctor.facts import (
    Application,
    Cluster,
    ConfigService,
    Discord,
    Environment,
    Expected,
    Facts,
    GatewayPod,
    Metrics,
    Place,
    PodShard,
    Programs,
    Sample,
    Service,
    Store,
    Volume,
)
from modbot.cluster import protocol
from modbot.discord.intents import Intent
from modbot.domain.ids import Epoch, Incarnation, PodId, ShardId

GIB = 1024**3
KEY = "ab" * 32
STORE = "s3://bucket/modbot"


def metrics(*lines: tuple[str, float], **labels: str) -> Metrics:
    """Return samples of these names and values, all with the same labels."""
    return Metrics(tuple(Sample(name, tuple(sorted(labels.items())), value) for name, value in lines))


def load(shard: str, **changes: Any) -> protocol.ShardLoad:
    made = protocol.ShardLoad(
        shard_id=ShardId(shard), epoch=Epoch(1), guilds=3, connected=True, replica_lag=0.5, lag_seconds=0.02
    )
    return msgspec.structs.replace(made, **changes)


def pod(number: int, *shards: protocol.ShardLoad, **changes: Any) -> protocol.PodHealth:
    made = protocol.PodHealth(
        pod_id=PodId(f"gateway-{number}"),
        incarnation=Incarnation(f"00000000-0000-0000-0000-00000000000{number}"),
        address=f"http://gateway-{number}.gateway-internal:3000",
        state=protocol.PodState.LIVE,
        lease_seconds=5.0,
        capacity=64,
        shards=list(shards),
    )
    return msgspec.structs.replace(made, **changes)


def shard(name: str, owner: int | None, **changes: Any) -> protocol.ShardDetail:
    pod_id = None if owner is None else PodId(f"gateway-{owner}")
    made = protocol.ShardDetail(
        shard_id=ShardId(name), epoch=Epoch(1), owner=pod_id, last_owner=pod_id, replica_store=STORE
    )
    return msgspec.structs.replace(made, **changes)


def plan(**changes: Any) -> protocol.RebalancePlan:
    made = protocol.RebalancePlan(
        moves=[],
        held=[],
        verdict="The load is even.",
        waits="",
        imbalance=1.0,
        imbalance_after=1.0,
        paused=False,
        asked=False,
    )
    return msgspec.structs.replace(made, **changes)


def look(number: int, *, of: Metrics = Metrics(), shards: tuple[PodShard, ...] = (), **changes: Any) -> GatewayPod:  # noqa: B008 - frozen
    url = f"http://gateway-{number}.gateway-internal:3000"
    return GatewayPod(
        f"gateway-{number}", dataclasses.replace(Service(url, metrics=of, clock_ahead=0.4), **changes), shards
    )


CLUSTER = Cluster(
    pods=(pod(0, load("0-of-2")), pod(1, load("1-of-2"))), shards=(shard("0-of-2", 0), shard("1-of-2", 1)), plan=plan()
)
APPLICATION = Application(42, KEY, flags=1 << 15 | 1 << 19, interactions_url="https://modbot.example.org/interactions")
EXPECTED = Expected(
    42, KEY, int(Intent.GUILDS | Intent.GUILD_MESSAGES | Intent.MESSAGE_CONTENT), "https://modbot.example.org"
)
SIDECAR_WELL = (("modbot_litestream_up", 1.0), ("modbot_rest_open", 1.0))


def healthy(**changes: Any) -> Facts:
    """Return facts in which nothing is wrong, but for what is changed."""
    made = Facts(
        Place.GATEWAY,
        environment=Environment(),
        volumes=(Volume("/data", size=10 * GIB, free=9 * GIB, largest=GIB // 10),),
        programs=Programs(litestream_version="0.5.17"),
        store=Store(STORE),
        itself=Service("http://127.0.0.1:3000"),
        config=ConfigService(
            Service(
                "http://config-service:3001",
                metrics=metrics(("modbot_config_identify_remaining", float("nan"))),
                clock_ahead=-0.3,
            )
        ),
        cluster=CLUSTER,
        pods=(look(0, of=metrics(*SIDECAR_WELL)), look(1, of=metrics(*SIDECAR_WELL))),
        http=Service("http://http-service", metrics=metrics(("modbot_http_deferrals_pending", 0.0))),
        discord=Discord(remaining=900, application=APPLICATION, expected=EXPECTED),
    )
    return dataclasses.replace(made, **changes)


def clustered(**changes: Any) -> Facts:
    """Return healthy facts with another cluster."""
    return healthy(cluster=dataclasses.replace(CLUSTER, **changes))
