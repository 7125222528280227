"""Looks at what surrounds a process on its machine: variables, volume, programs, replica store. Changes nothing that stays."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from modbot.cli.doctor.facts import Environment, Place, Programs, Store, Volume
from modbot.domain.errors import InvalidInputError, ModbotError, SettingsError
from modbot.domain.ids import parse_pod_id
from modbot.domain.pins import parse_labels
from modbot.ops import replicas, settings
from modbot.ops.replicas import ReplicaStore
from modbot.ops.settings import ConfigSettings, GatewaySettings, HttpSettings, ReplicaSettings
from modbot.shard import database

_GROUPS: Final[Mapping[Place, tuple[type[msgspec.Struct], ...]]] = {
    Place.HTTP: (HttpSettings,),
    Place.CONFIG: (ConfigSettings,),
    Place.GATEWAY: (GatewaySettings,),
    Place.SINGLE: (ConfigSettings, GatewaySettings, HttpSettings),
    Place.DESK: (),
}
_COMPRESSIONS: Final = ("zstd-stream", "zlib-stream", "none")
_REFERENCE: Final = re.compile(r"\$[({]\w+[)}]")
_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")
_PATIENCE: Final = 15.0
_SINGLE_BRINGS: Final = {"POD_NAME": "single-0", "DATABASE_URL": "postgresql://embedded"}


def place_of(environ: Mapping[str, str]) -> Place:
    """Tell from the variables whose environment this is.

    Only a config pod has the database, only a gateway pod a name and a volume. A pod that has those and the portal's secret, and is not
    told where the config service is, is all of them.
    """
    if environ.get("SERVICE_MODE") in set(Place):
        return Place(environ["SERVICE_MODE"])
    gateway = "POD_NAME" in environ or "MODBOT_DATA_DIR" in environ
    if gateway and "SESSION_SECRET" in environ and "MODBOT_CONFIG_URL" not in environ:
        return Place.SINGLE
    if "DATABASE_URL" in environ:
        return Place.CONFIG
    if gateway:
        return Place.GATEWAY
    return Place.HTTP if "SESSION_SECRET" in environ else Place.DESK


def environment(place: Place, environ: Mapping[str, str]) -> Environment | None:
    """Read the variables of a service as its start would; None at a desk, which needs none."""
    groups = _GROUPS[place]
    if not groups:
        return None
    if place is Place.SINGLE:
        environ = {**_SINGLE_BRINGS, **environ}
    known = {name for group in groups for name in settings.names(group)}
    empty = tuple(sorted(name for name in known if environ.get(name) == ""))
    unexpanded = tuple(sorted(name for name in known if _REFERENCE.search(environ.get(name, ""))))
    told = set(empty + unexpanded)
    problems = [
        problem
        for group in groups
        for problem in (*settings.problems(group, environ), *_further(group, environ))
        if problem.split(" ", 1)[0] not in told
    ]
    return Environment(tuple(dict.fromkeys(problems)), empty, unexpanded)


def volume(folder: Path) -> Volume:
    """Look whether a pod could work in a folder: a file is written and deleted, the lock is tried and let go."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"modbot doctor")
        disk = shutil.disk_usage(folder)
    except OSError as error:
        return Volume(str(folder), problem=f"{folder}: {error.strerror}.")
    largest = max((path.stat().st_size for path in folder.glob("*.sqlite3")), default=0)
    return Volume(str(folder), locked=_locked(folder), size=disk.total, free=disk.free, largest=largest)


async def programs(name: str) -> Programs:
    """Ask SQLite and Litestream for their versions."""
    try:
        database.check_sqlite()
        sqlite = ""
    except SettingsError as error:
        sqlite = str(error)
    return Programs(sqlite, name, await _version(name))


async def store(group: ReplicaSettings) -> Store | None:
    """List and read the store of the settings; None when the settings are half of something, which `environment` has said."""
    try:
        found = replicas.configured(group)
    except SettingsError:
        return None
    return Store() if found is None else await _probed(found)


async def _probed(found: ReplicaStore) -> Store:
    try:
        async with asyncio.timeout(_PATIENCE):
            await found.probe()
    except ModbotError as error:
        return Store(found.name, str(error))
    except TimeoutError:
        return Store(found.name, f"It does not answer within {_PATIENCE:.0f} s.")
    return Store(found.name)


def _further(group: type[msgspec.Struct], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what a service refuses at its start besides single variables; nothing while these are not right themselves."""
    try:
        loaded = settings.load(group, environ)
    except SettingsError:
        return
    if isinstance(loaded, HttpSettings) and _KEY.fullmatch(loaded.public_key) is None:
        yield "DISCORD_PUBLIC_KEY is not valid: expected 64 hexadecimal digits."
    if isinstance(loaded, GatewaySettings):
        yield from _of_gateway(loaded)


def _of_gateway(loaded: GatewaySettings) -> Iterator[str]:
    if loaded.discord.compression not in _COMPRESSIONS:
        yield f"MODBOT_GATEWAY_COMPRESSION must be one of {', '.join(_COMPRESSIONS)}."
    for name, parse, text in (
        ("POD_NAME", parse_pod_id, loaded.pod_name),
        ("MODBOT_POD_LABELS", parse_labels, loaded.labels),
    ):
        try:
            parse(text)
        except InvalidInputError as error:
            yield f"{name} is not valid: {error}"
    try:
        replicas.configured(loaded.replicas)
    except SettingsError as error:
        yield str(error)


def _locked(folder: Path) -> bool:
    try:
        lock = os.open(folder / "pod.lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


async def _version(program: str) -> str:
    if shutil.which(program) is None:
        return ""
    process = await asyncio.create_subprocess_exec(
        program, "version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            told, _ = await process.communicate()
    except TimeoutError:
        return ""
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return told.decode(errors="replace").strip()
