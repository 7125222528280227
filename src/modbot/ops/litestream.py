"""Litestream: what the sidecar is told over its control socket, and the program that restores.

The sidecar is a process of its own beside the pod. It watches the files that were registered with it and uploads what is committed to
them. Its registrations live in its memory only: after a restart it knows no file, and answers so. `sync` is a barrier: when it
returns, everything that was committed to the file before it was called is in the store.

Litestream keeps its own state of a file in a folder beside it. It continues there when the file is registered again under the same
address; before a *new* address the folder is deleted, so that the new path begins with the whole database.

Nothing here is retried, and nothing here decides what happens to a shard while the sidecar or the store is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import aiohttp
import msgspec

from modbot.ops.replicas import ReplicationError

_HOST = "http://litestream"  # the socket is the address; HTTP wants a name
_ASK_LIMIT = 5.0
_MARGIN = 10.0
_PATHLIKE = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_REFUSED_BY_LITESTREAM = frozenset({"AWS_CA_BUNDLE"})
_OUR_OWN_FAULTS = (
    "no space left",
    "permission denied",
    "too many open files",
    "input/output error",
    "read-only file system",
    "cannot allocate memory",
    "disk quota exceeded",
)
_T = TypeVar("_T")


class SidecarAwayError(ReplicationError):
    """The Litestream sidecar does not answer on its socket."""

    code = "sidecar_away"
    hint = "Look whether the sidecar runs and shares MODBOT_LITESTREAM_SOCKET with the pod. The shards go on meanwhile."


class SidecarSilentError(SidecarAwayError):
    """The Litestream sidecar is there and does not answer in time, so nobody knows what it is doing."""

    code = "sidecar_silent"
    hint = "Look at the sidecar: is it stopped, or short of processor time? Restart it if it stays silent."


class NotRegisteredError(ReplicationError):
    """The sidecar does not know the file; it was restarted."""

    code = "not_registered"
    hint = "Nothing to do: the pod registers the file again."


class SyncFailedError(ReplicationError):
    """The sidecar could not bring a file to the store."""

    code = "sync_failed"
    hint = "Look at the sidecar's log; usually the store is away or refuses the keys. The shards go on meanwhile."


class RestoreError(ReplicationError):
    """Litestream could not restore a database from one path of the store."""

    code = "restore_failed"
    hint = "`litestream restore -o FILE ADDRESS` by hand shows the whole error."


class RestoreInterruptedError(ReplicationError):
    """A restore did not come to its end; that says nothing about the replica."""

    code = "restore_interrupted"
    hint = "Look at the pod's disk and memory, and whether MODBOT_LITESTREAM_BIN is there. It is tried again."


class Info(msgspec.Struct, frozen=True):
    """Which process the sidecar is."""

    version: str
    pid: int
    started_at: str


class Synced(msgspec.Struct, frozen=True):
    """A barrier that was passed: Litestream's number of the last transaction in the file, and in the store."""

    txid: int
    replicated_txid: int


class _Database(msgspec.Struct, frozen=True):
    path: str


class _List(msgspec.Struct, frozen=True):
    databases: list[_Database]


class _Problem(msgspec.Struct, frozen=True):
    error: str = ""


class Sidecar:
    """The control socket of one Litestream process. Use it as an async context manager."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.UnixConnector(str(self._socket), limit=0, force_close=True)
        self._http = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def info(self) -> Info:
        """Return who answers; another `started_at` than before means that all registrations are gone."""
        return await self._call("GET", "/info", Info)

    async def registered(self) -> set[Path]:
        """Return the files that the sidecar watches."""
        return {Path(each.path) for each in (await self._call("GET", "/list", _List)).databases}

    async def register(self, path: Path, url: str) -> None:
        """Watch a file and replicate it to an address. A file that is registered keeps the address that it has."""
        await self._call("POST", "/register", dict, {"path": str(path), "replica_url": url})

    async def unregister(self, path: Path, *, limit: int) -> None:
        """Bring the file to the store once more, for `limit` seconds at most, and watch it no longer.

        `SyncFailedError`: the last part may be missing in the store; the file is let go all the same.
        """
        body = {"path": str(path), "timeout": limit}
        await self._call("POST", "/unregister", dict, body, seconds=limit + _MARGIN)

    async def sync(self, path: Path, *, limit: int) -> Synced:
        """Wait until everything that is committed now is in the store; `SyncFailedError` after `limit` seconds.

        `NotRegisteredError`: the sidecar does not watch the file.
        """
        body = {"path": str(path), "wait": True, "timeout": limit}
        synced = await self._call("POST", "/sync", Synced, body, seconds=limit + _MARGIN)
        if synced.txid == 0 or synced.replicated_txid < synced.txid:
            raise SyncFailedError(
                f"{path.name} is at {synced.txid} and its replica at {synced.replicated_txid} after a sync."
            )
        return synced

    async def _call(
        self, method: str, path: str, kind: type[_T], body: Any = None, *, seconds: float = _ASK_LIMIT
    ) -> _T:
        if self._http is None:
            raise SidecarAwayError("The connection to the sidecar is closed.")
        limit = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._http.request(method, f"{_HOST}{path}", json=body, timeout=limit) as answer:
                status, text = answer.status, await answer.read()
        except TimeoutError as error:
            raise SidecarSilentError(
                f"The sidecar does not answer on {self._socket} within {seconds:.0f} s."
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise SidecarAwayError(f"The sidecar does not answer on {self._socket}: {reason}") from error
        if status == 200:
            return msgspec.json.decode(text, type=kind)
        raise _refusal(path, status, text)


def _refusal(path: str, status: int, text: bytes) -> ReplicationError:
    with contextlib.suppress(msgspec.DecodeError):
        text = msgspec.json.decode(text, type=_Problem).error.encode()
    reason = text.decode(errors="replace")[:300]
    if path == "/sync" and status in {404, 409}:
        return NotRegisteredError(reason)
    return SyncFailedError(f"{path} was answered with {status}: {reason}")


def state_of(path: Path) -> Path:
    """Return the folder in which Litestream keeps its state of a file."""
    return path.with_name(f".{path.name}-litestream")


def forget_state(path: Path) -> None:
    """Delete that folder, so that the next path begins with the whole database."""
    folder = state_of(path)
    if folder.exists():
        shutil.rmtree(folder)


def child_environment(environ: Mapping[str, str], keys: Mapping[str, str]) -> dict[str, str]:
    """Return what a Litestream process needs of our environment: how to find things, and the keys of the store; no other secret."""
    kept = {
        name: value
        for name, value in environ.items()
        if name in _PATHLIKE or name in _PROXIES or name.startswith("AWS_")
    }
    return {name: value for name, value in {**kept, **keys}.items() if name not in _REFUSED_BY_LITESTREAM}


async def restore(
    program: str,
    url: str,
    output: Path,
    *,
    keys: Mapping[str, str],
    limit: float,
    check: Literal["quick", "full"] = "quick",
) -> None:
    """Restore a database to a file that is not there yet, and check it (`quick_check` or `integrity_check`).

    `RestoreError`: Litestream could not, because of what is in the store or because the store fails. `RestoreInterruptedError`: the
    reason is on this machine.

    `-if-replica-exists` is never used: with it a wrong address would be a success that restores nothing.

    Cancelling ends the program. What it leaves behind then is beside `output`, never under its name unless it is complete.
    """
    arguments = ("restore", "-o", str(output), "-integrity-check", check, url)
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            env=child_environment(os.environ, keys),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise RestoreInterruptedError(f"{program} cannot be started: {error.strerror}.") from error
    try:
        async with asyncio.timeout(limit):
            _, words = await process.communicate()
    except TimeoutError:
        raise RestoreInterruptedError(f"The restore took longer than {limit:.0f} s.") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
    if process.returncode != 0:
        lines = words.decode(errors="replace").strip().splitlines()
        reason = f"exit code {process.returncode}: {lines[-1][:300] if lines else 'no reason given'}"
        killed = process.returncode is not None and process.returncode < 0
        here = killed or any(sign in reason.lower() for sign in _OUR_OWN_FAULTS)
        raise RestoreInterruptedError(reason) if here else RestoreError(reason)
