"""The giver's side of a transfer: record, cut and lend a guild on request, and settle what the config service has decided.

The taker asks over the internal API; each answer comes after a commit, and the cut also after the replica holds it, so that a takeover of
this shard does not bring the guild back to life. Whether the guild is given up or kept after all is asked of the config service by this
side itself, again and again: not the taker's word, nor its silence, makes the giver serve the guild again or remove its rows.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from modbot.cluster import protocol
from modbot.cluster.protocol import TransferState
from modbot.domain.errors import UnavailableError
from modbot.domain.ids import GuildId, TransferId
from modbot.services.gateway import archiving
from modbot.services.gateway.serving import ServedShard
from modbot.services.gateway.surroundings import Surroundings
from modbot.shard import archives, arriving, exporting, transfers
from modbot.shard.archive import Purpose
from modbot.shard.engine import Engine
from modbot.shard.transfers import State

Served = Callable[[Request], ServedShard]
Guard = Callable[[Callable[[Request], Awaitable[Response]]], Callable[[Request], Awaitable[Response]]]
_log = structlog.get_logger()


class Recording(msgspec.Struct, frozen=True):
    """The giver's answer to the first call: `recording`, or `cut` when an earlier try came that far."""

    state: State


class Applied(msgspec.Struct, frozen=True):
    """Hashes of the last events that the giver applied, in order."""

    hashes: list[int]


def routes(around: Surroundings, served_of: Served, guard: Guard) -> list[Route]:
    """Return the routes under `/shards/{shard_id}/guilds/{guild_id}/transfers/{transfer_id}`."""

    async def record(request: Request) -> Response:
        engine, guild_id, transfer_id = _asked(served_of, request)
        state = await engine.commit(lambda tx: transfers.begin_recording(tx, guild_id, transfer_id))
        return Response(msgspec.json.encode(Recording(state)), media_type="application/json")

    async def recorded(request: Request) -> Response:
        engine, guild_id, _ = _asked(served_of, request)
        return _answer(await engine.commit(lambda tx: transfers.recorded(tx, guild_id)))

    async def cut(request: Request) -> Response:
        engine, guild_id, transfer_id = _asked(served_of, request)
        async with engine.without_effects(guild_id):
            hashes = await engine.commit(lambda tx: transfers.cut(tx, guild_id, transfer_id), durable=True)
        await around.replication.barrier(engine)
        return _answer(hashes)

    async def archive(request: Request) -> Response:
        engine, guild_id, transfer_id = _asked(served_of, request)
        await engine.commit(lambda tx: transfers.require_cut(tx, guild_id, transfer_id))
        path = exporting.folder_of(around.data_dir) / f"{uuid.uuid4()}.sqlite3"
        try:
            await archives.export_guild(engine, guild_id, path, purpose=Purpose.TRANSFER)
            file = path.open("rb")
        finally:
            path.unlink(missing_ok=True)
        headers = {"content-length": str(os.fstat(file.fileno()).st_size)}
        return StreamingResponse(archiving.chunks(file), media_type=archiving.MEDIA_TYPE, headers=headers)

    base = "/shards/{shard_id}/guilds/{guild_id:int}/transfers/{transfer_id:int}"
    return [
        Route(f"{base}/record", guard(record), methods=["POST"]),
        Route(f"{base}/recorded", guard(recorded), methods=["GET"]),
        Route(f"{base}/cut", guard(cut), methods=["POST"]),
        Route(f"{base}/archive", guard(archive), methods=["GET"]),
    ]


async def settle(around: Surroundings, engine: Engine, transfer: protocol.Transfer) -> bool:
    """Do at the giver what the config service says of a transfer; True when nothing is left to do."""
    guild_id = GuildId(int(transfer.guild_id))
    row = await engine.commit(lambda tx: transfers.read(tx, guild_id))
    ours = row is not None and row.transfer_id == transfer.transfer_id
    if transfer.state is TransferState.CANCELLED:
        if ours and row is not None and row.state in {State.RECORDING, State.CUT}:
            await _release(engine, guild_id)
        return True
    if transfer.state in {TransferState.MOVING, TransferState.MOVED}:
        return False
    if row is not None and not ours:
        return True  # the guild is on its way under another transfer, so this one was settled before
    if row is None or row.state is not State.AWAY:
        async with engine.without_effects(guild_id):
            removed = await engine.commit(lambda tx: transfers.stand_aside(tx, guild_id), durable=True)
        await around.replication.barrier(engine)
        _log.info("guild_given_away", shard=engine.shard_id, guild_id=guild_id, target=transfer.target, rows=removed)
    if transfer.state is TransferState.FINISHED:
        step = protocol.TransferStep(
            pod_id=around.pod_id, incarnation=around.incarnation, epoch=engine.epoch, state=TransferState.CLEARED
        )
        await around.config.advance_transfer(transfer.transfer_id, step)
    return True


async def _release(engine: Engine, guild_id: GuildId) -> None:
    registry = engine.tools.registry
    async with engine.without_effects(guild_id):
        applied = await engine.commit(lambda tx: arriving.release(tx, guild_id, registry))
    engine.look_at_timers()
    _log.warning("guild_kept", shard=engine.shard_id, guild_id=guild_id, held=applied)


def _asked(served_of: Served, request: Request) -> tuple[Engine, GuildId, TransferId]:
    served = served_of(request)
    if served.engine is None:
        raise UnavailableError(f"Shard {served.shard_id} is not open yet.")
    return (
        served.engine,
        GuildId(request.path_params["guild_id"]),
        TransferId(request.path_params["transfer_id"]),
    )


def _answer(hashes: list[int]) -> Response:
    return Response(msgspec.json.encode(Applied(hashes)), media_type="application/json")
