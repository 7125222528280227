"""The claim and the signs of life in each kind of store: one gets a free store, and ages are by the store's clock."""

from __future__ import annotations

import asyncio

from modbot.domain.ids import ClusterId, Incarnation
from modbot.ops import claims
from modbot.ops.replicas import ReplicaStore


async def test_one_of_many_gets_a_free_store(store: ReplicaStore) -> None:
    names = [ClusterId(f"c{number}") for number in range(8)]
    holders = set(await asyncio.gather(*(claims.take_free(store, name) for name in names)))
    assert len(holders) == 1
    assert await claims.read(store) in holders


async def test_a_pod_is_seen_until_it_says_goodbye(store: ReplicaStore) -> None:
    assert (await claims.look(store, {})).busy == ""
    await claims.beat(store, "gateway-0", Incarnation("i"))
    assert (await claims.look(store, {})).pods == ("gateway-0",)
    await claims.tidy(store)
    assert (await claims.look(store, {})).pods == ("gateway-0",)
    await claims.part(store, Incarnation("i"))
    await claims.part(store, Incarnation("i"))
    sight = await claims.look(store, {})
    assert (sight.pods, sight.missed) == ((), ())
    assert await store.shards() == []
