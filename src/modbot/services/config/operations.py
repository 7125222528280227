"""What the config service does at each path: thin functions from a typed call to the decision modules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from starlette.responses import Response, StreamingResponse

from modbot.cluster import protocol
from modbot.domain import pins
from modbot.domain.errors import InvalidInputError, UnavailableError
from modbot.domain.ids import TransferId
from modbot.services.config import (
    adopting,
    anonymity,
    board,
    calls,
    dedicating,
    inbox,
    leases,
    moves,
    permits,
    rebalancing,
    views,
)
from modbot.services.config.calls import Query
from modbot.services.config.service import Service

_log = structlog.get_logger(__name__)
_HTTP = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Call:
    """One call: path parameters, query, and the decoded body (None where the operation takes none)."""

    path: dict[str, str]
    query: Query
    body: Any = None


async def register(service: Service, call: Call) -> protocol.Grant:
    """Introduce a pod's incarnation; it gets its own shards back at once."""
    body: protocol.RegisterRequest = call.body
    calls.incarnation(body.incarnation)
    if not body.address.startswith(_HTTP):
        raise InvalidInputError("The address is not an http:// or https:// URL.")
    grant = await leases.register(service.database, service.terms, calls.pod_id(call.path["pod_id"]), body)
    service.sweeper.soon()
    return grant


async def renew(service: Service, call: Call) -> protocol.Grant:
    """Extend the lease of a pod and take its measurements."""
    calls.incarnation(call.body.incarnation)
    body: protocol.RenewRequest = call.body
    grant = await leases.renew(service.database, service.terms, calls.pod_id(call.path["pod_id"]), body)
    if body.draining:
        service.rebalancer.soon()
    if not grant.rest_open:
        service.metrics.breaker.inc()
    return grant


async def leave(service: Service, call: Call) -> None:
    """End a pod's incarnation, keeping or freeing its shards."""
    calls.incarnation(call.body.incarnation)
    await leases.leave(service.database, service.terms, calls.pod_id(call.path["pod_id"]), call.body)
    service.sweeper.soon()


async def identify(service: Service, call: Call) -> protocol.IdentifyAnswer:
    """Ask for one IDENTIFY, to be sent at once."""
    calls.incarnation(call.body.incarnation)
    body: protocol.IdentifyRequest = call.body
    reserve = service.settings.identify_reserve
    answer = await permits.identify(service.database, body, reserve=reserve)
    service.metrics.permits.labels(answer.reason or "granted").inc()
    if answer.remaining is not None:
        service.metrics.identify_remaining.set(answer.remaining)
        if answer.remaining < reserve:
            left = answer.remaining
            _log.warning("identify_reserve_reached", shard=body.shard_id, remaining=left, granted=answer.granted)
    return answer


async def move(service: Service, call: Call) -> protocol.MoveAnswer:
    """Begin to hand a shard to another pod."""
    body: protocol.MoveRequest = call.body
    calls.pod_id(body.target)
    return await moves.begin(
        service.database, calls.shard_id(call.path["shard_id"]), target=body.target, reason=body.reason
    )


async def complete_move(service: Service, call: Call) -> protocol.Shard:
    """Make the target of a handoff the owner: one compare-and-set."""
    calls.incarnation(call.body.incarnation)
    shard, cause = await moves.complete(service.database, calls.shard_id(call.path["shard_id"]), call.body)
    if cause is not None:
        service.metrics.moves.labels(cause, protocol.MoveState.DONE).inc()
    service.rebalancer.soon()
    return shard


async def cancel_move(service: Service, call: Call) -> None:
    """Give a handoff up: the source keeps the shard."""
    calls.incarnation(call.body.incarnation)
    cause = await moves.cancel(service.database, calls.shard_id(call.path["shard_id"]), call.body)
    if cause is not None:
        service.metrics.moves.labels(cause, protocol.MoveState.CANCELLED).inc()


async def list_moves(service: Service, _call: Call) -> protocol.MoveList:
    """List the handoffs under way and the latest that are over."""
    return await moves.latest(service.database)


async def reassign_guild(service: Service, call: Call) -> protocol.Transfer:
    """Give a guild a shard of its own, on a named pod or on one with a label."""
    body: protocol.ReassignRequest = call.body
    if (body.pod is None) == (body.label is None):
        raise InvalidInputError("Either a pod or a label is needed.")
    pins.parse_pin(body.label or body.pod or "")
    made = await dedicating.dedicate(
        service.database,
        calls.guild_id(body.guild_id),
        pod=None if body.pod is None else calls.pod_id(body.pod),
        label=body.label,
        shard_count=service.terms.shard_count,
    )
    service.sweeper.soon()
    return made


async def return_guild(service: Service, call: Call) -> protocol.Transfer:
    """Bring a guild back to the shard of the formula."""
    guild_id = calls.guild_id(call.path["guild_id"])
    return await dedicating.give_back(service.database, guild_id, shard_count=service.terms.shard_count)


async def list_transfers(service: Service, _call: Call) -> protocol.TransferList:
    """List the latest transfers of guilds between shards."""
    return await dedicating.latest(service.database)


async def read_transfer(service: Service, call: Call) -> protocol.Transfer:
    """Say how far a transfer is."""
    return await dedicating.read(service.database, _transfer_id(call))


async def advance_transfer(service: Service, call: Call) -> protocol.Transfer:
    """Make one step of a transfer; only the owner of the side whose step it is may."""
    calls.incarnation(call.body.incarnation)
    if call.body.state is protocol.TransferState.MOVING:
        raise InvalidInputError("A transfer begins with POST /reassign-guild.")
    return await dedicating.advance(service.database, _transfer_id(call), call.body)


def _transfer_id(call: Call) -> TransferId:
    return TransferId(calls.number(call.path["transfer_id"], "The transfer"))


async def rebalance_plan(service: Service, call: Call) -> protocol.RebalancePlan:
    """Say which shards should move and why; changes nothing. `asked=true` and `drain` show what these would do."""
    asked, drain = call.query.many("asked"), call.query.many("drain")
    if len(drain) > 1 or asked not in ([], ["true"]):
        raise InvalidInputError("The query takes `asked=true` and one `drain`.")
    return await rebalancing.look(
        service.database,
        settle=service.settings.placement_settle,
        asked=bool(asked),
        drain=calls.pod_id(drain[0]) if drain else None,
    )


async def rebalance(service: Service, _call: Call) -> protocol.RebalancePlan:
    """Make the cluster as even as it can be, whatever the thresholds; the rounds begin at once."""
    plan = await rebalancing.ask(service.database, settle=service.settings.placement_settle)
    service.rebalancer.soon()
    return plan


async def pause_moves(service: Service, _call: Call) -> None:
    """Begin no moves but those of pods that stop and those that are asked for by name."""
    await rebalancing.pause(service.database, paused=True)


async def resume_moves(service: Service, _call: Call) -> None:
    """Allow moves again."""
    await rebalancing.pause(service.database, paused=False)
    service.rebalancer.soon()


async def drain_pod(service: Service, call: Call) -> None:
    """Empty a pod and give it nothing until this is undone."""
    await rebalancing.cordon(service.database, calls.pod_id(call.path["pod_id"]), on=call.body.on)
    service.rebalancer.soon()


async def pin_shard(service: Service, call: Call) -> None:
    """Say where a shard should be: on a pod, where a label is, or anywhere."""
    body: protocol.PinRequest = call.body
    wanted = None if body.pin is None else pins.parse_pin(body.pin)
    await rebalancing.pin(service.database, calls.shard_id(call.path["shard_id"]), wanted)
    service.rebalancer.soon()


async def cluster(service: Service, _call: Call) -> protocol.ClusterDetail:
    """Return what was decided for the whole cluster: shard count, pause."""
    return await views.cluster(service.database)


async def adoption(service: Service, _call: Call) -> protocol.AdoptionState:
    """Say what this database knows of the shards, to be compared with a replica store."""
    return await adopting.state(service.database, service.terms)


async def adopt(service: Service, call: Call) -> None:
    """Take over from a replica store what another database has granted; only while no pod has a lease."""
    body: protocol.AdoptRequest = call.body
    for shard in body.shards:
        calls.shard_id(shard.shard_id)
    for transfer in body.transfers:
        calls.guild_id(transfer.guild_id)
    await adopting.adopt(service.database, service.terms, body)


async def append_inbox(service: Service, call: Call) -> None:
    """Journal interactions before they are forwarded to their owner."""
    _check_entries(call.body.entries)
    await inbox.append(service.database, call.body.entries)


async def defer_inbox(service: Service, call: Call) -> None:
    """Tell owners that Discord has a deferral for these and a follow-up is due."""
    _check_entries(call.body.entries)
    await inbox.defer(service.database, call.body.entries)


async def read_inbox(service: Service, call: Call) -> protocol.InboxPage:
    """Read what waits for a shard (up to 500); only its owner may."""
    return await inbox.read(
        service.database,
        calls.shard_id(call.path["shard_id"]),
        pod_id=calls.pod_id(call.query.one("pod_id")),
        incarnation=calls.incarnation(call.query.one("incarnation")),
        epoch=calls.epoch(call.query.one("epoch")),
        after=calls.position(call.query.many("after")),
    )


async def acknowledge_inbox(service: Service, call: Call) -> None:
    """Forget entries that the shard file holds durably; only the owner may."""
    calls.incarnation(call.body.incarnation)
    await inbox.acknowledge(service.database, calls.shard_id(call.path["shard_id"]), call.body)


async def anonymity_key(service: Service, _call: Call) -> protocol.AnonymityKey:
    """Share the key under which anonymous people get their number today."""
    return await anonymity.key_of_today(service.database)


async def watch(service: Service, _call: Call) -> Response:
    """Follow the table of pods and shards as a stream of JSON lines."""
    return StreamingResponse(_lines(service.board), media_type="application/x-ndjson")


async def started(service: Service, _call: Call) -> protocol.Ready:
    """Say that the database has had its schema and the table was read once."""
    if not service.board.first_read.is_set():
        raise UnavailableError("The table of pods and shards was not read yet.")
    return protocol.Ready()


async def health(_service: Service, _call: Call) -> protocol.Ready:
    """Say that the process is alive."""
    return protocol.Ready()


async def ready(service: Service, _call: Call) -> protocol.Ready:
    """Say that the database answers and has the schema of this version."""
    async with service.database.transaction() as connection:
        if await connection.value("shard_count") != service.settings.shard_count:
            raise UnavailableError("The database has another shard count than this process.")
    return protocol.Ready()


async def shards(service: Service, _call: Call) -> protocol.ShardList:
    """List every shard with its owner, or why it has none."""
    return await views.shards(service.database)


async def pods_health(service: Service, _call: Call) -> protocol.PodList:
    """List every pod with its lease and the measurements of its shards."""
    return await views.pods_health(service.database)


async def guild_assignments(service: Service, call: Call) -> protocol.GuildAssignments:
    """Say where all guilds live; `guild_id` (repeatable) names some."""
    with service.metrics.assignment_seconds.time():
        guild_ids = [calls.guild_id(text) for text in call.query.many("guild_id")]
        return views.assignments(service.board.table(), guild_ids)


async def guild_assignment(service: Service, call: Call) -> protocol.Assignment:
    """Say where one guild lives."""
    with service.metrics.assignment_seconds.time():
        return views.assignment(service.board.table(), calls.guild_id(call.path["guild_id"]))


async def metrics(service: Service, _call: Call) -> Response:
    """Return Prometheus's text format."""
    size, idle = service.database.sizes()
    service.metrics.pool_limit.set(service.database.limit())
    service.metrics.pool.labels("idle").set(idle)
    service.metrics.pool.labels("busy").set(size - idle)
    service.metrics.watchers.set(service.board.watchers())
    service.metrics.describe(service.board.latest, service.board.holdings, up=service.board.fresh)
    return Response(service.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _lines(source: board.Board) -> AsyncIterator[bytes]:
    encoder = msgspec.json.Encoder()
    async for line in source.watch():
        yield encoder.encode(line) + b"\n"


def _check_entries(entries: list[protocol.InboxEntry]) -> None:
    for entry in entries:
        calls.shard_id(entry.shard_id)
        if not 0 <= entry.interaction_id <= calls.LARGEST_ID:
            raise InvalidInputError("An interaction id is not a snowflake.")
