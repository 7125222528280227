"""The restore drill: what is sound is proven with its numbers, and what is damaged, missing, stale or foreign is found."""

from __future__ import annotations

import json
import types
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import replicakit
from click.testing import CliRunner
from replicakit import SHARD, Replicate

from modbot.cli import drilling, finding
from modbot.cli.drilling import Drill, Row
from modbot.cli.main import main as command_line
from modbot.cluster import protocol
from modbot.domain.ids import Epoch, PodId, ShardId
from modbot.domain.replicas import Proof
from modbot.ops.replicas import ReplicaStore
from modbot.ops.settings import ReplicaSettings
from modbot.shard import inspecting

OTHER = ShardId("4-of-16")


class Known:
    """A config service that knows some shards: their epoch, and what was reported as replicated (a list: one answer after the other)."""

    def __init__(self, **reported: Any) -> None:
        self.epoch = Epoch(5)
        self.reports = {SHARD: [0], **{ShardId(name.replace("_", "-")): value for name, value in reported.items()}}

    async def shards(self) -> Any:
        never = types.SimpleNamespace(shard_id="9-of-16", epoch=0)
        served = [types.SimpleNamespace(shard_id=name, epoch=self.epoch) for name in self.reports]
        return types.SimpleNamespace(shards=[*served, never])

    async def pods_health(self) -> Any:
        loads = [
            protocol.ShardLoad(
                shard_id=name, epoch=self.epoch, replicated_seq=answers.pop(0) if len(answers) > 1 else answers[0]
            )
            for name, answers in self.reports.items()
        ]
        return types.SimpleNamespace(pods=[types.SimpleNamespace(pod_id=PodId("gateway-0"), shards=loads)])


def _report(known: Known, *answers: int) -> Known:
    known.reports[SHARD] = list(answers)
    return known


async def _drill(known: Any, store: ReplicaStore, folder: Path, *, keep: bool = False) -> list[Row]:
    told: list[tuple[int, int, str]] = []

    def tell(*where: Any) -> None:
        told.append(where)

    drill = Drill(store, replicakit.LITESTREAM, folder, keep)
    rows = await drilling.prove(known, drill, tell=tell)
    assert [done for done, _, _ in told] == list(range(len(rows) + 1)), "people see how far it is"
    return rows


async def test_a_sound_replica_is_proven_and_counted(
    replicate: Replicate, folder_store: ReplicaStore, tmp_path: Path
) -> None:
    await replicate(4, last=3)
    await replicate(5, last=25)
    target = tmp_path / "drill"
    target.mkdir()
    (row,) = await _drill(_report(Known(), 25), folder_store, target)
    assert (row.verdict, row.reason, row.epoch, row.seq) == (Proof.PROVEN, "", 5, 25)
    assert row.rows == {"ledger": 25, "shard": 1}
    assert row.size > 8000
    assert row.age is not None
    assert 0 <= row.age < 60
    assert list(target.iterdir()) == [], "what was restored is gone"


async def test_what_is_kept_is_the_whole_file(replicate: Replicate, folder_store: ReplicaStore, tmp_path: Path) -> None:
    await replicate(5, last=12)
    target = tmp_path / "drill"
    target.mkdir()
    await _drill(Known(), folder_store, target, keep=True)
    assert [path.name for path in target.iterdir()] == [f"{SHARD}.sqlite3"]
    assert replicakit.ledger(target / f"{SHARD}.sqlite3") == list(range(1, 13))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "middle gone"])
async def test_a_damaged_replica_is_found_and_no_older_one_hides_it(
    replicate: Replicate, folder_store: ReplicaStore, tmp_path: Path, damage: str
) -> None:
    await replicate(4, last=10)
    await replicate(5, last=40)
    files = replicakit.files_of(folder_store, 5)
    replicakit.damage(files, damage)
    (row,) = await _drill(Known(), folder_store, tmp_path)
    assert (row.verdict, row.epoch) == (Proof.DAMAGED, 5)
    assert row.reason


async def test_a_shard_of_which_the_store_has_nothing_is_found(folder_store: ReplicaStore, tmp_path: Path) -> None:
    (row,) = await _drill(Known(), folder_store, tmp_path)
    assert (row.verdict, row.epoch, row.rows) == (Proof.MISSING, None, {})


async def test_a_replica_that_is_behind_what_was_reported_is_found(
    replicate: Replicate, folder_store: ReplicaStore, tmp_path: Path
) -> None:
    await replicate(5, last=10)
    (row,) = await _drill(_report(Known(), 11), folder_store, tmp_path)
    assert (row.verdict, row.reason) == (Proof.BEHIND, "it ends at number 10; its owner reported 11 as replicated")


@pytest.mark.parametrize("answers", [(10, 99), (99, 1)])
async def test_what_goes_on_during_the_drill_is_not_held_against_the_replica(
    replicate: Replicate, folder_store: ReplicaStore, tmp_path: Path, answers: tuple[int, int]
) -> None:
    """More was replicated meanwhile; or a new session began, which counts from 1."""
    await replicate(5, last=10)
    known = Known()
    known.reports[SHARD] = [0, *answers]
    (row,) = await _drill(known, folder_store, tmp_path)
    assert row.verdict is Proof.PROVEN


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        ({"epoch": 5, "shard_id": "9-of-16"}, Proof.WRONG),
        ({"epoch": 5, "stamped": 2}, Proof.WRONG),
        ({"epoch": 6}, Proof.AHEAD),
    ],
)
async def test_a_replica_of_something_else_is_found(
    replicate: Replicate, folder_store: ReplicaStore, tmp_path: Path, made: dict[str, Any], verdict: Proof
) -> None:
    await replicate(last=5, **made)
    (row,) = await _drill(Known(), folder_store, tmp_path)
    assert row.verdict is verdict
    assert row.reason


async def test_one_that_is_not_sound_makes_the_exit_code_1(
    replicate: Replicate, folder_store: ReplicaStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await replicate(5, last=10)
    known = Known()

    @asynccontextmanager
    async def client(_state: Path) -> AsyncIterator[Any]:
        yield known

    settings = ReplicaSettings(program=replicakit.LITESTREAM)
    monkeypatch.setattr(finding, "client", client)
    monkeypatch.setattr(finding, "replica_store", lambda _state: (folder_store, settings))

    async def verb(*arguments: str) -> tuple[int, str]:
        import asyncio

        result = await asyncio.to_thread(CliRunner().invoke, command_line, ["restore-drill", *arguments])
        return result.exit_code, result.stdout

    code, text = await verb()
    assert (code, "1 of 1 shards are proven." in text) == (0, True)
    known.reports[OTHER] = [0]
    code, text = await verb("--json")
    assert code == 1
    assert {row["shard_id"]: row["verdict"] for row in json.loads(text)} == {SHARD: "proven", OTHER: "missing"}
    code, text = await verb()
    assert (code, "missing: the store has nothing of it" in " ".join(text.split())) == (1, True)
    assert (await verb("--keep"))[0] == 2
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "pod.lock").touch()
    assert (await verb("--to", str(volume)))[0] == 2, "never on a pod's volume"
    assert list(inspecting.files(volume)) == []
