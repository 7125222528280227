"""The composition root: one world with everything that shows it to the outside, on one aiohttp application."""

from aiohttp import web

from discordsim.clock import SimulatorClock
from discordsim.gateway import http as gateway_http
from discordsim.gateway.hub import GatewayHub
from discordsim.switches import Switches
from discordsim.world.world import World


class Simulator:
    """A simulated Discord. `clock` must be the one the world was made with."""

    def __init__(self, world: World, *, switches: Switches | None = None, clock: SimulatorClock | None = None) -> None:
        self.world = world
        self.switches = switches or Switches()
        self.clock = clock or SimulatorClock()
        self.gateway = GatewayHub(world, self.switches, self.clock)

    def app(self) -> web.Application:
        """Return the application with all routes."""
        app = web.Application()
        gateway_http.add_routes(app, self)
        return app
