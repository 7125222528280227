"""Dead letters: what a handler could not do is recorded in the transaction that goes on without it (I9)."""

from __future__ import annotations

import traceback
from typing import Any

import msgspec
import structlog

from modbot.ops import metrics, statements
from modbot.shard.transaction import Transaction

_SQL = statements.load("modbot.shard")
_log = structlog.get_logger()


def bury(tx: Transaction, *, handler: str, error: Exception, payload: Any) -> None:
    """Record what a handler could not do, and say so. The error's own text may quote a user, so it stays out: kind and place remain."""
    where = f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__, limit=-4))}"
    text = None if payload is None else msgspec.json.encode(payload).decode()
    tx.execute(_SQL["insert_dead_letter"], (tx.guild_id, tx.cause, handler, where, text, tx.now_ms))
    metrics.DEAD_LETTERS.labels(handler).inc()
    _log.error("handler_failed", handler=handler, cause=tx.cause, guild_id=tx.guild_id, error=type(error).__name__)
