"""The composition root: one world with everything that shows it to the outside, on one aiohttp application."""

from aiohttp import web

from discordsim.chat import routes as chat_routes
from discordsim.clock import SimulatorClock
from discordsim.control import http as control_http
from discordsim.gateway import http as gateway_http
from discordsim.gateway.hub import GatewayHub
from discordsim.interactions import routes as interaction_routes
from discordsim.interactions.hub import Interactions
from discordsim.interactions.uploads import FileStore
from discordsim.oauth2 import routes as oauth2_routes
from discordsim.rest.app import add_routes as add_rest_routes
from discordsim.rest.calls import MAX_BODY
from discordsim.rest.log import RestLog
from discordsim.stalls import Stalls
from discordsim.switches import Switches
from discordsim.traffic import Traffic
from discordsim.world.world import World


class Simulator:
    """A simulated Discord. `clock` must be the one the world was made with."""

    def __init__(self, world: World, *, switches: Switches | None = None, clock: SimulatorClock | None = None) -> None:
        self.world = world
        self.switches = switches or Switches()
        self.clock = clock or SimulatorClock()
        self.gateway = GatewayHub(world, self.switches, self.clock)
        self.files = FileStore(world)
        self.rest_log = RestLog()
        self.interactions = Interactions(world, self.gateway, files=self.files)
        self.traffic = Traffic(world, self.gateway)
        self.stalls = Stalls(self.clock)

    def app(self) -> web.Application:
        """Return the application with all routes."""
        app = web.Application(client_max_size=MAX_BODY)
        gateway_http.add_routes(app, self)
        interaction_routes.add_routes(app, self)
        oauth2_routes.add_routes(app, self)
        chat_routes.add_routes(app, self)
        control_http.add_routes(app, self)
        add_rest_routes(app, self)
        app.cleanup_ctx.append(self.stalls.during)
        return app
