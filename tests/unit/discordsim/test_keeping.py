from pathlib import Path

import pytest

from discordsim import keeping, server
from discordsim.clock import SimulatorClock
from discordsim.world import posting
from discordsim.world.model.messages import Draft


def test_a_world_comes_back_as_it_was(tmp_path: Path) -> None:
    simulator, application = server.build(server.Size(guilds=2))
    world = simulator.world
    guild = next(iter(world.guilds.values()))
    channel = next(each for each in guild.channels.values() if each.type == 0)
    message = posting.create(world, channel.id, guild.owner_id, Draft(content="still here"))
    keeping.save(world, tmp_path / "world.state")

    again, restored = server.restore(tmp_path / "world.state")

    assert restored.token == application.token
    assert again.world.message(channel.id, message.id).content == "still here"
    assert again.world.new_id() > message.id


def test_a_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "world.state"
    path.write_bytes(b"something else")
    with pytest.raises(keeping.UnknownStateError):
        keeping.load(path, SimulatorClock())
