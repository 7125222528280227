"""Shards move between live pods, undisturbed or not."""

from __future__ import annotations

import asyncio
import contextlib
import random

import aiohttp

from chaos.faults.fault import Fault, Parameters
from chaos.systems import System


async def move_some(system: System, parameters: Parameters) -> None:
    """F4: some shards are handed over, one after the other."""
    chance = random.Random(parameters["seed"])
    for _ in range(parameters["moves"]):
        await over(system, await begin(system, chance))


async def kill_in_between(system: System, parameters: Parameters) -> None:
    """F5: during a handoff the source, the target or the config pod is killed, at any step."""
    chance = random.Random(parameters["seed"])
    move = await begin(system, chance)
    if move is None:
        return
    await asyncio.sleep(parameters["after"])
    victim = {"source": move["source"], "target": move["target"], "config": "config-0"}[parameters["victim"]]
    system.stack.children[victim].kill()
    await over(system, move)


async def begin(system: System, chance: random.Random) -> dict[str, str] | None:
    """Begin to move a random shard to a random pod; None when it cannot be moved now."""
    shard = chance.choice((await system.stack.internal("/shards"))["shards"])
    pods = [f"gateway-{number}" for number in range(system.setup.gateways) if f"gateway-{number}" != shard["owner"]]
    status, told = await system.post(f"/shards/{shard['shard_id']}/move", {"target": chance.choice(pods)})
    return told if status == 200 else None


async def over(system: System, move: dict[str, str] | None) -> None:
    """Wait until a handoff has come to its end, one way or the other."""
    if move is None:
        return

    async def ended() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            moves = (await system.stack.internal("/moves"))["moves"]
            return not any(each["state"] == "moving" and each["move_id"] == move["move_id"] for each in moves)
        return False

    await system.stack.until(ended, "a handoff to be over")


def _moves(chance: random.Random) -> Parameters:
    return {"seed": chance.randrange(2**31), "moves": chance.randint(2, 4)}


def _kill(chance: random.Random) -> Parameters:
    return {
        "seed": chance.randrange(2**31),
        "victim": chance.choice(("source", "target", "config")),
        "after": round(chance.uniform(0.0, 0.5), 3),
    }


FAULTS = (
    Fault("F4-move", "shards are handed over", _moves, move_some, target=1.0),
    Fault("F5-move-killed", "somebody dies during a handoff", _kill, kill_in_between, target=10.0),
)
