"""Structured logs: constant event names, facts as fields; JSON in production, aligned lines at a desk.

Secrets given to `configure` are replaced in every line before it is written, whatever field they stand in, so that a token that
slipped into an exception does not leave the process. User text and reporter ids are never passed to the logger in the first place.

A line that cannot be written (a full disk, a reader that is gone) is counted and dropped. It never raises: what it tells of is often a
failure that somebody is about to recover from, and the recovery must not die of the telling.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

import structlog

from modbot.ops import metrics, tracing
from modbot.ops.settings import Secret

_STARS = "***"


def configure(*, log_format: str, level: str, service: str, secrets: Iterable[Secret] = ()) -> None:
    """Set up logging for this process; every line carries `service`."""
    hidden = [form for secret in secrets if secret.reveal() for form in _forms(secret.reveal())]

    def redact(_logger: Any, _name: str, line: Any) -> str:
        return _without(line, hidden)

    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            add_trace,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
            redact,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Lossy(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def quiet() -> None:
    """Let only errors through, for a command that prints what it finds itself; nothing is kept for later, so it can be undone."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def add_trace(_logger: Any, _name: str, facts: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Name the trace in which a line was written, when there is one."""
    found = tracing.trace_id()
    if found is not None:
        facts["trace_id"] = found
    return facts


class Lossy:
    """A stream that drops what it cannot write, and counts it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or count a lost line."""
        try:
            return self._stream.write(text)
        except OSError:
            metrics.LOG_LINES_LOST.inc()
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, or count a lost line."""
        try:
            self._stream.flush()
        except OSError:
            metrics.LOG_LINES_LOST.inc()


def _forms(secret: str) -> list[str]:
    """Return a secret as a written line may hold it: as it is, and escaped by `repr`, by JSON or by one after the other."""
    plain = [secret, repr(secret)[1:-1]]
    return sorted({*plain, *(json.dumps(form)[1:-1] for form in plain)}, key=len, reverse=True)


def _without(text: str, hidden: list[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, _STARS)
    return text
