import collections

import pytest

from discordsim.world import seeding
from discordsim.world.world import World


def built(seed):
    world = World(clock=lambda: 1_790_000_000.0, seed=seed)
    app = world.add_application("warden", owner_id=world.add_user("author").id)
    return app, world, seeding.seed_world(world, guilds=96, bot=app)


def test_same_seed_same_world():
    (first_app, first, places), (second_app, second, again) = built(3), built(3)
    assert places == again
    assert first_app.token == second_app.token
    drawn = [
        [guild.create_payload(app.id) for guild in world.guilds.values()]
        for app, world in ((first_app, first), (second_app, second))
    ]
    assert drawn[0] == drawn[1]
    assert built(4)[0].public_key != first_app.public_key


@pytest.mark.parametrize("shards", [3, 8, 16, 64])
def test_guilds_spread_evenly(shards):
    counts = collections.Counter((place.guild_id >> 22) % shards for place in built(1)[2])
    assert len(counts) == shards
    assert max(counts.values()) - min(counts.values()) <= 1


def test_sizes_and_ids_are_as_asked():
    world = World(seed=1)
    app = world.add_application("warden", owner_id=world.add_user("author").id)
    seeding.seed_world(world, guilds=3, channels=30, roles=20, members=5, bot=app)
    seeding.seed_world(world, guilds=2, bot=app)
    assert len(world.guilds) == 5
    guild = next(iter(world.guilds.values()))
    assert (len(guild.channels), len(guild.roles), guild.member_count) == (30, 20, 6)
    assert len({channel.name for channel in guild.channels.values()}) == 30
    assert len(world.channels) == sum(len(one.channels) for one in world.guilds.values())
