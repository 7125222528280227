"""Forward-only migrations of a shard file, one numbered series per component (the engine and each feature).

The version of every component is stamped in the file itself, so that a file can be moved between pods and still says what it
holds. A file that is newer than the code is refused: an old pod must not write into a shape that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

import apsw

from modbot.domain.errors import ModbotError

_FILE = re.compile(r"(\d{4})_\w+\.sql")
_STAMPS = "CREATE TABLE IF NOT EXISTS migrations (component TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT"


class NewerFileError(ModbotError):
    """The shard file was written by a newer modbot than this one."""

    code = "newer_file"
    hint = "Finish the upgrade of this pod, or move the shard to a pod of the newer version."


@dataclass(frozen=True, slots=True)
class Series:
    """The migrations of one component, from version 1 upwards."""

    component: str
    scripts: tuple[str, ...]


def read_series(component: str, package: str) -> Series:
    """Read `NNNN_*.sql` from the package's `migrations` folder; a component without the folder has an empty series."""
    folder = resources.files(package).joinpath("migrations")
    if not folder.is_dir():
        return Series(component, ())
    files = sorted((entry for entry in folder.iterdir() if _FILE.fullmatch(entry.name)), key=lambda entry: entry.name)
    return Series(component, tuple(entry.read_text("utf-8") for entry in files))


def migrate(connection: apsw.Connection, series: Iterable[Series]) -> None:
    """Bring the file to the version of the code, all components in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_STAMPS)
        stamps = {
            str(name): int(version) for name, version in connection.execute("SELECT component, version FROM migrations")
        }
        for each in series:
            _migrate_component(connection, each, stamps.get(each.component, 0))
    except BaseException:
        if connection.in_transaction:  # a full disk has undone it already
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def check(connection: apsw.Connection, series: Iterable[Series]) -> None:
    """Raise `NewerFileError` when this version cannot write the file; changes nothing."""
    known = {each.component: len(each.scripts) for each in series}
    for name, version in connection.execute("SELECT component, version FROM migrations"):
        _refuse_newer(str(name), int(version), known.get(str(name), int(version)))


def _refuse_newer(component: str, version: int, known: int) -> None:
    if version > known:
        raise NewerFileError(f"{component} is at version {version} in the file and {known} in the code.")


def _migrate_component(connection: apsw.Connection, series: Series, version: int) -> None:
    _refuse_newer(series.component, version, len(series.scripts))
    for script in series.scripts[version:]:
        connection.execute(script)
    connection.execute(
        "INSERT INTO migrations VALUES (?1, ?2) ON CONFLICT (component) DO UPDATE SET version = ?2",
        (series.component, len(series.scripts)),
    )
