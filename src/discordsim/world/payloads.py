"""How values look in Discord's JSON: ids as strings, times as ISO 8601 with an offset.

Refuses to know any entity: only scalars live here.
"""

import datetime as dt
import time
from typing import Any

Json = dict[str, Any]


def iso(seconds: float) -> str:
    """Unix seconds as Discord writes them, for example `2026-01-02T03:04:05.678000+00:00`."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="microseconds")


def iso_or_none(seconds: float | None) -> str | None:
    """As `iso`; no time stays no time."""
    return None if seconds is None else iso(seconds)


def unix(text: str) -> float:
    """Unix seconds of an ISO 8601 text; ValueError when it is none."""
    moment = dt.datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def text_id(number: int | None) -> str | None:
    """An id as a string; no id stays no id."""
    return None if number is None else str(number)


def text_ids(numbers: Any) -> list[str]:
    """Several ids as strings, in the given order."""
    return [str(number) for number in numbers]


def now() -> float:
    """Return the wall clock: the default clock of a world."""
    return time.time()
