"""Webhook events: Discord tells the application that it was authorised or removed. They are logged as events and answered 204.

The ids of guilds may be logged here, those of people may not. Discord sends an event again for up to ten minutes when it is not
answered, so an event of an unknown type is accepted: sending it again would not make it known.
"""

from __future__ import annotations

from typing import Final

import msgspec
import structlog

from modbot.domain.errors import InvalidInputError
from modbot.services.http.metrics import Metrics

_KNOWN: Final = frozenset(
    {
        "APPLICATION_AUTHORIZED",
        "APPLICATION_DEAUTHORIZED",
        "ENTITLEMENT_CREATE",
        "ENTITLEMENT_UPDATE",
        "ENTITLEMENT_DELETE",
    }
)
_log = structlog.get_logger(__name__)


class _Guild(msgspec.Struct):
    id: str


class _Data(msgspec.Struct):
    integration_type: int | None = None
    scopes: list[str] = []
    guild: _Guild | None = None


class _Event(msgspec.Struct):
    type: str
    timestamp: str
    data: _Data | None = None


class _Envelope(msgspec.Struct):
    application_id: str
    event: _Event


_DECODER: Final = msgspec.json.Decoder(_Envelope)


def record(body: bytes, metrics: Metrics) -> None:
    """Log a verified event; `InvalidInputError` when it does not have the documented form."""
    try:
        event = _DECODER.decode(body).event
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInputError("The webhook event is not valid.") from None
    known = event.type if event.type in _KNOWN else "other"
    metrics.events.labels(known).inc()
    guild = event.data.guild.id if event.data is not None and event.data.guild is not None else None
    _log.info("webhook_event", type=known, sent_at=event.timestamp, guild=guild)
