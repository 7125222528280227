"""What the pod does about replication, with a scripted sidecar: nothing that fails stops a shard, and nothing counts too early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from modbot.domain.ids import Epoch, ShardId
from modbot.domain.offsets import Offset
from modbot.ops import litestream
from modbot.ops.litestream import NotRegisteredError, SidecarAwayError, SidecarSilentError, Synced, SyncFailedError
from modbot.ops.replicas import Keys, ReplicaStore, ReplicationError
from modbot.ops.settings import Secret
from modbot.services.gateway import replicating
from modbot.services.gateway.replicating import Replication

SHARD = ShardId("0-of-2")


def offset(seq: int, session: str = "s") -> Offset:
    return Offset(session_id=session, resume_url="u", seq=seq)


class Engine:
    """As much of an engine as replication looks at."""

    def __init__(self, path: Path, epoch: int) -> None:
        self.shard_id = SHARD
        self.epoch = Epoch(epoch)
        self.path = path
        self.offset: Offset | None = None
        self.on_change: Callable[[], None] = lambda: None

    def commit(self, seq: int, session: str = "s") -> None:
        self.offset = offset(seq, session)
        self.on_change()


class Sidecar:
    """Remembers what it is told; fails when it is told to; holds barriers back while `held`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.files: dict[Path, str] = {}
        self.fault: Exception | None = None
        self.told_again = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def registered(self) -> set[Path]:
        return set(self.files)

    async def register(self, path: Path, url: str) -> None:
        self._fail(SidecarAwayError)
        self.calls.append(("register", url.rpartition("/")[2]))
        if sum(call[0] == "register" for call in self.calls) > 1:
            self.told_again.set()
        self.files.setdefault(path, url)

    async def unregister(self, path: Path, *, limit: int) -> None:
        self._fail(SidecarAwayError)
        if path in self.files:
            self.calls.append(("unregister", self.files.pop(path).rpartition("/")[2]))

    async def sync(self, path: Path, *, limit: int) -> Synced:
        self._fail(Exception)
        if path not in self.files:
            raise NotRegisteredError("database not found")
        await self.open.wait()
        self._fail(Exception)
        self.calls.append(("sync",))
        return Synced(1, 1)

    def _fail(self, kind: type[Exception]) -> None:
        if isinstance(self.fault, kind):
            raise self.fault


@pytest.fixture
def sidecar(monkeypatch: pytest.MonkeyPatch) -> Sidecar:
    monkeypatch.setattr(replicating, "_SYNC_EVERY", 0.001)
    monkeypatch.setattr(replicating, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(replicating, "_LONGEST_PAUSE", 0.005)
    monkeypatch.setattr(replicating, "_LIST_EVERY", 0.0)
    monkeypatch.setattr(replicating, "_LOOK_EVERY", 0.001)
    return Sidecar()


@pytest.fixture
async def replication(sidecar: Any, tmp_path: Path) -> AsyncIterator[Replication]:
    made = Replication(ReplicaStore(tmp_path.as_uri(), Keys(Secret(""), Secret(""))), sidecar)
    yield made
    sidecar.fault = None
    sidecar.open.set()
    made.end(SHARD)
    await made.close()


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    return Engine(tmp_path / "0-of-2.sqlite3", 5)


async def barrier(replication: Replication, engine: Any) -> None:
    await asyncio.wait_for(replication.barrier(engine), 5)


async def test_heartbeats_acknowledge_what_a_barrier_has_covered(
    replication: Replication, sidecar: Sidecar, engine: Any
) -> None:
    engine.offset = offset(10)
    replication.begin(engine)
    assert replication.durable(engine) is None, "nobody knows what the replica of an older file holds"
    await barrier(replication, engine)
    assert replication.durable(engine) == offset(10)
    sidecar.open.clear()
    engine.commit(11)
    await asyncio.sleep(0.02)
    assert replication.durable(engine) == offset(10)
    sidecar.open.set()
    await barrier(replication, engine)
    assert replication.durable(engine) == offset(11)


async def test_a_restored_offset_is_known_to_be_replicated(
    replication: Replication, sidecar: Sidecar, engine: Any
) -> None:
    sidecar.open.clear()
    engine.offset = offset(10)
    replication.begin(engine, known=engine.offset)
    assert replication.durable(engine) == offset(10)


async def test_the_number_of_an_old_session_is_never_acknowledged_in_a_new_one(
    replication: Replication, sidecar: Sidecar, engine: Any
) -> None:
    engine.offset = offset(5000, "old")
    replication.begin(engine)
    await barrier(replication, engine)
    sidecar.open.clear()
    engine.commit(3, "new")
    assert replication.durable(engine) is None
    sidecar.open.set()
    await barrier(replication, engine)
    assert replication.durable(engine) == offset(3, "new")


@pytest.mark.parametrize(
    "fault", [SidecarAwayError("a"), SidecarSilentError("s"), SyncFailedError("f"), OSError("disk")]
)
async def test_while_something_fails_the_lag_grows_and_it_goes_on_afterwards(
    replication: Replication, sidecar: Sidecar, engine: Any, fault: Any
) -> None:
    replication.begin(engine)
    await barrier(replication, engine)
    engine.commit(1)
    await barrier(replication, engine)
    sidecar.fault = fault
    engine.commit(2)
    await asyncio.sleep(0.05)
    behind = replication.replicated(SHARD)
    assert behind is not None
    assert behind.lag >= 0.04
    assert behind.offset == offset(1)
    sidecar.fault = None
    await barrier(replication, engine)
    caught_up = replication.replicated(SHARD)
    assert caught_up is not None
    assert (caught_up.lag, caught_up.offset) == (0, offset(2))


async def test_a_sidecar_that_forgot_everything_is_told_again(
    replication: Replication, sidecar: Sidecar, engine: Any
) -> None:
    looking = asyncio.create_task(replication.run())
    replication.begin(engine)
    await barrier(replication, engine)
    sidecar.files.clear()
    await asyncio.wait_for(sidecar.told_again.wait(), 5)  # although nothing is committed
    assert [call for call in sidecar.calls if call[0] == "register"] == [("register", "e5")] * 2
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


async def test_a_new_epoch_has_a_path_and_a_state_of_its_own(
    replication: Replication, sidecar: Sidecar, engine: Any
) -> None:
    state = litestream.state_of(engine.path)
    sidecar.files[engine.path] = "file:///x/e4"  # of a process that was killed
    state.mkdir()
    replication.begin(engine)
    await barrier(replication, engine)
    assert sidecar.calls[:3] == [("unregister", "e4"), ("register", "e5"), ("sync",)]
    assert not state.exists(), "the new path begins with the whole database"
    assert replication.complete() == {SHARD: 5}


async def test_the_same_epoch_goes_on_where_it_was(replication: Replication, sidecar: Sidecar, engine: Any) -> None:
    state = litestream.state_of(engine.path)
    replication.begin(engine)
    await barrier(replication, engine)
    state.mkdir()
    replication.end(SHARD)
    assert replication.replicated(SHARD) is None
    replication.begin(engine)
    await barrier(replication, engine)
    assert [call for call in sidecar.calls if call != ("sync",)] == [
        ("register", "e5"),
        ("unregister", "e5"),
        ("register", "e5"),
    ], "one after the other, although `end` returned at once"
    assert state.exists()


async def test_whoever_waits_for_a_barrier_of_a_closed_shard_is_told(
    replication: Replication, sidecar: Sidecar, engine: Any
) -> None:
    sidecar.open.clear()
    replication.begin(engine)
    waiting = asyncio.create_task(replication.barrier(engine))
    await asyncio.sleep(0.01)
    replication.end(SHARD)
    with pytest.raises(ReplicationError):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(ReplicationError):
        await replication.barrier(engine)


async def test_a_stale_file_is_touched_only_when_the_sidecar_has_let_go(
    replication: Replication, sidecar: Sidecar, engine: Any
) -> None:
    sidecar.files[engine.path] = "file:///x/e4"
    await replication.settled(engine.path)
    assert sidecar.calls == [("unregister", "e4")]
    sidecar.fault = SidecarAwayError("no such socket")
    await replication.settled(engine.path)  # a process that is not there holds nothing
    sidecar.fault = SidecarSilentError("stopped")
    with pytest.raises(SidecarSilentError):
        await replication.settled(engine.path)


async def test_without_a_store_what_is_committed_is_durable(tmp_path: Path) -> None:
    nothing: Any = None
    replication = Replication(None, nothing)
    engine: Any = Engine(tmp_path / "x.sqlite3", 1)
    replication.begin(engine)
    engine.commit(7)
    assert replication.durable(engine) == offset(7)
    assert replication.replicated(SHARD) is None
    await replication.barrier(engine)
    await replication.settled(engine.path)
    replication.end(SHARD)
    await replication.close()


async def test_a_log_that_nobody_moves_is_moved_here_when_it_is_large(
    replication: Replication, sidecar: Sidecar, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[Path] = []
    monkeypatch.setattr(replicating.database, "move_log", moved.append)
    monkeypatch.setattr(replicating.database, "log_bytes", lambda _path: 65 * 2**20)
    replication.begin(engine)
    await barrier(replication, engine)
    await replication._look_at_logs()
    assert moved == [], "Litestream moves it"
    sidecar.fault = SidecarAwayError("gone")
    engine.commit(1)
    await asyncio.sleep(0.02)
    await replication._look_at_logs()
    assert moved == [engine.path]
