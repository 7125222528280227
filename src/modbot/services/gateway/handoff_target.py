"""The target's side of a handoff: fetch the file, ask the source to finish, become the owner.

Base copy while the source serves, then its log until little is left; a check of the structure; only then the source is asked to stop.
What it sends last is appended, the copy is compared with what the source says and put in its place, and the config service is asked
for the compare-and-set. Its answer is what the next grant will say of the shard, so the lease keeper takes it over at once, and the pod
opens the shard like any other: the file counts because it carries the number of the handoff that the grant names.

Whatever goes wrong before the compare-and-set ends the handoff (`cancel`), and the source goes on. If the answer to the compare-and-set
is lost, it is asked again; the epoch and the handoff's number make that safe. A kill at any line leaves a folder `incoming` that the
next start clears, or a file that counts only if the compare-and-set succeeded.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec
import structlog

from modbot.cluster import protocol
from modbot.domain.errors import ModbotError, StaleEpochError, UnavailableError
from modbot.domain.offsets import Offset
from modbot.services.gateway.surroundings import Surroundings
from modbot.shard.copying import Copy, DamagedCopyError, Expected

CHUNK = 4 << 20
_SMALL_LOG = 1 << 20
_MOST_ROUNDS = 20
_FETCH_LIMIT = 20.0
_FINISH_LIMIT = 15.0
_ASK_AGAIN = 0.2
_BROKEN = (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError)
_log = structlog.get_logger()


class Lent(msgspec.Struct, frozen=True):
    """The source's answer to the first call: the size of the file in bytes."""

    size: int


class PartedMessage(msgspec.Struct, frozen=True):
    """The source's answer to the last call but the log: how far it and its replica are, and for how many seconds it has stopped."""

    epoch: int
    offset: Offset | None
    replicated: Offset | None
    stopped_for: float


@dataclass(frozen=True, slots=True)
class Arrived:
    """A handoff that this pod has completed. `stopped_at` on our monotonic clock; `replicated`: what the source's replica holds.

    `shard` as granted, or None when the answer of the config service was lost: then the next grant says it.
    """

    shard: protocol.Shard | None
    stopped_at: float
    replicated: Offset | None
    copied: int


@dataclass(slots=True)
class Arrival:
    """One handoff to this pod: `await run()`."""

    surroundings: Surroundings
    shard: protocol.Shard
    address: str
    progress: float = 0.0
    _copied: int = field(default=0)

    async def run(self) -> Arrived | None:
        """Fetch and complete; None when the handoff was given up, which the config service and the source have been told."""
        folder = Path(self.surroundings.data_dir)
        copy = Copy(folder, self.shard.shard_id)
        started = time.monotonic()
        try:
            parted = await self._fetch(copy)
            stopped_at = time.monotonic() - parted.stopped_for
            await self._adopt(copy, parted)
            shard = await self._complete()
        except (ModbotError, *_BROKEN) as error:
            _log.warning(
                "handoff_failed", shard=self.shard.shard_id, move_id=self.shard.move_id, error=str(error) or repr(error)
            )
            await self._give_up(str(error) or type(error).__name__)
            await asyncio.to_thread(copy.discard)
            return None
        _log.info(
            "handoff_completed",
            shard=self.shard.shard_id,
            move_id=self.shard.move_id,
            source=self.shard.owner,
            bytes=self._copied,
            seconds=round(time.monotonic() - started, 3),
            paused=round(time.monotonic() - stopped_at, 3),
        )
        return Arrived(shard, stopped_at, parted.replicated, self._copied)

    async def _fetch(self, copy: Copy) -> PartedMessage:
        lent = msgspec.json.decode(await self._call("POST", "", limit=_FETCH_LIMIT), type=Lent)
        await asyncio.to_thread(copy.begin)
        for offset in range(0, lent.size, CHUNK):
            data = await self._call("GET", f"/file?offset={offset}&bytes={CHUNK}", limit=_FETCH_LIMIT)
            await asyncio.to_thread(copy.write, offset, data)
            self._copied += len(data)
            self.progress = min(1.0, (offset + len(data)) / lent.size)
        await self._catch_up(copy)
        await asyncio.to_thread(copy.check)
        await self._catch_up(copy)
        await self.surroundings.replication.settled(copy.place)  # of an earlier ownership
        parted = msgspec.json.decode(await self._call("POST", "/finish", limit=_FINISH_LIMIT), type=PartedMessage)
        while await self._read_log(copy):
            continue
        return parted

    async def _catch_up(self, copy: Copy) -> None:
        """Follow the log until little is left of it."""
        for _ in range(_MOST_ROUNDS):
            if await self._read_log(copy) <= _SMALL_LOG:
                return

    async def _read_log(self, copy: Copy) -> int:
        """Read on in the log; return how many bytes that brought."""
        path = f"/log?header={copy.log_header.hex()}&size={copy.log_size}&bytes={CHUNK}"
        raw = await self._call("GET", path, limit=_FETCH_LIMIT)
        header, start, data = _parse_log(raw)
        await asyncio.to_thread(copy.write_log, header, start, data)
        self._copied += len(data)
        return len(data)

    async def _adopt(self, copy: Copy, parted: PartedMessage) -> None:
        if parted.epoch != self.shard.epoch:
            raise StaleEpochError(f"The source served {self.shard.shard_id} under epoch {parted.epoch}.")
        expected = Expected(self.shard.shard_id, self.shard.epoch, parted.offset)
        series = self.surroundings.tools.registry.series
        await asyncio.to_thread(copy.adopt, expected, move_id=self.shard.move_id, series=series)

    async def _complete(self) -> protocol.Shard | None:
        """Ask for the compare-and-set until there is an answer; the source's own `cancel` ends the waiting at the latest.

        Returns the shard as granted, or None when an earlier try may have succeeded unheard.
        """
        asked = False
        while True:
            try:
                return await self.surroundings.config.complete_move(self.shard.shard_id, self._request())
            except UnavailableError:
                asked = True
                await asyncio.sleep(_ASK_AGAIN)
            except StaleEpochError:
                if not asked:
                    raise
                return None

    async def _give_up(self, reason: str) -> None:
        try:
            await self.surroundings.config.cancel_move(self.shard.shard_id, self._request(reason[:500]))
        except ModbotError as error:
            _log.info("handoff_not_cancelled", shard=self.shard.shard_id, code=error.code)
        try:
            await self._call("DELETE", "", limit=_FETCH_LIMIT)
        except (ModbotError, *_BROKEN) as error:
            _log.info("handoff_source_not_told", shard=self.shard.shard_id, error=str(error) or repr(error))

    def _request(self, detail: str = "") -> protocol.HandoffRequest:
        return protocol.HandoffRequest(
            pod_id=self.surroundings.pod_id,
            incarnation=self.surroundings.incarnation,
            epoch=self.shard.epoch,
            move_id=self.shard.move_id,
            detail=detail,
        )

    async def _call(self, method: str, path: str, *, limit: float) -> bytes:
        url = f"{self.address}/shards/{self.shard.shard_id}/handoff/{self.shard.move_id}{path}"
        headers = {
            "authorization": f"Bearer {self.surroundings.internal_token.reveal()}",
            "x-modbot-epoch": str(self.shard.epoch),
        }
        timeout = aiohttp.ClientTimeout(total=limit)
        async with self.surroundings.http.request(method, url, headers=headers, timeout=timeout) as answer:
            body = await answer.read()
            if answer.status >= 300:
                raise UnavailableError(f"{self.shard.owner} answered {answer.status}: {_detail(body)}")
            digest = answer.headers.get("x-modbot-digest", "")
        if method == "GET" and digest_of(body) != digest:
            raise DamagedCopyError(f"What {self.shard.owner} sent of {self.shard.shard_id} was changed on the way.")
        return body


def digest_of(data: bytes) -> str:
    """Return the checksum that goes with bytes of a file from pod to pod."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def frame_log(header: bytes, start: int, data: bytes) -> bytes:
    """Put bytes of the log on the wire: the length of the header, the header, where the bytes begin, the bytes."""
    return bytes([len(header)]) + header + start.to_bytes(8, "big") + data


def _parse_log(raw: bytes) -> tuple[bytes, int, bytes]:
    length = raw[0]
    header, start = raw[1 : 1 + length], int.from_bytes(raw[1 + length : 9 + length], "big")
    return header, start, raw[9 + length :]


def _detail(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body, type=dict[str, object]).get("detail", ""))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "no reason"
