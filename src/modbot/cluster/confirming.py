"""Asking the peers: the part of failsafe mode that talks. The rules and their proof are in `failsafe.py`.

While renewals succeed this does nothing. When they do not, it asks all members at once, again and again; every question has a time limit,
because an answer that comes late counts for less. What cannot be asked counts as no answer.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Protocol

import aiohttp
import msgspec
import structlog

from modbot.cluster import protocol
from modbot.cluster.failsafe import Failsafe, Round
from modbot.cluster.leases import Clock, SystemClock
from modbot.domain.ids import Incarnation
from modbot.ops.settings import Secret

_LOOKS_PER_LEASE = 8
_ASKS_PER_LEASE = 4
_log = structlog.get_logger(__name__)
_BROKEN = (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError, UnicodeDecodeError)


class Asker(Protocol):
    """The call to a peer; `PeerClient` has it."""

    async def ask(
        self, address: str, question: protocol.FailsafeRequest, *, limit: float
    ) -> protocol.FailsafeAnswer | None:
        """Return a peer's answer; None when there is none within `limit` seconds."""


class PeerClient:
    """Calls the internal API of other gateway pods. The session belongs to the caller."""

    def __init__(self, token: Secret, session: aiohttp.ClientSession) -> None:
        self._headers = {"authorization": f"Bearer {token.reveal()}", "content-type": "application/json"}
        self._session = session

    async def ask(
        self, address: str, question: protocol.FailsafeRequest, *, limit: float
    ) -> protocol.FailsafeAnswer | None:
        """Return a peer's answer; None when there is none within `limit` seconds."""
        body = msgspec.json.encode(question)
        try:
            async with (
                asyncio.timeout(limit),
                self._session.post(f"{address}/failsafe", data=body, headers=self._headers) as answer,
            ):
                raw = await answer.read()
                return msgspec.json.decode(raw, type=protocol.FailsafeAnswer) if answer.status == 200 else None
        except _BROKEN as error:
            _log.info("peer_does_not_answer", address=address, error=type(error).__name__)
            return None


class Confirming:
    """Asks for as long as it is needed: `await run()` in a task of its own. `tell` hears whether failsafe mode allows to act."""

    def __init__(
        self,
        failsafe: Failsafe,
        asker: Asker,
        *,
        seconds: Callable[[], float],
        tell: Callable[[bool], None],
        clock: Clock | None = None,
    ) -> None:
        """`seconds` returns the length of a lease."""
        self._failsafe = failsafe
        self._asker = asker
        self._seconds = seconds
        self._tell = tell
        self._clock = clock or SystemClock()
        self._active = False
        self._refusal = ""

    async def run(self) -> None:
        """Look often whether there is something to ask, and ask; until cancelled."""
        while True:
            confirmed = False
            if (begun := self._failsafe.begin()) is not None:
                confirmed = self._failsafe.conclude(begun, await self._ask(begun))
            self._report()
            pause = self._seconds() / (_ASKS_PER_LEASE if confirmed else _LOOKS_PER_LEASE)
            await self._clock.sleep(pause * random.uniform(0.8, 1.0))  # noqa: S311 - jitter, not a secret

    async def _ask(self, begun: Round) -> Mapping[Incarnation, protocol.FailsafeAnswer]:
        limit = begun.standing.seconds / _ASKS_PER_LEASE
        peers = begun.standing.peers
        answers = await asyncio.gather(
            *(self._asker.ask(peer.address, begun.questions[peer.incarnation], limit=limit) for peer in peers)
        )
        return {peer.incarnation: answer for peer, answer in zip(peers, answers, strict=True) if answer is not None}

    def _report(self) -> None:
        active, refusal = self._failsafe.active, self._failsafe.refusal
        if active != self._active:
            self._active = active
            self._tell(active)
            _log.warning("failsafe_entered" if active else "failsafe_left", reason=refusal)
        if refusal != self._refusal:
            self._refusal = refusal
            if refusal:
                _log.warning("failsafe_refused", reason=refusal)
