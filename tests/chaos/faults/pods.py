"""Pods die, freeze, leave in order, lose their machine, their sidecar or their means."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import signal
from collections.abc import Awaitable, Callable

import aiohttp

from chaos.faults.fault import Fault, Parameters, any_pod
from chaos.systems import System

_STORM = {"kind": "server_error", "method": "POST", "route": "/messages", "status": 503}


async def kill(system: System, parameters: Parameters) -> None:
    """F1: the process dies at any line; its volume and its sidecar stay."""
    system.stack.gateway(parameters["pod"]).kill()


async def lose(
    system: System, parameters: Parameters, *, afterwards: Callable[[], Awaitable[None]] | None = None
) -> None:
    """F2: the machine is gone with its volume; when others have taken its shards over, an empty one takes its place."""
    name = f"gateway-{parameters['pod']}"
    shards = set(await system.owned_by(name))
    await system.stack.lose(parameters["pod"])
    if afterwards is not None:
        await afterwards()
    await _taken_over(system, name, shards)
    await system.flowing()
    await system.replace(parameters["pod"])


async def restart_all(system: System, _parameters: Parameters) -> None:
    """F3: a rolling update. Each pod is asked to stop, hands its shards over, ends, and comes back before the next is asked."""
    for number in range(system.setup.gateways):
        child = system.stack.gateway(number)
        restarts = child.restarts
        system.signal(child.name, signal.SIGTERM)

        async def back(child=child, restarts=restarts, number=number) -> bool:
            if child.restarts == restarts:
                return False
            async with system.stack.session.get(
                f"http://127.0.0.1:{system.stack.ports.gateways[number]}/ready"
            ) as answer:
                return answer.status == 200

        await system.stack.until(back, f"{child.name} to be back")
        await system.flowing()


async def freeze(system: System, parameters: Parameters) -> None:
    """F6: a pod is paused with effects under way, long enough to lose its lease or not, and goes on as if nothing had happened."""
    child = system.stack.gateway(parameters["pod"])
    await system.stack.control("POST", "rest/faults", _STORM)
    await asyncio.sleep(0.7)  # effects gather that have been tried and will be tried again
    system.signal(child.name, signal.SIGSTOP)
    await system.stack.control("DELETE", "rest/faults")
    await asyncio.sleep(parameters["seconds"])
    system.signal(child.name, signal.SIGCONT)


async def kill_sidecar(system: System, parameters: Parameters) -> None:
    """F17: the sidecar is ended, as by the kernel when memory is short."""
    system.stack.sidecar(parameters["pod"]).kill()
    await asyncio.sleep(1.0)


async def fill_disk(system: System, parameters: Parameters) -> None:
    """F17: files of the pod, its log among them, cannot grow for a while (EFBIG, as ENOSPC would)."""
    await _limited(system, parameters, resource.RLIMIT_FSIZE, 4096)


async def take_descriptors(system: System, parameters: Parameters) -> None:
    """F17: the pod can open nothing more for a while (EMFILE)."""
    await _limited(system, parameters, resource.RLIMIT_NOFILE, 8)


async def _limited(system: System, parameters: Parameters, which: int, limit: int) -> None:
    pid = system.stack.gateway(parameters["pod"]).pid
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        before = resource.prlimit(pid, which)
        resource.prlimit(pid, which, (limit, before[1]))
        await asyncio.sleep(parameters["seconds"])
        resource.prlimit(pid, which, before)


async def flood(system: System, parameters: Parameters) -> None:
    """F12: many people ask at once while a pod dies."""
    await system.load.flood(parameters["count"])
    await kill(system, parameters)


async def _taken_over(system: System, name: str, shards: set[str]) -> None:
    async def taken() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            rows = (await system.stack.internal("/shards"))["shards"]
            return all(row["owner"] not in {None, name} for row in rows if row["shard_id"] in shards)
        return False

    await system.stack.until(taken, "new owners of the lost shards")


def _for_seconds(*choices: float):
    def draw(chance: random.Random) -> Parameters:
        return any_pod(chance) | {"seconds": chance.choice(choices)}

    return draw


def _flood(chance: random.Random) -> Parameters:
    return any_pod(chance) | {"count": chance.choice((50, 100))}


FAULTS = (
    Fault("F1-kill", "a pod is killed", any_pod, kill, target=5.0),
    Fault("F2-node", "a machine is lost with its volume", any_pod, lose, target=10.0),
    Fault("F3-rolling", "all pods are restarted in turn", lambda _chance: {}, restart_all, target=1.0, short=False),
    Fault("F6-freeze", "a pod is paused and goes on", _for_seconds(3.0, 9.0, 12.0), freeze),
    Fault("F12-flood", "many ask at once while a pod dies", _flood, flood, target=5.0),
    Fault("F17-sidecar", "a sidecar is killed", any_pod, kill_sidecar),
    Fault("F17-disk", "a pod's files cannot grow", _for_seconds(2.0, 4.0), fill_disk, short=False),
    Fault("F17-descriptors", "a pod can open no more files", _for_seconds(2.0, 4.0), take_descriptors, short=False),
)
