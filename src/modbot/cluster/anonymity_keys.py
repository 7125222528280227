"""The key of the day under which anonymous people get their number, shared by all pods.

It comes from the config service and is fetched again when its day ends. Without the config service this process makes up a key
of its own for the day: anonymity holds just the same, only the recognition of a second report across pods does not, and so every
use is counted. The shared key takes over as soon as it can be had. Keys live in memory only and never in a log.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from modbot.cluster.protocol import AnonymityKey
from modbot.domain.errors import ModbotError

RETRY: Final = 2.0
GRACE: Final = 5.0
"""So long after its day the old key is still used, for the moment that fetching the new one takes."""
_log = structlog.get_logger(__name__)


class KeyClient(Protocol):
    """The call that the keys come from; `ConfigClient` has it."""

    async def anonymity_key(self) -> AnonymityKey:
        """Return the key of today."""


@dataclass(frozen=True, slots=True)
class _Held:
    key: bytes
    until: float


class AnonymityKeys:
    """Holds the key of the day. `now` is monotonic seconds, `today` the time of day in UTC; `on_local` counts uses of a key of our own."""

    def __init__(
        self,
        client: KeyClient,
        *,
        on_local: Callable[[], None],
        now: Callable[[], float],
        today: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._on_local = on_local
        self._now = now
        self._today = today
        self._shared: _Held | None = None
        self._local: _Held | None = None

    def current(self) -> bytes:
        """Return the key to use now."""
        if self._shared is not None and self._now() < self._shared.until:
            return self._shared.key
        self._on_local()
        if self._local is None or self._now() >= self._local.until:
            self._local = _Held(secrets.token_bytes(32), self._now() + _seconds_to_midnight(self._today()))
        return self._local.key

    async def refresh(self) -> bool:
        """Fetch the shared key; False when the config service does not give it."""
        asked = self._now()
        try:
            told = await self._client.anonymity_key()
            self._shared = _Held(bytes.fromhex(told.key), asked + told.seconds_left + GRACE)
        except (ModbotError, ValueError) as error:
            _log.warning("anonymity_key_missing", error=type(error).__name__)
            return False
        return True

    async def run(self) -> None:
        """Keep the key fresh until cancelled."""
        while True:
            fetched = await self.refresh()
            left = self._shared.until - GRACE - self._now() if fetched and self._shared is not None else 0.0
            await asyncio.sleep(max(left, RETRY))


def _seconds_to_midnight(moment: datetime) -> float:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return (midnight - moment).total_seconds()
