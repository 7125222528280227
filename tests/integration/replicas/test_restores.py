"""Getting a shard's file back: what is sound is served, what is not is passed over aloud, and nothing starts empty (I8)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import replicakit
from replicakit import SHARD, File, Replicate, files_of

from modbot.cluster import protocol
from modbot.domain.ids import Epoch, MoveId
from modbot.ops import metrics
from modbot.ops.litestream import RestoreInterruptedError
from modbot.ops.replicas import ReplicaStore, StoreError
from modbot.services.gateway import restores
from modbot.services.gateway.restores import Found, NoSoundReplicaError, ReplicaAheadError, Restorer
from modbot.shard import database, restoring
from modbot.shard.engine import MissingFileError


def grant(epoch: int, *, since: int = 0, move: int = 0, served: bool = True, reported: int = 0) -> protocol.Shard:
    return protocol.Shard(
        shard_id=SHARD,
        epoch=Epoch(epoch),
        served=served,
        since_epoch=Epoch(since or epoch),
        since_move=MoveId(move),
        replicated_seq=reported,
    )


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    """The volume of the pod that takes the shard over."""
    folder = tmp_path / "pod"
    folder.mkdir()
    return folder


@pytest.fixture
def path(pod: Path) -> Path:
    return database.path_of(pod, SHARD)


@pytest.fixture
def settled() -> list[Path]:
    """The files that were asked to be let go of."""
    return []


@pytest.fixture
def restorer(pod: Path, folder_store: ReplicaStore, settled: list[Path]) -> Restorer:
    return _restorer(pod, folder_store, settled)


def _restorer(pod: Path, store: ReplicaStore | None, settled: list[Path], program: str = "") -> Restorer:
    async def let_go(file: Path) -> None:
        settled.append(file)

    return Restorer(pod, store, program=program or replicakit.LITESTREAM, settled=let_go)


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def counted(outcome: str) -> float:
    return metrics.RESTORES.labels(outcome)._value.get()


async def test_the_newest_epoch_is_restored(restorer: Restorer, replicate: Replicate, path: Path, pod: Path) -> None:
    await replicate(3, last=10)
    await replicate(4, last=25)
    assert await restorer.find(grant(5)) == Found(there=True, restored=Epoch(4))
    assert replicakit.ledger(path) == list(range(1, 26))
    assert replicakit.rolled_back(path) is None
    facts = restoring.read_facts(path)
    assert facts is not None
    assert (facts.epoch, facts.arrived_by, facts.offset) == (5, 0, replicakit.offset(25)), (
        "stamped before it has its name"
    )
    assert names_in(pod) == [path.name], "nothing is left over"


async def test_a_file_of_this_ownership_is_served_as_it_is(
    restorer: Restorer, replicate: Replicate, path: Path, settled: list[Path]
) -> None:
    await replicate(4, last=5)
    File(path, epoch=4).close()
    assert await restorer.find(grant(6, since=4)) == Found(there=True)
    assert (replicakit.ledger(path), settled) == ([], [])


async def test_a_file_that_was_handed_over_is_served_as_it_is(restorer: Restorer, path: Path) -> None:
    file = File(path, epoch=4)
    file.connection.execute("UPDATE shard SET arrived_by = 31")
    file.close()
    assert await restorer.find(grant(5, move=31)) == Found(there=True)
    with pytest.raises(MissingFileError):
        await restorer.find(grant(7, move=32))


async def test_a_file_of_an_earlier_ownership_gives_way_to_the_replica(
    restorer: Restorer, replicate: Replicate, path: Path, settled: list[Path]
) -> None:
    await replicate(4, last=5)
    stale = File(path, epoch=2)
    stale.write(99)
    log = database.log_of(path).read_bytes()
    stale.close()
    database.log_of(path).write_bytes(log)  # as a process that was killed leaves it
    assert await restorer.find(grant(5)) == Found(there=True, restored=Epoch(4))
    assert replicakit.ledger(path) == [1, 2, 3, 4, 5], "the old log must not be read into the new file"
    assert settled == [path]


async def test_a_file_that_does_not_count_is_kept_while_there_is_nothing_better(
    restorer: Restorer, path: Path, pod: Path, folder_store: ReplicaStore
) -> None:
    file = File(path, epoch=2)
    file.write(7)
    file.close()
    with pytest.raises(NoSoundReplicaError, match="epoch 2"):
        await restorer.find(grant(5))
    with pytest.raises(MissingFileError, match="epoch 2"):
        await _restorer(pod, None, []).find(grant(5))
    assert replicakit.ledger(path) == [7]


async def test_nothing_known_and_never_served_is_a_new_shard(restorer: Restorer, path: Path) -> None:
    database.log_of(path).write_bytes(b"left over")
    assert await restorer.find(grant(1, served=False)) == Found(there=False)
    assert names_in(path.parent) == []


async def test_never_served_but_in_the_store_is_restored(restorer: Restorer, replicate: Replicate, path: Path) -> None:
    """Its owner died between the first barrier and the first report."""
    await replicate(1, last=3)
    assert await restorer.find(grant(2, served=False)) == Found(there=True, restored=Epoch(1))
    assert replicakit.ledger(path) == [1, 2, 3]


async def test_a_shard_that_begins_a_new_life_leaves_the_replicas_of_its_old_one(
    restorer: Restorer, replicate: Replicate, path: Path
) -> None:
    await replicate(4, last=5)
    shard = msgspec.structs.replace(grant(5, served=False), born_epoch=Epoch(5))
    assert await restorer.find(shard) == Found(there=False)
    shard = msgspec.structs.replace(grant(6), born_epoch=Epoch(5))
    with pytest.raises(NoSoundReplicaError):
        await restorer.find(shard)
    await replicate(5, last=2)
    assert await restorer.find(shard) == Found(there=True, restored=Epoch(5))
    assert replicakit.ledger(path) == [1, 2]


async def test_a_restarted_owner_stamps_its_file_before_the_path_changes(
    restorer: Restorer, replicate: Replicate, path: Path
) -> None:
    await replicate(4, last=5, stamped=5)
    assert await restorer.find(grant(6)) == Found(there=True, restored=Epoch(4))


@pytest.mark.parametrize(
    "damage", ["truncated", "flipped", "first gone", "middle gone", "empty", "foreign", "later", "earlier"]
)
async def test_an_epoch_that_is_not_sound_is_passed_over_aloud(
    restorer: Restorer, replicate: Replicate, path: Path, folder_store: ReplicaStore, damage: str
) -> None:
    outcome = {"first gone": "incomplete", "foreign": "wrong", "later": "wrong", "earlier": "wrong"}.get(
        damage, "damaged"
    )
    before = counted(outcome)
    await replicate(3, last=10)
    stamped = {"later": 99, "earlier": 2}.get(damage, 4)
    await replicate(4, last=40, stamped=stamped, shard_id="9-of-16" if damage == "foreign" else SHARD)
    replicakit.damage(files_of(folder_store, 4), damage)
    assert await restorer.find(grant(5)) == Found(there=True, restored=Epoch(3))
    assert replicakit.ledger(path) == list(range(1, 11))
    assert counted(outcome) == before + 1
    known = outcome != "incomplete"  # what has no beginning never held anything
    assert replicakit.rolled_back(path) == (
        "the replica of epoch 4 is not sound, and that of epoch 3 took its place" if known else None
    )


@pytest.mark.parametrize("served", [True, False])
async def test_when_nothing_is_sound_the_shard_waits(
    restorer: Restorer, replicate: Replicate, path: Path, folder_store: ReplicaStore, *, served: bool
) -> None:
    await replicate(4, last=40)
    replicakit.damage(files_of(folder_store, 4), "truncated")
    with pytest.raises(NoSoundReplicaError):
        await restorer.find(grant(5, served=served))
    assert names_in(path.parent) == []


async def test_a_served_shard_without_any_replica_waits(restorer: Restorer, path: Path) -> None:
    with pytest.raises(NoSoundReplicaError):
        await restorer.find(grant(5))
    assert names_in(path.parent) == []


async def test_a_store_that_knows_a_later_epoch_is_somebody_elses(
    restorer: Restorer, replicate: Replicate, path: Path
) -> None:
    await replicate(7, last=3)
    for served in (True, False):
        with pytest.raises(ReplicaAheadError):
            await restorer.find(grant(2, served=served))
    assert names_in(path.parent) == []


async def test_a_replica_behind_the_last_report_is_served_and_counted(restorer: Restorer, replicate: Replicate) -> None:
    before = counted("behind"), counted("restored")
    await replicate(4, last=12)
    assert (await restorer.find(grant(5, reported=13))).restored == 4
    assert (counted("behind"), counted("restored")) == (before[0] + 1, before[1])


async def test_an_older_epoch_is_never_taken_because_the_store_fails(
    restorer: Restorer, replicate: Replicate, path: Path, folder_store: ReplicaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await replicate(3, last=10)
    await replicate(4, last=40)
    replicakit.damage(files_of(folder_store, 4), "truncated")  # what the store gave; whether it is all, nobody knows

    async def unreadable(*_arguments: Any) -> None:
        raise StoreError("A file cannot be read.")

    monkeypatch.setattr(folder_store, "read_through", unreadable)
    with pytest.raises(StoreError):
        await restorer.find(grant(5))
    assert names_in(path.parent) == []
    shutil.rmtree(folder_store.name.removeprefix("file://"))
    with pytest.raises((StoreError, NoSoundReplicaError)):
        await restorer.find(grant(5))


async def test_an_older_epoch_is_never_taken_because_this_machine_fails(
    pod: Path, replicate: Replicate, path: Path, folder_store: ReplicaStore
) -> None:
    await replicate(3, last=10)
    await replicate(4, last=40)
    with pytest.raises(RestoreInterruptedError):
        await _restorer(pod, folder_store, [], program="no-such-litestream").find(grant(5))
    assert names_in(pod) == []


async def test_a_death_at_any_line_of_placing_leaves_nothing_half(
    replicate: Replicate, restorer: Restorer, path: Path, monkeypatch: pytest.MonkeyPatch, pod: Path
) -> None:
    await replicate(4, last=5)
    for step in ("_sync", "discard", "rename"):
        stale = File(path, epoch=2)
        stale.write(99)
        stale.close()
        with monkeypatch.context() as patch:
            _die_at(patch, step)
            with pytest.raises(_KilledError):
                await restorer.find(grant(5))
        restoring.forget_workplaces(pod)
        assert await restorer.find(grant(5)) == Found(there=True, restored=Epoch(4))
        assert replicakit.ledger(path) == [1, 2, 3, 4, 5]
        database.discard(path)


class _KilledError(Exception):
    pass


def _die_at(patch: pytest.MonkeyPatch, step: str) -> None:
    def die(*_arguments: Any) -> None:
        raise _KilledError

    if step == "_sync":
        patch.setattr(restoring, "_sync", die)
    elif step == "discard":
        patch.setattr(restores.database, "discard", die)
    else:
        patch.setattr(Path, "rename", die)


def test_what_an_earlier_process_left_is_deleted(pod: Path) -> None:
    (restoring.workplace(pod, SHARD) / "x").write_text("half")
    kept = pod / f"{SHARD}.sqlite3"
    kept.touch()
    restoring.forget_workplaces(pod)
    assert list(pod.iterdir()) == [kept]
