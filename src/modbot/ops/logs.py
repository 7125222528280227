"""Structured logs: constant event names, facts as fields; JSON in production, aligned lines at a desk.

Secrets given to `configure` are replaced in every field before anything is written, so that a token that slipped into an
exception text does not leave the process. User text and reporter ids are never passed to the logger in the first place.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any

import structlog

from modbot.ops.settings import Secret

_STARS = "***"


def configure(*, log_format: str, level: str, service: str, secrets: Iterable[Secret] = ()) -> None:
    """Set up logging for this process; every line carries `service`."""
    hidden = [secret.reveal() for secret in secrets if secret.reveal()]

    def redact(_logger: Any, _name: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
        for key, value in fields.items():
            if isinstance(value, str):
                fields[key] = _without(value, hidden)
        return fields

    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def _without(text: str, hidden: list[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, _STARS)
    return text
