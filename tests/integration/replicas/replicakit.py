"""Real Litestream processes, real stores and a proxy that can stand still, for the tests of replication."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sysconfig
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import apsw
import psutil

from modbot.domain.ids import Epoch, ShardId
from modbot.domain.offsets import Offset
from modbot.ops import litestream
from modbot.ops.litestream import Sidecar
from modbot.ops.replicas import Keys, ReplicaStore
from modbot.ops.settings import Secret
from modbot.shard import database

SCRIPTS = Path(sysconfig.get_path("scripts"))
LITESTREAM = str(SCRIPTS / "litestream")
SHARD = ShardId("3-of-16")
NO_KEYS = Keys(Secret(""), Secret(""))
KEYS = Keys(Secret("a-key-of-the-tests"), Secret("a-secret-of-the-tests"))
BUCKET = "modbot-tests"
_PATIENCE = 20.0


@dataclass
class Process:
    """A program of the tests that is started, killed and ended by its id."""

    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    log: Path | None = None
    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        environment = litestream.child_environment(os.environ, self.environment)
        output = asyncio.subprocess.DEVNULL
        with contextlib.ExitStack() as stack:
            if self.log is not None:
                output = stack.enter_context(self.log.open("ab"))
            self._process = await asyncio.create_subprocess_exec(
                *self.arguments, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def status(self) -> str:
        assert self._process is not None
        return str(psutil.Process(self._process.pid).status())

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def sidecar(folder: Path, keys: Keys = NO_KEYS) -> AsyncIterator[tuple[Sidecar, Process]]:
    """Run Litestream as the sidecar of a pod whose volume is `folder`."""
    path = folder / "s.sock"
    config = folder / "litestream.yml"
    config.write_text(f"socket: {{enabled: true, path: {json.dumps(str(path))}}}\nlogging: {{stderr: true}}\n")
    process = Process((LITESTREAM, "replicate", "-config", str(config)), keys.environment(), folder / "litestream.log")
    await process.start()
    try:
        async with Sidecar(path) as control:
            await until_up(control)
            yield control, process
    finally:
        await process.kill()


def new(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def until_up(control: Sidecar) -> None:
    async def answers() -> bool:
        with contextlib.suppress(litestream.SidecarAwayError):
            return bool((await control.info()).version)
        return False

    await until(answers, "Litestream")


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not await condition():
        assert time.monotonic() < deadline, f"waited {_PATIENCE} s for {what}"
        await asyncio.sleep(0.02)


class File:
    """A shard file as far as replication looks at it: whose it is, under which epoch, up to which number."""

    def __init__(self, path: Path, *, epoch: int = 1, shard_id: str = SHARD) -> None:
        self.path = path
        self.connection = database.connect(path, replicated=True)
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS shard (id INTEGER PRIMARY KEY, shard_id TEXT, epoch INTEGER, session_id TEXT, "
            "resume_url TEXT, seq INTEGER, arrived_by INTEGER NOT NULL DEFAULT 0, rolled_back TEXT)"
        )
        self.connection.execute("CREATE TABLE IF NOT EXISTS ledger (seq INTEGER)")
        self.connection.execute(
            "INSERT INTO shard VALUES (1, ?1, ?2, 's', 'wss://r', 0, 0, NULL) ON CONFLICT (id) DO UPDATE SET epoch = ?2",
            (shard_id, epoch),
        )

    def write(self, seq: int) -> None:
        """Commit an event together with its number."""
        with self.connection:
            self.connection.execute("INSERT INTO ledger VALUES (?)", (seq,))
            self.connection.execute("UPDATE shard SET seq = ?", (seq,))

    def close(self) -> None:
        self.connection.close()


def ledger(path: Path) -> list[int]:
    connection = apsw.Connection(str(path))
    try:
        return [seq for (seq,) in connection.execute("SELECT seq FROM ledger ORDER BY rowid")]
    finally:
        connection.close()


def rolled_back(path: Path) -> str | None:
    """Return why a file says that it is older than what was replicated."""
    connection = apsw.Connection(str(path))
    try:
        told: str | None = next(connection.execute("SELECT rolled_back FROM shard"))[0]
        return told
    finally:
        connection.close()


async def restored(store: ReplicaStore, epoch: int, output: Path) -> list[int]:
    """Restore an epoch and return the numbers that it holds."""
    url = store.url_of(SHARD, Epoch(epoch))
    await litestream.restore(LITESTREAM, url, output, keys=store.keys.environment(), limit=60)
    return ledger(output)


Replicate = Callable[..., Awaitable[None]]


def files_of(store: ReplicaStore, epoch: int, shard_id: str = SHARD) -> list[Path]:
    """Return the files of an epoch in a store that is a folder."""
    return sorted(Path(store.name.removeprefix("file://"), shard_id, f"e{epoch}").rglob("*.ltx"))


def damage(files: list[Path], kind: str) -> None:
    assert len(files) >= 4
    middle = files[len(files) // 2]
    if kind == "truncated":
        middle.write_bytes(middle.read_bytes()[:-20])
    elif kind == "flipped":
        content = bytearray(middle.read_bytes())
        content[len(content) // 2] ^= 0xFF
        middle.write_bytes(content)
    elif kind == "empty":
        middle.write_bytes(b"")
    elif kind == "middle gone":
        middle.unlink()
    elif kind == "first gone":
        files[0].unlink()


def offset(seq: int, session: str = "s") -> Offset:
    return Offset(session_id=session, resume_url="wss://r", seq=seq)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class StallingProxy:
    """Passes bytes on to a server until it is told to stand still: nothing is refused, nothing arrives."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stall(self) -> None:
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                await self._flowing.wait()
                sink.write(data)
                await sink.drain()
        sink.close()
