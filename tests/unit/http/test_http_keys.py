"""The key of the day: shared when it can be had, made up and counted when not, never longer than its day."""

from __future__ import annotations

from datetime import UTC, datetime

from modbot.cluster.anonymity_keys import GRACE, AnonymityKeys
from modbot.cluster.protocol import AnonymityKey
from modbot.domain.errors import UnavailableError
from modbot.services.http.metrics import Metrics

SHARED = "5a" * 32


class Client:
    def __init__(self) -> None:
        self.key: str | None = SHARED

    async def anonymity_key(self) -> AnonymityKey:
        if self.key is None:
            raise UnavailableError("away")
        return AnonymityKey(day="2026-11-23", key=self.key, seconds_left=100.0)


class World:
    """A client, a clock and the keys."""

    def __init__(self) -> None:
        self.client = Client()
        self.time = 1000.0
        self.metrics = Metrics()
        self.wall = datetime(2026, 11, 23, 23, 59, tzinfo=UTC)
        self.keys = AnonymityKeys(
            self.client, on_local=self.metrics.local_keys.inc, now=lambda: self.time, today=lambda: self.wall
        )

    def local_uses(self) -> float | None:
        return self.metrics.registry.get_sample_value("modbot_http_local_anonymity_keys_total")


async def test_the_shared_key_is_used_until_its_day_is_over() -> None:
    world = World()
    assert await world.keys.refresh()
    world.time += 100 + GRACE - 0.1
    assert world.keys.current() == bytes.fromhex(SHARED)
    assert world.local_uses() == 0
    world.time += 0.2
    assert world.keys.current() != bytes.fromhex(SHARED)
    assert world.local_uses() == 1


async def test_without_the_config_service_a_local_key_lasts_to_midnight() -> None:
    world = World()
    world.client.key = None
    assert not await world.keys.refresh()
    first = world.keys.current()
    assert len(first) == 32
    world.time += 59
    assert world.keys.current() == first
    world.time += 2
    assert world.keys.current() != first
    assert world.local_uses() == 3


async def test_the_shared_key_takes_over_when_it_comes() -> None:
    world = World()
    world.client.key = None
    await world.keys.refresh()
    world.keys.current()
    world.client.key = SHARED
    await world.keys.refresh()
    assert world.keys.current() == bytes.fromhex(SHARED)


async def test_a_malformed_key_is_not_taken() -> None:
    world = World()
    world.client.key = "not hexadecimal"
    assert not await world.keys.refresh()
    assert len(world.keys.current()) == 32


def test_a_key_does_not_print() -> None:
    assert SHARED not in repr(AnonymityKey(day="2026-11-23", key=SHARED, seconds_left=1.0))
