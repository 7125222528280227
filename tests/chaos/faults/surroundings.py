"""What pods stand on goes away: PostgreSQL, the config service, the way to it, the replica store, the right time."""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

from chaos.faults.fault import Fault, Parameters, any_pod
from chaos.faults.pods import lose
from chaos.systems import System

_HERE, _SWAP = -100, 2
"""Linux: AT_FDCWD and RENAME_EXCHANGE."""
_AFTERWARDS = 12.0
"""Seconds after an outage until every pod has been renewed, whatever it was doing."""


async def stop_postgres(system: System, parameters: Parameters) -> None:
    """F7: PostgreSQL is away."""
    async with _nobody_can_renew(system):
        await system.stack.stop_postgres()
        await asyncio.sleep(parameters["seconds"])
        await system.stack.start_postgres()


async def cut_off(system: System, parameters: Parameters) -> None:
    """F7: one pod cannot reach the config service; its connections break, or nothing comes back on them."""
    proxy = system.proxies[parameters["pod"]]
    if parameters["silent"]:
        proxy.swallow()
    else:
        proxy.cut()
    await asyncio.sleep(parameters["seconds"])
    proxy.mend()


async def stop_config(system: System, parameters: Parameters) -> None:
    """F13: all config pods are away."""
    children = [child for name, child in system.stack.children.items() if name.startswith("config")]
    async with _nobody_can_renew(system):
        for child in children:
            child.hold(held=True)
            child.kill()
        await asyncio.sleep(parameters["seconds"])
        for child in children:
            child.hold(held=False)


async def hide_replicas(system: System, parameters: Parameters) -> None:
    """F8: the replica store takes nothing and gives nothing."""
    give_back = _take_store_away(system)
    await asyncio.sleep(parameters["seconds"])
    give_back()


async def lose_behind(system: System, parameters: Parameters) -> None:
    """F8: the machine is lost while the store is away, so that the replicas of its shards end seconds before it."""
    bring = _take_store_away(system)
    await asyncio.sleep(parameters["seconds"])

    async def give_back() -> None:
        bring()

    await lose(system, parameters, afterwards=give_back)


def _take_store_away(system: System) -> Callable[[], None]:
    """Put a file in the place of the store, and return what brings the store back.

    Both in one step: a sidecar that finds nothing there for a moment would make a folder of its own, and believe in it.
    """
    store = system.setup.state / "replicas"
    blocker = store.with_name("no-replicas")
    blocker.write_text("This is no folder.\n", "utf-8")
    _exchange(store, blocker)
    return lambda: _exchange(store, blocker)


def _exchange(one: Path, other: Path) -> None:
    """Swap two names at once."""
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    if renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _SWAP):
        raise OSError(ctypes.get_errno(), "The store could not be taken away.")


async def damage_replica(system: System, parameters: Parameters) -> None:
    """F14: the newest files of a shard's replica are damaged, and then its machine is lost."""
    name = f"gateway-{parameters['pod']}"
    since = time.time()
    system.stack.gateway(parameters["pod"]).kill()  # a second epoch, so that there is an older one to fall back to
    await system.flowing()
    await asyncio.sleep(3.0)
    shards = await system.owned_by(name)
    system.stack.sidecar(parameters["pod"]).hold(held=True)
    system.stack.sidecar(parameters["pod"]).kill()
    if shards:
        _damage(system.setup.state / "replicas" / min(shards), parameters["how"])
    await lose(system, parameters)
    system.rolled_back.append((since - 5.0, time.time()))


def _damage(folder: Path, how: str) -> None:
    epoch = max(folder.iterdir(), key=lambda each: int(each.name[1:]))
    files = sorted((each for each in epoch.rglob("*.ltx")), key=lambda each: each.stat().st_mtime)
    for path in files[-3:]:
        if how == "truncate":
            path.write_bytes(path.read_bytes()[:-60])
        else:
            raw = bytearray(path.read_bytes())
            raw[len(raw) // 2] ^= 0xFF
            path.write_bytes(raw)


@asynccontextmanager
async def _nobody_can_renew(system: System):
    """While nobody can be granted anything, pods may act past their lease (failsafe mode)."""
    since = time.time()
    try:
        yield
    finally:
        system.history.unfenced.append((since, time.time() + _AFTERWARDS))


def _seconds(*choices: float) -> Callable[[random.Random], Parameters]:
    return lambda chance: {"seconds": chance.choice(choices)}


def _pod_seconds(*choices: float) -> Callable[[random.Random], Parameters]:
    return lambda chance: any_pod(chance) | {"seconds": chance.choice(choices)}


def _cut(chance: random.Random) -> Parameters:
    return any_pod(chance) | {"seconds": chance.choice((2.0, 5.0, 10.0)), "silent": chance.random() < 0.5}


def _how(chance: random.Random) -> Parameters:
    return any_pod(chance) | {"how": chance.choice(("truncate", "flip"))}


FAULTS = (
    Fault("F7-postgres", "PostgreSQL is away", _seconds(3.0, 10.0), stop_postgres),
    Fault("F7-cut-off", "a pod cannot reach the config service", _cut, cut_off),
    Fault("F8-store", "the replica store is away", _seconds(3.0, 8.0), hide_replicas),
    Fault("F8-behind", "a machine is lost, and the store had been away", _pod_seconds(4.0, 6.0), lose_behind),
    Fault("F13-config", "the config pods are away", _seconds(1.0, 5.0, 9.0), stop_config),
    Fault(
        "F14-damage",
        "a replica is damaged, then its machine lost",
        _how,
        damage_replica,
        lambda _parameters: True,
        short=False,
    ),
)
