"""Keeping a world between two runs: one file, written when the simulator stops and replaced as a whole.

Guilds, messages, threads and applications come back; gateway sessions do not, as after a restart of Discord. Refuses files of another
shape. The file is the simulator's own and is trusted like its code: it must not come from elsewhere.
"""

import pickle
from pathlib import Path

from discordsim.clock import SimulatorClock
from discordsim.world.snowflakes import Snowflakes
from discordsim.world.world import World

_SHAPE = 1
_LEFT_OUT = frozenset({"clock", "snowflakes", "_listeners"})


class UnknownStateError(Exception):
    """The state file was written by another version of the simulator."""


def save(world: World, path: Path) -> None:
    """Write the world to `path`, all of it or nothing."""
    kept = {name: value for name, value in vars(world).items() if name not in _LEFT_OUT}
    waiting = path.with_suffix(path.suffix + ".new")
    waiting.write_bytes(pickle.dumps({"shape": _SHAPE, "last_id": world.snowflakes.last, "world": kept}))
    waiting.replace(path)


def load(path: Path, clock: SimulatorClock) -> World:
    """Read a world back; `UnknownStateError` when it has another shape."""
    try:
        state = pickle.loads(path.read_bytes())  # noqa: S301 - our own file, see above
    except (pickle.UnpicklingError, AttributeError, ImportError, EOFError) as error:
        raise UnknownStateError(f"{path} cannot be read: {error}") from error
    if not isinstance(state, dict) or state.get("shape") != _SHAPE:
        raise UnknownStateError(f"{path} was written by another version")
    world = World(clock=clock.unix)
    vars(world).update(state["world"])
    world.snowflakes = Snowflakes(clock.unix, after=state["last_id"])
    return world
