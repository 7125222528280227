"""What the tests of the config service share."""

from __future__ import annotations

import uuid
from typing import Any

import aiohttp
import msgspec

from modbot.cluster import protocol
from modbot.domain.ids import Incarnation
from modbot.ops.settings import CommonSettings, ConfigSettings, Secret
from modbot.services.config import leases

TOKEN = "an-internal-token-for-tests"
SHARDS = 4
ID_1, ID_2 = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


def settings_for(database_url: Secret) -> ConfigSettings:
    return ConfigSettings(
        common=CommonSettings(internal_token=Secret(TOKEN)),
        database_url=database_url,
        host="127.0.0.1",
        port=0,
        shard_count=SHARDS,
        lease_ttl=0.5,
        placement_settle=0.0,
    )


class Caller:
    """A raw HTTP client, so that malformed calls can be made."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def __call__(
        self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN
    ) -> tuple[int, Any, str]:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        data = body if isinstance(body, bytes) else None if body is None else msgspec.json.encode(body)
        async with self._session.request(method, self._url + path, data=data, headers=headers) as answer:
            raw = await answer.read()
            decoded = msgspec.json.decode(raw) if "json" in answer.content_type and raw else raw
            return answer.status, decoded, answer.content_type


def registration(**changes: Any) -> dict[str, Any]:
    return {"incarnation": ID_1, "address": "http://gateway-0:3000", "capacity": 8, "owns_volume": True} | changes


TERMS = leases.Terms(lease_ttl=30.0, rest_per_second=45, shard_count=SHARDS)
STORE = "s3://replicas"


def brief(ttl: float) -> leases.Terms:
    """Terms with a short lease."""
    return leases.Terms(lease_ttl=ttl, rest_per_second=45, shard_count=SHARDS)


def request(incarnation: str, **changes: Any) -> protocol.RegisterRequest:
    values = {"address": "http://pod:3000", "capacity": 8, "replica_store": STORE} | changes
    return protocol.RegisterRequest(incarnation=Incarnation(incarnation), **values)


def new_incarnation() -> Incarnation:
    return Incarnation(str(uuid.uuid4()))
