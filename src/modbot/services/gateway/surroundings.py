"""What every shard of a pod shares: clients, clocks, the registry, who we are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import aiohttp

from modbot.cluster.anonymity_keys import AnonymityKeys
from modbot.cluster.client import ConfigClient
from modbot.cluster.leases import LeaseKeeper
from modbot.discord.transports import Compression
from modbot.domain.ids import Incarnation, PodId
from modbot.ops.settings import Secret
from modbot.services.gateway.permits import Permits
from modbot.services.gateway.presence import Presence
from modbot.services.gateway.replicating import Replication
from modbot.services.gateway.restores import Restorer
from modbot.shard.engine import Tools


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything that a served shard needs and does not own."""

    pod_id: PodId
    incarnation: Incarnation
    data_dir: Path
    tools: Tools
    http: aiohttp.ClientSession
    config: ConfigClient
    lease: LeaseKeeper
    permits: Permits
    anonymity: AnonymityKeys
    internal_token: Secret
    replication: Replication
    restorer: Restorer
    presence: Presence
    gateway_url: str
    token: Secret
    compression: Compression
    wanted: frozenset[str]
    intents: int
