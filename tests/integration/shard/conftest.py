"""Fixtures of the engine's tests."""

import pytest
import shardkit


@pytest.fixture
def clock():
    return shardkit.Clock()


@pytest.fixture
def pauses(monkeypatch, clock):
    return shardkit.Pauses(monkeypatch, clock)


@pytest.fixture
async def make_world(tmp_path, clock, pauses):
    """Give a function that opens a world over a fresh file with the given features."""
    worlds = []

    async def make(*features, series=(), start=True):
        world = shardkit.World(tmp_path / f"{len(worlds)}.sqlite3", features, series=series, clock=clock)
        worlds.append(world)
        await world.open()
        if start:
            await world.start_session()
        return world

    yield make
    for world in worlds:
        await world.close()
