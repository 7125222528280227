import dataclasses

import pytest

from discordsim.world import seeding
from discordsim.world.events import Dispatch
from discordsim.world.model.users import Application
from discordsim.world.world import World


@dataclasses.dataclass
class Clock:
    now: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclasses.dataclass
class Town:
    """A world with one seeded guild, its people and everything that was dispatched."""

    world: World
    clock: Clock
    app: Application
    place: seeding.SeededGuild
    events: list[Dispatch]

    @property
    def guild(self):
        return self.world.guild(self.place.guild_id)

    def named(self, name):
        return [event for event in self.events if event.name == name]


@pytest.fixture
def town() -> Town:
    clock = Clock()
    world = World(clock=clock, seed=7)
    app = world.add_application("warden", owner_id=world.add_user("author").id)
    place = seeding.seed_world(world, guilds=1, bot=app)[0]
    events: list[Dispatch] = []
    world.subscribe(events.append)
    return Town(world, clock, app, place, events)
