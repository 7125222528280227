"""A pod at the replica store: it gives signs of life, serves nothing from another cluster's store, and is stopped by nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modbot.domain.errors import ModbotError
from modbot.domain.ids import ClusterId, Incarnation, PodId
from modbot.ops import claims
from modbot.ops.claims import ForeignStoreError
from modbot.ops.replicas import Keys, ReplicaStore, StoreError
from modbot.ops.settings import Secret
from modbot.services.gateway import presence
from modbot.services.gateway.presence import Presence

OURS, THEIRS = ClusterId("ours"), ClusterId("theirs")


@pytest.fixture
def store(tmp_path: Path) -> ReplicaStore:
    return ReplicaStore(tmp_path.as_uri(), Keys(Secret(""), Secret("")))


@pytest.fixture
def lost() -> list[ModbotError]:
    """What the pod was told to end for."""
    return []


@pytest.fixture
def pod(store: ReplicaStore, lost: list[ModbotError]) -> Presence:
    return _pod(store, lost)


def _pod(store: ReplicaStore | None, lost: list[ModbotError]) -> Presence:
    return Presence(store, PodId("gateway-0"), Incarnation("i-1"), cluster=lambda: OURS, lost=lost.append)


async def _busy(store: ReplicaStore) -> str:
    return (await claims.look(store, {})).busy


async def _until(condition: Callable[[], Any]) -> None:
    """Wait for something that another task or process does."""
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_the_first_pod_makes_the_store_its_clusters_and_is_seen_until_it_leaves(
    store: ReplicaStore, pod: Presence
) -> None:
    await pod.require()
    assert await claims.read(store) == OURS
    assert await _busy(store) == "gateway-0 serves from this store"
    await pod.close()
    assert await _busy(store) == ""
    assert await claims.read(store) == OURS, "the store stays the cluster's"


async def test_in_another_clusters_store_nothing_is_served_and_no_sign_is_given(
    store: ReplicaStore, pod: Presence, lost: list[ModbotError]
) -> None:
    await claims.take(store, THEIRS)
    for _ in range(2):
        with pytest.raises(ForeignStoreError, match="cluster theirs; this is ours"):
            await pod.require()
    assert await _busy(store) == ""
    assert lost == [], "it has served nothing, so it need not end"
    await pod.close()


async def test_a_pod_whose_store_is_taken_over_ends(
    store: ReplicaStore, pod: Presence, lost: list[ModbotError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BEAT_EVERY", 0.01)
    await pod.require()
    running = asyncio.create_task(pod.run())
    await claims.take(store, THEIRS)
    await _until(lambda: lost)
    assert isinstance(lost[0], ForeignStoreError)
    assert len(lost) == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_it_gives_signs_again_and_again(
    store: ReplicaStore, pod: Presence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BEAT_EVERY", 0.01)
    await pod.require()
    await claims.part(store, Incarnation("i-1"))
    running = asyncio.create_task(pod.run())
    await _until(lambda: list(tmp_path.glob("pods/*")))
    assert await _busy(store) == "gateway-0 serves from this store"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("fault", ["fails", "hangs"])
async def test_a_store_that_does_not_answer_stops_nobody(
    pod: Presence, lost: list[ModbotError], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    async def away(*_arguments: object) -> ClusterId:
        if fault == "hangs":
            await asyncio.Event().wait()
        raise StoreError("It is away.")

    monkeypatch.setattr(claims, "take_free", away)
    monkeypatch.setattr(presence, "_FIRST_LIMIT", 0.02)
    await pod.require()
    assert lost == []


async def test_without_a_store_there_is_nothing_to_ask(lost: list[ModbotError]) -> None:
    pod = _pod(None, lost)
    await pod.require()
    await pod.close()
