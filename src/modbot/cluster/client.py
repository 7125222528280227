"""The members' client of the config service: one typed method per call, every failure in the words of our error tree.

It keeps no state and retries nothing: who calls knows whether an answer that comes late is still of use. No answer, a broken
answer and a 5xx are `UnavailableError`; a refusal is the error that the problem's `code` names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from modbot.cluster import protocol
from modbot.domain import errors
from modbot.domain.errors import ModbotError, UnavailableError
from modbot.domain.ids import Epoch, GuildId, Incarnation, InteractionId, PodId, ShardId, TransferId
from modbot.ops.settings import Secret

CALL_LIMIT = 5.0
SILENCE_LIMIT = 5.0
_M = TypeVar("_M", bound=protocol.Message)
_BROKEN = (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError, UnicodeDecodeError)
_BY_CODE: dict[str, type[ModbotError]] = {
    kind.code: kind
    for kind in (
        errors.InvalidInputError,
        errors.NotFoundError,
        errors.UnauthorizedError,
        errors.StaleEpochError,
        errors.PodBusyError,
        errors.NotOwnerError,
        errors.MoveRefusedError,
        errors.AdoptionRefusedError,
    )
}


class ConfigClient:
    """Calls the config service at `base_url`. The session belongs to the caller."""

    def __init__(self, base_url: str, token: Secret, session: aiohttp.ClientSession) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"authorization": f"Bearer {token.reveal()}", "content-type": "application/json"}
        self._session = session

    async def register(
        self, pod_id: PodId, request: protocol.RegisterRequest, *, limit: float = CALL_LIMIT
    ) -> protocol.Grant:
        """Introduce an incarnation. `StaleEpochError`: it has ended; `PodBusyError`: another one still has a valid lease."""
        return await self._post(f"/pods/{pod_id}/register", request, protocol.Grant, limit)

    async def renew(
        self, pod_id: PodId, request: protocol.RenewRequest, *, limit: float = CALL_LIMIT
    ) -> protocol.Grant:
        """Extend the lease; `StaleEpochError` when the incarnation has ended. `limit` in seconds."""
        return await self._post(f"/pods/{pod_id}/renew", request, protocol.Grant, limit)

    async def leave(self, pod_id: PodId, request: protocol.LeaveRequest) -> None:
        """End the incarnation; `StaleEpochError` when it has ended already."""
        await self._call("POST", f"/pods/{pod_id}/leave", msgspec.json.encode(request), CALL_LIMIT)

    async def identify(self, request: protocol.IdentifyRequest) -> protocol.IdentifyAnswer:
        """Ask for one IDENTIFY; when granted, send it at once."""
        return await self._post("/permits/identify", request, protocol.IdentifyAnswer, CALL_LIMIT)

    async def reassign_guild(self, request: protocol.ReassignRequest) -> protocol.Transfer:
        """Give a guild a shard of its own; `MoveRefusedError` says why not."""
        return await self._post("/reassign-guild", request, protocol.Transfer, CALL_LIMIT)

    async def return_guild(self, guild_id: GuildId) -> protocol.Transfer:
        """Bring a guild back to the shard of the formula."""
        return self._decoded(
            await self._call("DELETE", f"/reassign-guild/{guild_id}", None, CALL_LIMIT), protocol.Transfer
        )

    async def transfers(self) -> protocol.TransferList:
        """List the latest transfers."""
        return await self._get("/transfers", protocol.TransferList)

    async def transfer(self, transfer_id: TransferId) -> protocol.Transfer:
        """Say how far a transfer is."""
        return await self._get(f"/transfers/{transfer_id}", protocol.Transfer)

    async def advance_transfer(self, transfer_id: TransferId, step: protocol.TransferStep) -> protocol.Transfer:
        """Make one step; `StaleEpochError` when it is not ours to make, or the transfer went another way."""
        return await self._post(f"/transfers/{transfer_id}/step", step, protocol.Transfer, CALL_LIMIT)

    async def append_inbox(self, entries: Sequence[protocol.InboxEntry], *, limit: float = CALL_LIMIT) -> None:
        """Journal interactions; repeating it is harmless."""
        body = msgspec.json.encode(protocol.AppendRequest(entries=list(entries)))
        await self._call("POST", "/inbox", body, limit)

    async def defer_inbox(self, entries: Sequence[protocol.InboxEntry], *, limit: float = CALL_LIMIT) -> None:
        """Say that Discord has a deferral for these; repeating it is harmless."""
        body = msgspec.json.encode(protocol.DeferredRequest(entries=list(entries)))
        await self._call("POST", "/inbox/deferred", body, limit)

    async def anonymity_key(self) -> protocol.AnonymityKey:
        """Return the key under which anonymous people get their number today."""
        return await self._get("/anonymity-key", protocol.AnonymityKey)

    async def read_inbox(
        self, shard_id: ShardId, *, pod_id: PodId, incarnation: Incarnation, epoch: Epoch, after: int = 0
    ) -> protocol.InboxPage:
        """Return up to 500 waiting entries of an owned shard, oldest first; `StaleEpochError` when it is not owned."""
        path = f"/shards/{shard_id}/inbox?pod_id={pod_id}&incarnation={incarnation}&epoch={epoch}&after={after}"
        return await self._get(path, protocol.InboxPage)

    async def acknowledge_inbox(
        self,
        shard_id: ShardId,
        interaction_ids: Sequence[InteractionId],
        *,
        completed: Sequence[InteractionId] = (),
        pod_id: PodId,
        incarnation: Incarnation,
        epoch: Epoch,
    ) -> None:
        """Say that the shard file holds these durably; `StaleEpochError` when the shard is not owned."""
        request = protocol.AcknowledgeRequest(
            pod_id=pod_id,
            incarnation=incarnation,
            epoch=epoch,
            interaction_ids=list(interaction_ids),
            completed=list(completed),
        )
        body = msgspec.json.encode(request)
        await self._call("POST", f"/shards/{shard_id}/inbox/acknowledge", body, CALL_LIMIT)

    async def shards(self) -> protocol.ShardList:
        """List every shard with its owner, or why it has none."""
        return await self._get("/shards", protocol.ShardList)

    async def pods_health(self) -> protocol.PodList:
        """List every pod with its lease and measurements."""
        return await self._get("/pods/health", protocol.PodList)

    async def guild_assignments(self, guild_ids: Sequence[GuildId] = ()) -> protocol.GuildAssignments:
        """Say where all shards live and, for those named, the guilds."""
        query = "&".join(f"guild_id={guild_id}" for guild_id in guild_ids)
        return await self._get(f"/guild-assignments?{query}", protocol.GuildAssignments)

    async def guild_assignment(self, guild_id: GuildId) -> protocol.Assignment:
        """Say where one guild lives."""
        return await self._get(f"/guild/{guild_id}/assignment", protocol.Assignment)

    async def move(self, shard_id: ShardId, request: protocol.MoveRequest) -> protocol.MoveAnswer:
        """Begin a handoff; `MoveRefusedError` says why it cannot be."""
        return await self._post(f"/shards/{quote(shard_id, safe='')}/move", request, protocol.MoveAnswer, CALL_LIMIT)

    async def complete_move(self, shard_id: ShardId, request: protocol.HandoffRequest) -> protocol.Shard:
        """Become the owner of a shard that was handed over; `StaleEpochError` when the handoff is over or the epoch has changed."""
        return await self._post(f"/shards/{shard_id}/move/complete", request, protocol.Shard, CALL_LIMIT)

    async def cancel_move(self, shard_id: ShardId, request: protocol.HandoffRequest) -> None:
        """Give a handoff up, the source keeps the shard; `StaleEpochError` when it has been completed or is over."""
        await self._call("POST", f"/shards/{shard_id}/move/cancel", msgspec.json.encode(request), CALL_LIMIT)

    async def moves(self) -> protocol.MoveList:
        """List the handoffs under way and the latest that are over."""
        return await self._get("/moves", protocol.MoveList)

    async def rebalance_plan(self, *, asked: bool = False, drain: PodId | None = None) -> protocol.RebalancePlan:
        """Say which shards should move and why, now or as if a round were asked for or a pod drained; changes nothing."""
        query = "&".join(["asked=true"] * asked + ([] if drain is None else [f"drain={quote(drain, safe='')}"]))
        return await self._get(f"/rebalance?{query}", protocol.RebalancePlan)

    async def rebalance(self) -> protocol.RebalancePlan:
        """Ask for rounds until all is as even as it can be; `MoveRefusedError` while moves are paused."""
        return self._decoded(await self._call("POST", "/rebalance", None, CALL_LIMIT), protocol.RebalancePlan)

    async def pause_moves(self, *, paused: bool) -> None:
        """Stop or allow the moves that nobody asked for by name."""
        await self._call("POST", "/moves/pause" if paused else "/moves/resume", None, CALL_LIMIT)

    async def drain(self, pod_id: PodId, *, on: bool) -> None:
        """Empty a pod until this is undone; `NotFoundError` for an unknown pod."""
        body = msgspec.json.encode(protocol.DrainRequest(on=on))
        await self._call("POST", f"/pods/{quote(pod_id, safe='')}/drain", body, CALL_LIMIT)

    async def pin(self, shard_id: ShardId, pin: str | None) -> None:
        """Pin a shard to a pod, a label or nothing; `NotFoundError` for an unknown shard."""
        body = msgspec.json.encode(protocol.PinRequest(pin=pin))
        await self._call("PUT", f"/shards/{quote(shard_id, safe='')}/pin", body, CALL_LIMIT)

    async def adoption(self) -> protocol.AdoptionState:
        """Return what the database knows, to be compared with a replica store."""
        return await self._get("/adoption", protocol.AdoptionState)

    async def adopt(self, request: protocol.AdoptRequest) -> None:
        """Take over what a replica store knows; `AdoptionRefusedError` says why not."""
        await self._call("POST", "/adoption", msgspec.json.encode(request), CALL_LIMIT)

    async def cluster(self) -> protocol.ClusterDetail:
        """Return what was decided for the whole cluster."""
        return await self._get("/cluster", protocol.ClusterDetail)

    async def watch(self) -> AsyncGenerator[protocol.WatchLine, None]:
        """Follow the table; ends when the service says goodbye, `UnavailableError` when it is silent for `SILENCE_LIMIT` seconds."""
        limit = aiohttp.ClientTimeout(total=None, sock_connect=CALL_LIMIT, sock_read=SILENCE_LIMIT)
        decoder = msgspec.json.Decoder(protocol.WatchLine)
        try:
            async with self._session.get(self._base_url + "/watch", headers=self._headers, timeout=limit) as answer:
                if answer.status != 200:
                    raise _refusal(answer.status, await answer.read())
                async for line in _lines(answer.content):
                    yield decoder.decode(line)
        except _BROKEN as error:
            raise UnavailableError(f"The watch stream broke off ({type(error).__name__}).") from error

    async def _post(self, path: str, request: protocol.Message, kind: type[_M], limit: float) -> _M:
        return self._decoded(await self._call("POST", path, msgspec.json.encode(request), limit), kind)

    async def _get(self, path: str, kind: type[_M]) -> _M:
        return self._decoded(await self._call("GET", path, None, CALL_LIMIT), kind)

    @staticmethod
    def _decoded(raw: bytes, kind: type[_M]) -> _M:
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnavailableError(
                "The config service sent an answer that this version does not understand."
            ) from error

    async def _call(self, method: str, path: str, body: bytes | None, limit: float) -> bytes:
        try:
            async with (
                asyncio.timeout(limit),
                self._session.request(method, self._base_url + path, data=body, headers=self._headers) as answer,
            ):
                raw = await answer.read()
        except _BROKEN as error:
            raise UnavailableError(f"The config service does not answer ({type(error).__name__}).") from error
        if answer.status >= 300:
            raise _refusal(answer.status, raw)
        return raw


def _refusal(status: int, raw: bytes) -> ModbotError:
    try:
        told = msgspec.json.decode(raw, type=protocol.Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return UnavailableError(f"The config service answered {status} without saying why.")
    return _BY_CODE.get(told.code, UnavailableError)(told.detail)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Split the stream into lines of any length (aiohttp's own line reader has a limit that a large table exceeds)."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
