"""Fixtures of the engine's tests."""

import pytest
import repairkit
import shardkit

from modbot.shard import gaps, snapshot


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


@pytest.fixture
def make_scene(make_world):
    """Give a function that opens a world with a guild that can lose its session."""

    async def make(*features):
        chosen = features or (snapshot.feature, gaps.feature, repairkit.witness)
        scene = repairkit.Scene(await make_world(*chosen, series=[repairkit.TABLES], start=False))
        await scene.begin("s1")
        return scene

    return make


@pytest.fixture
async def scene(make_scene):
    return await make_scene()
