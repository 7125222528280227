"""Routes below /control: switches, time, inspection, faults, traffic and scripted acts."""

from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web

from discordsim import acting, traffic
from discordsim.control import bodies
from discordsim.control.faults import FaultRoutes
from discordsim.gateway.counting import Counters
from discordsim.gateway.sessions import Delivered
from discordsim.switches import changed
from discordsim.world.payloads import Json, text_id

if TYPE_CHECKING:
    from discordsim.simulator import Simulator


class TimeBody(msgspec.Struct, forbid_unknown_fields=True):
    """How far to skip, in seconds."""

    advance: Annotated[float, msgspec.Meta(ge=0)]


def add_routes(app: web.Application, simulator: "Simulator") -> None:
    """Add the control API to an application."""
    app.middlewares.append(bodies.errors)
    routes = _Routes(simulator)
    for name in ("sessions", "counters", "delivered", "withheld", "stalls", "switches", "time", "traffic"):
        app.router.add_get(f"/control/{name}", getattr(routes, name))
    app.router.add_post("/control/switches", routes.change_switches)
    app.router.add_post("/control/time", routes.change_time)
    app.router.add_post("/control/reset-counters", routes.reset_counters)
    app.router.add_post("/control/traffic", routes.start_traffic)
    app.router.add_post("/control/traffic/stop", routes.stop_traffic)
    app.router.add_post("/control/act", routes.act)
    FaultRoutes(simulator.gateway).add(app)
    app.on_shutdown.append(routes.shut_down)


class _Routes:
    def __init__(self, simulator: "Simulator") -> None:
        self._simulator, self._hub = simulator, simulator.gateway

    async def sessions(self, request: web.Request) -> web.Response:
        """Return the sessions that can be resumed; with `ended=yes` also those that are over."""
        ended = request.query.get("ended", "no")
        if ended not in {"yes", "no"}:
            return bodies.refused("ended must be yes or no")
        found = self._hub.everyone if ended == "yes" else self._hub.sessions
        return bodies.answer([session.payload() for session in found.values()])

    async def counters(self, _request: web.Request) -> web.Response:
        return bodies.answer(self._hub.counters.payload())

    async def reset_counters(self, _request: web.Request) -> web.Response:
        fresh = Counters()
        for name in Counters.__slots__:
            setattr(self._hub.counters, name, getattr(fresh, name))
        return bodies.answer({})

    async def delivered(self, request: web.Request) -> web.Response:
        """Return the log of one session (also an ended one), from `after_seq` on."""
        session = self._hub.everyone.get(request.query.get("session_id", ""))
        after = request.query.get("after_seq", "0")
        if session is None or not after.isdecimal():
            return bodies.refused("session_id must name a session, after_seq must be a number")
        lines = [_line(one) for one in session.delivered if one.seq > int(after)]
        return bodies.answer({"session_id": session.id, "shard": session.shard, "seq": session.seq, "log": lines})

    async def withheld(self, _request: web.Request) -> web.Response:
        """Return every event that a `lose` fault kept from a session; `seq` is the one before it."""
        return bodies.answer([{"session_id": name} | _line(one) for name, one in self._hub.path.withheld])

    async def stalls(self, _request: web.Request) -> web.Response:
        """Return when the simulator itself stood still."""
        return bodies.answer(self._simulator.stalls.payload())

    async def switches(self, _request: web.Request) -> web.Response:
        return bodies.answer(self._simulator.switches)

    async def change_switches(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=dict)
        return bodies.answer(changed(self._simulator.switches, wanted))

    async def time(self, _request: web.Request) -> web.Response:
        return bodies.answer({"unix": self._simulator.clock.unix()})

    async def change_time(self, request: web.Request) -> web.Response:
        body = await bodies.read(request, TimeBody)
        self._simulator.clock.advance(body.advance)
        return bodies.answer({"unix": self._simulator.clock.unix()})

    async def traffic(self, _request: web.Request) -> web.Response:
        return bodies.answer(self._simulator.traffic.payload())

    async def start_traffic(self, request: web.Request) -> web.Response:
        plan = await bodies.read(request, traffic.Plan)
        try:
            self._simulator.traffic.start(plan)
        except ValueError as error:
            return bodies.refused(str(error))
        return bodies.answer(self._simulator.traffic.payload())

    async def stop_traffic(self, _request: web.Request) -> web.Response:
        await self._simulator.traffic.stop()
        return bodies.answer(self._simulator.traffic.payload())

    async def act(self, request: web.Request) -> web.Response:
        return bodies.answer(acting.perform(self._simulator.world, await bodies.read(request, acting.Act)))

    async def shut_down(self, _app: web.Application) -> None:
        await self._simulator.traffic.stop()


def _line(one: Delivered) -> Json:
    line: Json = {"seq": one.seq, "name": one.name, "guild_id": text_id(one.guild_id), "key": list(one.key)}
    return line | {"data": msgspec.Raw(one.data)} if one.data else line
