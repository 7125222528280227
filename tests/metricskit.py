"""What the tests ask of `/metrics`: the values of its labels, and whether one of them names a guild or a person."""

from __future__ import annotations

import re

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

_SNOWFLAKE = re.compile(r"\d{10,}")


def labels(text: str) -> set[tuple[str, str]]:
    """Return every label with each of its values."""
    families = text_string_to_metric_families(text)
    return {each for family in families for sample in family.samples for each in sample.labels.items()}


def ids_in(text: str, *known: int | str) -> set[tuple[str, str]]:
    """Return the labels that hold a known id, or anything long enough to be one."""
    return {
        (name, value)
        for name, value in labels(text)
        if name != "le" and (_SNOWFLAKE.search(value) or any(str(each) in value for each in known))
    }


async def read(session: aiohttp.ClientSession, base_url: str) -> str:
    """Ask a process for its metrics, without a token."""
    async with session.get(f"{base_url}/metrics") as answer:
        assert answer.status == 200
        return await answer.text()
