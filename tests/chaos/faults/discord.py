"""Discord does what it does: breaks connections, forgets sessions, repeats and skips events, limits and refuses requests."""

from __future__ import annotations

import asyncio
import random

from chaos.faults.fault import Fault, Parameters, any_pod
from chaos.systems import SWITCHES, System

_SOCKETS = (
    {"action": "cut"},
    {"action": "reconnect"},
    {"action": "half_open"},
    {"action": "close", "code": 4000},
    {"action": "close", "code": 4007},
    {"action": "close", "code": 4009},
    {"action": "invalidate", "resumable": True},
    {"action": "invalidate", "resumable": False},
)
_HARMLESS = ("cut", "reconnect", "half_open")


async def break_sockets(system: System, parameters: Parameters) -> None:
    """F9: every connection is broken in one of Discord's ways."""
    await system.stack.control("POST", "faults/sockets", parameters)
    if parameters["action"] == "half_open":
        await asyncio.sleep(5.0)
        await system.stack.control("POST", "faults/sockets", {"action": "cut"})


async def storm(system: System, parameters: Parameters) -> None:
    """F9: everybody is told to reconnect, again and again."""
    await system.stack.control("POST", "faults/storm", {"count": parameters["count"]})
    await asyncio.sleep(2.0)
    await system.stack.control("POST", "faults/clear")


async def exceed_window(system: System, parameters: Parameters) -> None:
    """F10: a pod is away for longer than Discord remembers."""
    child = system.stack.gateway(parameters["pod"])
    await system.stack.control("POST", "switches", {"buffer_events": 10})
    child.hold(held=True)
    child.kill()
    await asyncio.sleep(2.0)
    child.hold(held=False)
    await asyncio.sleep(3.0)
    await system.stack.control("POST", "switches", {"buffer_events": SWITCHES["buffer_events"]})


async def disturb_events(system: System, parameters: Parameters) -> None:
    """F11: events come twice, in another order, or get lost on the way."""
    await system.stack.control("POST", "faults/dispatch", parameters)
    await asyncio.sleep(2.0)
    await system.stack.control("POST", "faults/clear")


async def limit_requests(system: System, parameters: Parameters) -> None:
    """F18: Discord answers requests with 429 or 5xx, or not at all."""
    await system.stack.control(
        "POST", "rest/faults", {key: value for key, value in parameters.items() if key != "during"}
    )
    await asyncio.sleep(parameters["during"])
    await system.stack.control("DELETE", "rest/faults")


async def spare_identifies(system: System, parameters: Parameters) -> None:
    """F19: hardly any IDENTIFY is left, and a pod dies."""
    counted = (await system.stack.control("GET", "counters"))["identifies"]
    await system.stack.control("POST", "switches", {"identify_limit": counted + 50})
    system.stack.gateway(parameters["pod"]).kill()
    await system.flowing()
    await system.stack.control("POST", "switches", {"identify_limit": 1000})


def _event(chance: random.Random) -> Parameters:
    kind = chance.choice(("duplicate", "reorder", "drop"))
    return {"kind": kind, "count": chance.randint(2, 5)}


def _request(chance: random.Random) -> Parameters:
    fault = chance.choice(
        (
            {"kind": "rate_limit", "seconds": 0.5},
            {"kind": "server_error", "status": 503},
            {"kind": "drop_response", "probability": 0.5},
            {"kind": "reset", "probability": 0.5},
        )
    )
    return {**fault, "method": "POST", "route": "/messages", "during": chance.choice((2.0, 4.0))}


FAULTS = (
    Fault(
        "F9-sockets",
        "all connections to Discord break",
        lambda chance: dict(chance.choice(_SOCKETS)),
        break_sockets,
        lambda parameters: parameters["action"] not in _HARMLESS and parameters.get("code") != 4000,
    ),
    Fault("F9-storm", "everybody has to reconnect, repeatedly", lambda chance: {"count": chance.randint(5, 20)}, storm),
    Fault(
        "F10-window",
        "a pod is away for longer than Discord remembers",
        any_pod,
        exceed_window,
        lambda _parameters: True,
    ),
    Fault("F11-events", "events are doubled, reordered or skipped", _event, disturb_events),
    Fault("F18-requests", "Discord refuses requests", _request, limit_requests),
    Fault("F19-budget", "hardly any IDENTIFY is left, and a pod dies", any_pod, spare_identifies, target=5.0),
)
