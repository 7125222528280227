"""The replica store: a folder or a bucket with one path per shard and epoch.

`<store>/<shard>/e<epoch>` is written by the Litestream sidecar of the owner under that epoch and by nobody else (I8): an owner that was
replaced can only write into a path that its successor has left behind. Paths are read newest first. Beside the replicas lie a few notes
about who serves from the store (`claims.py`).

This module names paths, lists and deletes them. It neither writes replicas nor restores from them, and never puts a key into an
address: keys travel by environment.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import obstore
import obstore.exceptions
from obstore.store import LocalStore, ObjectStore, S3Store

from modbot.domain.errors import InvalidInputError, ModbotError, SettingsError
from modbot.domain.ids import Epoch, ShardId, parse_shard_id
from modbot.ops.settings import ReplicaSettings, Secret

_PREFIX = "modbot"
_EPOCH = re.compile(r"e([1-9]\d*)")
_PLAIN = re.compile(r"[A-Za-z0-9._~/@+,=:-]*")  # Litestream and obstore escape other characters differently
_OPTIONS = frozenset({"endpoint", "region", "forcePathStyle"})
_FIRST_FILE = "0000000000000001-"
_TIMEOUT = timedelta(seconds=10)
_PATIENCE = timedelta(seconds=15)
_BATCH = 500
_THREADS = ThreadPoolExecutor(4, thread_name_prefix="replica-store")
_T = TypeVar("_T")


class ReplicationError(ModbotError):
    """Replication of a shard file does not work at the moment; the shard goes on, and its replica falls behind."""

    code = "replication"
    hint = "Look at the log of the Litestream sidecar and at modbot_replica_lag_seconds."
    retry = True


class StoreError(ReplicationError):
    """The replica store does not answer or refuses."""

    code = "replica_store"
    hint = (
        "Check the address, the keys and the network of the replica store; docs/how-to/replicas.md lists the settings."
    )


@dataclass(frozen=True, slots=True)
class Keys:
    """How to prove who we are to an S3 service; empty: by what the environment of the pod offers."""

    access_key_id: Secret
    secret_access_key: Secret

    def environment(self) -> dict[str, str]:
        """Return the variables by which Litestream takes them."""
        if not self.access_key_id.reveal():
            return {}
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id.reveal(),
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key.reveal(),
        }


class ReplicaStore:
    """One store. `name` is what pods with the same store have in common, and holds no secret."""

    def __init__(self, url: str, keys: Keys) -> None:
        """Open the store at `url`; `SettingsError` when the address is not one."""
        self.keys = keys
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise SettingsError("MODBOT_REPLICA_STORE must not hold a key; give it by LITESTREAM_ACCESS_KEY_ID.")
        if parts.scheme not in {"file", "s3"} or parts.fragment or not _PLAIN.fullmatch(parts.netloc + parts.path):
            raise SettingsError(
                "MODBOT_REPLICA_STORE must be file:///folder or s3://bucket/prefix, of letters, digits and ._~/@+,=:- only."
            )
        options = _options(parts.query, allowed=_OPTIONS if parts.scheme == "s3" else frozenset())
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._query = f"?{urlencode(sorted(options.items()))}" if options else ""
        self.name = self._base + self._query
        self.kind = parts.scheme
        self._objects: ObjectStore
        if parts.scheme == "file":
            self._objects = _folder(parts.netloc, parts.path)
        else:
            self._objects = _bucket(parts.netloc, parts.path.strip("/"), options, keys)

    def url_of(self, shard_id: ShardId, epoch: Epoch) -> str:
        """Return the address under which a shard is replicated while it is owned under an epoch."""
        return f"{self._base}/{_path(shard_id, epoch)}{self._query}"

    async def probe(self) -> None:
        """List the store and read a byte of one of its files, if there is one; `StoreError` when either is not possible."""
        try:
            await _in_thread(lambda: _probe(self._objects))
        except _FAILURES as error:
            raise _explained(error, "The store cannot be listed and read") from error

    async def shards(self) -> list[ShardId]:
        """Return the shards of which the store has a path."""
        try:
            found = await _in_thread(lambda: obstore.list_with_delimiter(self._objects))
        except _FAILURES as error:
            raise _explained(error, "The replicas cannot be listed") from error
        return sorted(shard for prefix in found["common_prefixes"] if (shard := _shard(prefix)) is not None)

    async def epochs(self, shard_id: ShardId) -> list[Epoch]:
        """Return the epochs that have a path, newest first; some stores keep the name of a path of which nothing is left."""
        try:
            found = await _in_thread(lambda: obstore.list_with_delimiter(self._objects, shard_id))
        except _FAILURES as error:
            raise _explained(error, f"The replicas of {shard_id} cannot be listed") from error
        names = (_EPOCH.fullmatch(prefix.rpartition("/")[2]) for prefix in found["common_prefixes"])
        return sorted((Epoch(int(name[1])) for name in names if name), reverse=True)

    async def begins(self, shard_id: ShardId, epoch: Epoch) -> bool:
        """Say whether the path has a beginning: the first file, which holds the whole database, or a snapshot.

        Litestream uploads in order. A path without a beginning never held anything that could have been restored.
        """
        return any(_FIRST_FILE in name for name, _ in await self._files(shard_id, epoch))

    async def written_at(self, shard_id: ShardId, epoch: Epoch) -> datetime | None:
        """Return when the path was last written to; None when it is empty."""
        return max((moment for _, moment in await self._files(shard_id, epoch)), default=None)

    async def read_through(self, shard_id: ShardId, epoch: Epoch) -> None:
        """Read every file of one epoch; returns when the store can give all of it, so that what is wrong with it is in the files."""
        for name, _ in await self._files(shard_id, epoch):
            try:
                await _in_thread(functools.partial(_read_through, self._objects, name))
            except _FAILURES as error:
                raise _explained(error, f"A file of epoch {epoch} of {shard_id} cannot be read") from error

    async def forget(self, shard_id: ShardId, epoch: Epoch) -> None:
        """Delete everything of one epoch."""
        names = [name for name, _ in await self._files(shard_id, epoch)]
        try:
            for start in range(0, len(names), _BATCH):
                await _in_thread(functools.partial(obstore.delete, self._objects, names[start : start + _BATCH]))
        except FileNotFoundError:
            return  # somebody else is deleting it too
        except _FAILURES as error:
            raise _explained(error, f"Epoch {epoch} of {shard_id} cannot be deleted") from error

    async def read_note(self, name: str) -> bytes | None:
        """Return a small object beside the replicas; None when it is not there."""
        try:
            return await _in_thread(lambda: bytes(obstore.get(self._objects, name).bytes()))
        except FileNotFoundError:
            return None
        except _FAILURES as error:
            raise _explained(error, f"{name} cannot be read") from error

    async def write_note(self, name: str, text: bytes, *, new: bool = False) -> bool:
        """Write a small object beside the replicas; with `new` only if there is none, and False when there is one."""
        try:
            await _in_thread(lambda: obstore.put(self._objects, name, text, mode="create" if new else "overwrite"))
        except obstore.exceptions.AlreadyExistsError:
            return False
        except _FAILURES as error:
            raise _explained(error, f"{name} cannot be written") from error
        return True

    async def notes(self, folder: str) -> dict[str, datetime]:
        """Return the small objects of a folder, and when the store says that each was written."""
        try:
            return dict(await _in_thread(lambda: _listed(self._objects, f"{folder}/")))
        except _FAILURES as error:
            raise _explained(error, f"{folder} cannot be listed") from error

    async def delete_notes(self, names: Sequence[str]) -> None:
        """Delete small objects; one that is gone already is no error."""
        try:
            for name in names:
                await _in_thread(functools.partial(obstore.delete, self._objects, name))
        except FileNotFoundError:
            return
        except _FAILURES as error:
            raise _explained(error, f"{', '.join(names)} cannot be deleted") from error

    async def _files(self, shard_id: ShardId, epoch: Epoch) -> list[tuple[str, datetime]]:
        try:
            return await _in_thread(lambda: _listed(self._objects, f"{_path(shard_id, epoch)}/"))
        except _FAILURES as error:
            raise _explained(error, f"Epoch {epoch} of {shard_id} cannot be listed") from error


_FAILURES = (obstore.exceptions.BaseError, OSError, ValueError)


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Call the store in a thread of a few that do nothing else.

    The library's own coroutines end on threads of its own, which abort a process that has finished meanwhile.
    """
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)


def _listed(objects: ObjectStore, prefix: str) -> list[tuple[str, datetime]]:
    return [(found["path"], found["last_modified"]) for page in obstore.list(objects, prefix) for found in page]


def _probe(objects: ObjectStore) -> None:
    for page in obstore.list(objects, chunk_size=1):
        obstore.get_range(objects, page[0]["path"], start=0, length=1)
        return


def _read_through(objects: ObjectStore, name: str) -> None:
    for _chunk in obstore.get(objects, name).stream():
        pass


def configured(settings: ReplicaSettings) -> ReplicaStore | None:
    """Return the store that the settings name, or None; `SettingsError` when they are half of something.

    A variable that is missing must never become a wrong path in silence: then a shard would look as if it had no replica.
    """
    keys = Keys(settings.access_key_id, settings.secret_access_key)
    if bool(keys.access_key_id.reveal()) != bool(keys.secret_access_key.reveal()):
        raise SettingsError(
            "LITESTREAM_ACCESS_KEY_ID and LITESTREAM_SECRET_ACCESS_KEY belong together; one is missing."
        )
    named = {
        "LITESTREAM_BUCKET": settings.bucket,
        "LITESTREAM_ENDPOINT": settings.endpoint,
        "LITESTREAM_REGION": settings.region,
    }
    missing = [name for name, value in named.items() if not value]
    if settings.store:
        if len(missing) < len(named):
            raise SettingsError(
                "MODBOT_REPLICA_STORE and the LITESTREAM_ variables both name a store; set one of them."
            )
        return ReplicaStore(settings.store, keys)
    if len(missing) == len(named):
        if keys.access_key_id.reveal():
            raise SettingsError("There are keys for a replica store, but none is named: set LITESTREAM_BUCKET.")
        return None
    if missing:
        raise SettingsError(f"{' and '.join(missing)} must be set too, to name a replica store.")
    options = {"endpoint": settings.endpoint, "region": settings.region, "forcePathStyle": "true"}
    return ReplicaStore(f"s3://{settings.bucket}/{_PREFIX}?{urlencode(options)}", keys)


def _path(shard_id: ShardId, epoch: Epoch) -> str:
    return f"{shard_id}/e{epoch}"


def _shard(prefix: str) -> ShardId | None:
    try:
        return parse_shard_id(prefix.rstrip("/").rpartition("/")[2])
    except InvalidInputError:
        return None


def _options(query: str, *, allowed: frozenset[str]) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in allowed or not value:
            raise SettingsError(
                f"MODBOT_REPLICA_STORE: {name!r} is unknown or empty; known are {', '.join(sorted(allowed))}."
            )
    return options


def _folder(host: str, path: str) -> LocalStore:
    folder = Path(path)
    if host or not path.startswith("/") or folder == Path("/"):
        raise SettingsError("MODBOT_REPLICA_STORE: a folder is written file:///with/three/slashes.")
    try:
        return LocalStore(folder, automatic_cleanup=True)
    except _FAILURES as error:  # a folder that is not there is not made: it may be a volume that is not mounted
        raise SettingsError(f"MODBOT_REPLICA_STORE: {folder} cannot be used: {error}") from None


def _bucket(bucket: str, prefix: str, options: dict[str, str], keys: Keys) -> S3Store:
    if not bucket or not prefix:
        raise SettingsError("MODBOT_REPLICA_STORE: an S3 store is written s3://bucket/prefix.")
    endpoint = options.get("endpoint", "")
    path_style = options.get("forcePathStyle", "true" if endpoint else "false").lower() == "true"
    config: dict[str, str] = {"region": options.get("region", "us-east-1")}
    if endpoint:
        config["endpoint"] = endpoint if "://" in endpoint else f"https://{endpoint}"
    if keys.access_key_id.reveal():
        config |= {
            "access_key_id": keys.access_key_id.reveal(),
            "secret_access_key": keys.secret_access_key.reveal(),
        }
    return S3Store(
        bucket,
        prefix=prefix,
        virtual_hosted_style_request=not path_style,
        client_options={"allow_http": endpoint.startswith("http://"), "timeout": _TIMEOUT, "connect_timeout": _TIMEOUT},
        retry_config={"max_retries": 3, "retry_timeout": _PATIENCE},
        config=config,  # type: ignore[arg-type]  # a TypedDict of the same keys
    )


def _explained(error: Exception, what: str) -> StoreError:
    """Say what failed; obstore's own text names the address, but never a key."""
    return StoreError(f"{what}: {str(error).splitlines()[0][:300] if str(error) else type(error).__name__}")
