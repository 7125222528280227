"""Who serves from a store: one claim, signs of life that grow old, and the age of what was written last, all by the store's clock."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modbot.domain.ids import ClusterId, Epoch, Incarnation, ShardId
from modbot.ops import claims
from modbot.ops.replicas import Keys, ReplicaStore, StoreError
from modbot.ops.settings import Secret

A, B = ClusterId("a"), ClusterId("b")
ONE, TWO = Incarnation("i-1"), Incarnation("i-2")
SHARD = ShardId("3-of-16")


@pytest.fixture
def store(tmp_path: Path) -> ReplicaStore:
    return ReplicaStore(tmp_path.as_uri(), Keys(Secret(""), Secret("")))


def _age(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_free_store_is_the_first_ones(store: ReplicaStore) -> None:
    assert await claims.read(store) is None
    assert await claims.take_free(store, A) == A
    assert await claims.take_free(store, B) == A
    await claims.take(store, B)
    assert await claims.read(store) == B


async def test_of_two_who_find_it_free_at_once_one_gets_it(
    store: ReplicaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = iter([None])
    read = claims.read

    async def late(store: ReplicaStore) -> ClusterId | None:
        return next(seen) if seen.__length_hint__() else await read(store)

    await claims.take(store, A)
    monkeypatch.setattr(claims, "read", late)
    assert await claims.take_free(store, B) == A


async def test_a_claim_that_cannot_be_read_is_nobodys_and_not_free(store: ReplicaStore, tmp_path: Path) -> None:
    (tmp_path / "claim").write_text("{")
    with pytest.raises(StoreError, match="claim"):
        await claims.take_free(store, A)


async def test_a_sign_of_life_counts_for_a_minute_and_is_tidied_after_an_hour(
    store: ReplicaStore, tmp_path: Path
) -> None:
    for incarnation, name in ((ONE, "gateway-1"), (TWO, "gateway-0")):
        await claims.beat(store, name, incarnation)
    assert (await claims.look(store, {})).busy == "gateway-0 and gateway-1 serve from this store"
    _age(tmp_path / "pods" / ONE, 61)
    assert (await claims.look(store, {})).pods == ("gateway-0",)
    _age(tmp_path / "pods" / TWO, 3601)
    await claims.tidy(store)
    assert _names(tmp_path / "pods") == [ONE]


async def test_a_store_that_was_just_written_to_is_busy(store: ReplicaStore, tmp_path: Path) -> None:
    folder = tmp_path / SHARD / "e7"
    folder.mkdir(parents=True)
    (folder / "part").write_bytes(b"x")
    newest = {SHARD: Epoch(7)}
    assert "shard 3-of-16 was written to in this store 0 s ago" in (await claims.look(store, newest)).busy
    _age(folder / "part", 11)
    assert (await claims.look(store, newest)).busy == ""
    assert _names(tmp_path) == [SHARD], "the look leaves nothing behind"


async def test_notes_are_no_shards(store: ReplicaStore, tmp_path: Path) -> None:
    await claims.take(store, A)
    await claims.beat(store, "gateway-0", ONE)
    for name in ("3-of-16/e1", "guild-17/e2", "other/e3"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "part").touch()
    assert await store.shards() == ["3-of-16", "guild-17"]
