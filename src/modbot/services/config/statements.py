"""The named SQL statements and the migrations, read from the `.sql` files beside this module.

`queries.sql` holds blocks of `-- name: x`, description lines that begin with `--`, and the statement. A block without a name, a
description or a statement, and a name that appears twice, are errors at import time of the service, not at the first call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

_NAME = re.compile(r"^-- name: (?P<name>[a-z_]+)$", re.MULTILINE)
_MIGRATION = re.compile(r"(?P<version>\d{4})_[a-z0-9_]+\.sql")
_HERE = resources.files("modbot.services.config")


@dataclass(frozen=True, slots=True)
class Migration:
    """One forward step of the schema."""

    version: int
    name: str
    sql: str


def parse(text: str) -> Mapping[str, str]:
    """Split a file of named, described statements into name -> SQL; `ValueError` names the block that is not one."""
    names = list(_NAME.finditer(text))
    ends = [match.start() for match in names[1:]] + [len(text)]
    found: dict[str, str] = {}
    for match, end in zip(names, ends, strict=True):
        name, lines = match["name"], text[match.end() : end].strip().splitlines()
        described = bool(lines) and lines[0].startswith("-- ")
        sql = "\n".join(line for line in lines if not line.startswith("--")).strip()
        if name in found or not described or not sql:
            raise ValueError(f"The statement {name!r} appears twice or lacks its description or its SQL.")
        found[name] = sql
    return MappingProxyType(found)


def load() -> Mapping[str, str]:
    """Read `queries.sql`."""
    return parse((_HERE / "queries.sql").read_text(encoding="utf-8"))


def migrations() -> list[Migration]:
    """Return the migrations in order; `ValueError` when a number is missing or a file has another form of name."""
    found: list[Migration] = []
    for entry in sorted((_HERE / "migrations").iterdir(), key=lambda each: each.name):
        match = _MIGRATION.fullmatch(entry.name)
        if match is None or int(match["version"]) != len(found) + 1:
            raise ValueError(f"{entry.name} is not the next migration.")
        found.append(Migration(len(found) + 1, entry.name, entry.read_text(encoding="utf-8")))
    return found
