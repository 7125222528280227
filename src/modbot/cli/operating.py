"""The operator's verbs: look at shards and pods, move, drain, pin, rebalance, pause.

Each prints first what it is going to do, then does it, and with `--wait` follows it to its end. The exit code is 0 when it is done
(or begun, without `--wait`), 1 when it was given up or took too long, 2 when it was refused. What other programs read (`--json`)
goes to stdout, progress to stderr.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from modbot.cli import finding, tables, waiting
from modbot.cluster import protocol
from modbot.cluster.client import ConfigClient
from modbot.domain.errors import NotFoundError
from modbot.domain.ids import ShardId, parse_formula_shard, parse_pod_id
from modbot.domain.pins import matches, parse_pin

Work = Callable[[ConfigClient], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a verb speaks and whether it waits; `timeout` in seconds."""

    as_json: bool = False
    wait: bool = False
    timeout: float = 600.0


def run(work: Work, state: Path) -> int:
    """Do one verb against the system that `finding` finds."""

    async def main() -> int:
        async with finding.client(state) as client:
            return await work(client)

    try:
        return asyncio.run(main())
    except KeyboardInterrupt:
        sys.stderr.write("Not waiting any more; what was begun goes on.\n")
        return 130


def shards(manner: Manner) -> Work:
    """List the shards."""

    async def work(client: ConfigClient) -> int:
        found = await client.shards()
        return _show(manner, found, tables.shards(found.shards))

    return work


def pods(manner: Manner) -> Work:
    """List the pods."""

    async def work(client: ConfigClient) -> int:
        found, listed = await asyncio.gather(client.pods_health(), client.shards())
        return _show(manner, found, tables.pods(found.pods, listed.shards))

    return work


def move(shard: str, pod: str, manner: Manner) -> Work:
    """Hand one shard to a pod."""
    parse_formula_shard(ShardId(shard))
    target = parse_pod_id(pod)

    async def work(client: ConfigClient) -> int:
        found = _shard(await client.shards(), shard)
        _say(manner, f"{shard} goes from {found.owner or 'nobody'} to {target}; events pause for a moment.")
        answer = await client.move(found.shard_id, protocol.MoveRequest(target=target))
        if not manner.wait:
            return _show(manner, answer, f"Begun as move {answer.move_id}; `modbot shards` shows it.")

        async def look() -> waiting.State:
            latest = next((each for each in (await client.moves()).moves if each.move_id == answer.move_id), None)
            if latest is None:
                return waiting.State(0, over=True, failed=True, word="The config service has forgotten the move.")
            failed = latest.state is protocol.MoveState.CANCELLED
            under_way = latest.state is protocol.MoveState.MOVING
            return waiting.State(int(under_way), over=not under_way, failed=failed, word=latest.detail)

        return await _wait(manner, f"moving {shard}", look, f"{target} serves {shard}.")

    return work


def drain(pod: str, manner: Manner, *, undo: bool) -> Work:
    """Empty a pod, or let it receive again."""
    pod_id = parse_pod_id(pod)

    async def begin(client: ConfigClient) -> protocol.RebalancePlan | None:
        known = next((each for each in (await client.pods_health()).pods if each.pod_id == pod_id), None)
        if known is None:
            raise NotFoundError(f"There is no pod {pod_id!r}.")
        planned = None
        if known.state is protocol.PodState.LIVE:
            planned = await client.rebalance_plan(drain=pod_id)
            owned = frozenset(each.shard_id for each in (await client.shards()).shards if each.owner == pod_id)
            _print(manner, tables.plan(planned, only=owned))
            _say(manner, f"{pod_id} gives {len(owned)} shards away and receives none until `--undo`.")
        else:
            _say(manner, f"{pod_id} is {known.state}; it will receive nothing when it comes back, until `--undo`.")
        await client.drain(pod_id, on=True)
        return planned

    async def work(client: ConfigClient) -> int:
        if undo:
            _say(manner, f"{pod_id} may receive shards again.")
            await client.drain(pod_id, on=False)
            return _show(manner, protocol.DrainRequest(on=False), "")
        planned = await begin(client)
        if not manner.wait:
            return _show(manner, planned or protocol.DrainRequest(on=True), "")

        async def look() -> waiting.State:
            left = [each for each in (await client.shards()).shards if each.owner == pod_id]
            stays = {each.shard_id: each.reason for each in (await client.rebalance_plan()).held} if left else {}
            word = next(
                (f"{each.shard_id} stays: {stays[each.shard_id]}" for each in left if each.shard_id in stays), ""
            )
            return waiting.State(len(left), over=not left, word=word)

        return await _wait(manner, f"draining {pod_id}", look, f"{pod_id} has no shards any more.")

    return work


def rebalance(manner: Manner, *, dry_run: bool) -> Work:
    """Make the cluster as even as it can be."""

    async def work(client: ConfigClient) -> int:
        planned = await client.rebalance_plan(asked=True)
        if dry_run:
            return _show(manner, planned, tables.plan(planned))
        _print(manner, tables.plan(planned))
        planned = await client.rebalance()
        if not manner.wait:
            return _show(manner, planned, "")

        async def look() -> waiting.State:
            plan, listed = await asyncio.gather(client.rebalance_plan(), client.shards())
            moving = sum(each.target is not None for each in listed.shards)
            given_up = plan.paused
            word = "Moves were paused." if given_up else plan.verdict
            over = given_up or not (plan.asked or moving)
            return waiting.State(len(plan.moves) + moving, over=over, failed=given_up, word=word)

        return await _wait(manner, "rebalancing", look, "")

    return work


def pause(manner: Manner, *, paused: bool) -> Work:
    """Stop or allow moves that nobody asked for by name."""

    async def work(client: ConfigClient) -> int:
        if paused:
            _say(manner, "No more moves begin but those of pods that stop and those made with `modbot move`.")
        else:
            _say(manner, "Moves may begin again.")
        await client.pause_moves(paused=paused)
        return _show(manner, await client.cluster(), "")

    return work


def pin(shard: str, place: str | None, manner: Manner) -> Work:
    """Pin a shard to a pod or a label, or take the pin away."""
    parse_formula_shard(ShardId(shard))
    wanted = None if place is None else parse_pin(place)

    async def work(client: ConfigClient) -> int:
        found = _shard(await client.shards(), shard)
        _say(manner, f"{shard} may be anywhere." if wanted is None else f"{shard} is pinned to {wanted}.")
        await client.pin(found.shard_id, wanted)
        if not manner.wait:
            return _show(manner, _shard(await client.shards(), shard), "")

        async def look() -> waiting.State:
            listed, known, planned = await asyncio.gather(
                client.shards(), client.pods_health(), client.rebalance_plan()
            )
            owner = _shard(listed, shard).owner
            fitting = {pod.pod_id for pod in known.pods if wanted is not None and _open(pod) and matches(wanted, pod)}
            if wanted is None or owner in fitting:
                return waiting.State(0, over=True)
            if not fitting:
                return waiting.State(1, over=True, failed=True, word=f"No live pod is {wanted}; it moves when one is.")
            held = next((each.reason for each in planned.held if each.shard_id == shard), "")
            return waiting.State(1, word=held or planned.waits)

        return await _wait(manner, f"pinning {shard}", look, f"{shard} is where it should be.")

    return work


async def _wait(manner: Manner, title: str, look: Callable[[], Awaitable[waiting.State]], success: str) -> int:
    state = await waiting.follow(title, look, timeout=manner.timeout)
    outcome = {"done": not state.failed, "left": state.left, "detail": state.word}
    if manner.as_json:
        sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
    elif state.failed:
        sys.stderr.write(f"Not done: {state.word or 'it was given up.'}\n")
    else:
        _say(manner, success or state.word)
    return int(state.failed)


def _shard(listed: protocol.ShardList, name: str) -> protocol.ShardDetail:
    found = next((each for each in listed.shards if each.shard_id == name), None)
    if found is None:
        raise NotFoundError(f"There is no shard {name!r}.")
    return found


def _open(pod: protocol.PodHealth) -> bool:
    return pod.state is protocol.PodState.LIVE and not (pod.draining or pod.cordoned)


def _say(manner: Manner, text: str) -> None:
    if text and not manner.as_json:
        tables.console().print(text, markup=False, highlight=False)


def _print(manner: Manner, found: object) -> None:
    if not manner.as_json:
        tables.console().print(found)


def _show(manner: Manner, answer: protocol.Message, found: object) -> int:
    """Print the answer as JSON, or else what people read."""
    if manner.as_json:
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    elif found:
        tables.console().print(found)
    return 0
