"""What the REST API keeps besides the world: limits, faults, log; and what it asks of the simulator around it."""

from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from discordsim.interactions.uploads import FileStore
from discordsim.rest.faults import Faults
from discordsim.rest.limits import Limiter
from discordsim.rest.log import RestLog
from discordsim.rest.switches import RestSwitches
from discordsim.world.model.users import Application
from discordsim.world.world import World


class SwitchBoard(Protocol):
    """The switches of a simulator, of which REST reads its own."""

    @property
    def rest(self) -> RestSwitches:
        """Return the REST switches."""
        ...


class Endpoints(Protocol):
    """The interactions of a simulator: they own uploaded files and try out endpoints."""

    @property
    def files(self) -> FileStore:
        """Return the store of uploaded files."""
        ...

    async def set_endpoint(self, application: Application, url: str | None) -> None:
        """Set or clear the interactions endpoint; 50035 when it is unfit."""
        ...


class Host(Protocol):
    """The simulator as REST needs it."""

    @property
    def world(self) -> World:
        """Return the world."""
        ...

    @property
    def switches(self) -> SwitchBoard:
        """Return the switches."""
        ...

    @property
    def interactions(self) -> Endpoints:
        """Return the interactions."""
        ...

    @property
    def rest_log(self) -> RestLog:
        """Return the log of requests."""
        ...


class Rest:
    """The REST API of one simulator. `clock` drives the limits and defaults to the world's clock."""

    def __init__(self, host: Host, *, clock: Callable[[], float] | None = None) -> None:
        self.host = host
        self.world = host.world
        self.log = host.rest_log
        self.limiter = Limiter(lambda: self.switches, clock or host.world.now)
        self.faults = Faults(host.world.seed)
        self.command_creates: dict[tuple[int, int | None], list[float]] = {}

    @property
    def switches(self) -> RestSwitches:
        """Return the switches in force."""
        return self.host.switches.rest

    @property
    def files(self) -> FileStore:
        """Return the store of uploaded files."""
        return self.host.interactions.files


REST: web.AppKey[Rest] = web.AppKey("rest", Rest)
