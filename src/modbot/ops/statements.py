"""Named SQL statements.

SQL lives in `.sql` files beside the code that uses it. Each statement begins with `-- name: word`, followed by comment lines that
describe it. A name that does not exist fails when the module is imported, not when a moderator presses a button.
"""

from __future__ import annotations

import re
from importlib import resources

from modbot.domain.errors import SettingsError

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


class Statements:
    """The statements of one file; `statements["insert_report"]` is the SQL text."""

    __slots__ = ("_source", "_texts")

    def __init__(self, source: str, texts: dict[str, str]) -> None:
        self._source = source
        self._texts = texts

    def __getitem__(self, name: str) -> str:
        try:
            return self._texts[name]
        except KeyError:
            raise SettingsError(f"{self._source} has no statement named {name}.") from None

    def names(self) -> list[str]:
        """List the names, in the order of the file."""
        return list(self._texts)


def load(package: str, file: str = "queries.sql") -> Statements:
    """Read the statements of a package; `SettingsError` when a name occurs twice."""
    return parse(resources.files(package).joinpath(file).read_text("utf-8"), source=f"{package}/{file}")


def parse(text: str, *, source: str) -> Statements:
    """Split a file into its statements. Comments stay in the text: SQLite's traces then say what runs."""
    parts = _NAME.split(text)[1:]
    texts: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in texts:
            raise SettingsError(f"{source} defines {name} twice.")
        texts[name] = body.strip()
    return Statements(source, texts)
