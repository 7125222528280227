"""What surrounds a process: its variables, its programs, its replica store."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modbot.cli.doctor.facts import Facts
from modbot.cli.doctor.findings import Finding, Kind, Level

_OLDEST_LITESTREAM = (0, 5, 17)
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")

SETTINGS = Kind(
    "settings",
    Level.WRONG,
    "A setting is missing, malformed, unknown or a weak secret.",
    "The process does not start.",
    "Correct the variable; docs/reference/settings.md lists all of them with form and default.",
)
VARIABLE_EMPTY = Kind(
    "variable_empty",
    Level.WRONG,
    "A variable is set and holds nothing: usually a key that the secret does not have.",
    "What it should say is missing, and Litestream makes a wrong path of it without a word.",
    "Give {subject} a value, or take it out of the environment. `kubectl describe secret modbot-env` shows which keys are there.",
)
VARIABLE_UNEXPANDED = Kind(
    "variable_unexpanded",
    Level.WRONG,
    "A variable holds the name of another one in place of its value.",
    "The name is taken for the value.",
    "Kubernetes puts in `$(NAME)` only what is defined further up in the same list `env`. Correct {subject} there.",
)
SQLITE_TOO_OLD = Kind(
    "sqlite_too_old",
    Level.WRONG,
    "SQLite has the bug that damages a file when a second process moves its log.",
    "The pod does not start.",
    "Install apsw with SQLite 3.51.3 or newer; `uv.lock` names one.",
)
LITESTREAM_MISSING = Kind(
    "litestream_missing",
    Level.WRONG,
    "The program that restores shards is not there.",
    "The pod does not start: it could not restore a shard.",
    "Install Litestream 0.5.17 or newer, or say in MODBOT_LITESTREAM_BIN where it is.",
)
LITESTREAM_TOO_OLD = Kind(
    "litestream_too_old",
    Level.WRONG,
    "The program that restores shards is older than 0.5.17.",
    "Restores may fail or give damaged files.",
    "Install Litestream 0.5.17 or newer, for the sidecar as well.",
)
STORE_AWAY = Kind(
    "store_away",
    Level.WRONG,
    "The replica store does not answer, or does not allow to list and to read.",
    "No shard can be restored, and what is committed now is on one volume only.",
    "Check address, keys and network of the store: docs/how-to/replicas.md. The keys must allow to list, read, write and delete.",
)
NO_STORE = Kind(
    "no_store",
    Level.WARNING,
    "The pod has no replica store.",
    "When its volume is lost, everything of its shards is lost; nobody can take them over.",
    "Set up a store and a sidecar for every gateway pod: docs/how-to/replicas.md.",
)
KINDS = (
    SETTINGS,
    VARIABLE_EMPTY,
    VARIABLE_UNEXPANDED,
    SQLITE_TOO_OLD,
    LITESTREAM_MISSING,
    LITESTREAM_TOO_OLD,
    STORE_AWAY,
    NO_STORE,
)


def decide(facts: Facts) -> Iterator[Finding]:
    """Look at the environment, the programs and the store."""
    environment = facts.environment
    if environment is not None:
        yield from (VARIABLE_EMPTY.found(f"{name} is empty.", subject=name) for name in environment.empty)
        for name in environment.unexpanded:
            yield VARIABLE_UNEXPANDED.found(f"{name} holds a reference that nobody has resolved.", subject=name)
        yield from (SETTINGS.found(problem) for problem in environment.problems)
    yield from _programs(facts)
    store = facts.store
    if store is not None and store.problem:
        yield STORE_AWAY.found(store.problem, subject=store.name)
    if store is not None and not store.name:
        yield NO_STORE.found("Neither MODBOT_REPLICA_STORE nor LITESTREAM_BUCKET names a store.", subject="this pod")


def _programs(facts: Facts) -> Iterator[Finding]:
    programs = facts.programs
    if programs is None:
        return
    if programs.sqlite:
        yield SQLITE_TOO_OLD.found(programs.sqlite)
    if facts.store is None or not facts.store.name:
        return
    if not programs.litestream_version:
        yield LITESTREAM_MISSING.found(f"There is no program {programs.litestream} that tells its version.")
        return
    match = _VERSION.search(programs.litestream_version)
    if match is None or tuple(int(part) for part in match.groups()) < _OLDEST_LITESTREAM:
        yield LITESTREAM_TOO_OLD.found(f"{programs.litestream} is version {programs.litestream_version}.")
