"""Named SQL statements.

SQL lives in `.sql` files beside the code that uses it. A block begins with `-- name: word`, goes on with comment lines that describe the
statement, and ends with the statement. A block without a description or a statement, and a name that appears twice, stop the process
when it starts, not when a moderator presses a button.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

from modbot.domain.errors import SettingsError

_NAME = re.compile(r"^-- name: (?P<name>\w+)\s*$", re.MULTILINE)


def load(package: str, file: str = "queries.sql") -> Mapping[str, str]:
    """Read the statements of a package by name."""
    return parse(resources.files(package).joinpath(file).read_text("utf-8"), source=f"{package}/{file}")


def parse(text: str, *, source: str) -> Mapping[str, str]:
    """Split a file into its statements; `SettingsError` names the block that is not one."""
    names = list(_NAME.finditer(text))
    ends = [match.start() for match in names[1:]] + [len(text)]
    found: dict[str, str] = {}
    for match, end in zip(names, ends, strict=True):
        name, lines = match["name"], text[match.end() : end].strip().splitlines()
        described = bool(lines) and lines[0].startswith("-- ")
        sql = "\n".join(line for line in lines if not line.startswith("--")).strip()
        if name in found or not described or not sql:
            raise SettingsError(f"{source}: the statement {name} appears twice or lacks its description or its SQL.")
        found[name] = sql
    return MappingProxyType(found)
