"""The real Litestream: barriers, its death, a store that stands still, one path per epoch."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
import replicakit
from aiohttp import web
from replicakit import SHARD, File

from modbot.domain.ids import Epoch
from modbot.ops import litestream
from modbot.ops.litestream import NotRegisteredError, RestoreError, RestoreInterruptedError, SidecarAwayError
from modbot.ops.replicas import ReplicaStore


async def test_what_a_barrier_covers_survives_the_death_of_everything(
    store: ReplicaStore, volume: Path, tmp_path: Path
) -> None:
    file = File(volume / "a.sqlite3")
    async with replicakit.sidecar(volume, store.keys) as (control, process):
        await control.register(file.path, store.url_of(SHARD, Epoch(1)))
        for seq in range(1, 51):
            file.write(seq)
        await control.sync(file.path, limit=30)
        await process.kill()
    assert await replicakit.restored(store, 1, tmp_path / "r.sqlite3") == list(range(1, 51))
    assert await store.epochs(SHARD) == [1]
    assert await store.begins(SHARD, Epoch(1))
    await store.read_through(SHARD, Epoch(1))


async def test_a_sidecar_that_was_killed_knows_nothing_and_goes_on_where_it_was(
    store: ReplicaStore, volume: Path, tmp_path: Path
) -> None:
    file = File(volume / "a.sqlite3")
    url = store.url_of(SHARD, Epoch(1))
    async with replicakit.sidecar(volume, store.keys) as (control, process):
        await control.register(file.path, url)
        file.write(1)
        before = await control.sync(file.path, limit=30)
        first = await control.info()
        await process.kill()
        with pytest.raises(SidecarAwayError):
            await control.sync(file.path, limit=30)
        file.write(2)
        await process.start()
        await replicakit.until_up(control)
        assert (await control.info()).started_at != first.started_at
        assert await control.registered() == set()
        with pytest.raises(NotRegisteredError):
            await control.sync(file.path, limit=30)
        await control.register(file.path, url)
        assert await control.registered() == {file.path}
        assert (await control.sync(file.path, limit=30)).replicated_txid > before.replicated_txid
    assert await replicakit.restored(store, 1, tmp_path / "r.sqlite3") == [1, 2]


async def test_a_new_epoch_begins_with_everything_and_the_old_path_stays_as_it_was(
    store: ReplicaStore, volume: Path, tmp_path: Path
) -> None:
    file = File(volume / "a.sqlite3")
    async with replicakit.sidecar(volume, store.keys) as (control, _):
        await control.register(file.path, store.url_of(SHARD, Epoch(1)))
        file.write(1)
        await control.sync(file.path, limit=30)
        await control.unregister(file.path, limit=15)
        litestream.forget_state(file.path)
        file.write(2)
        await control.register(file.path, store.url_of(SHARD, Epoch(2)))
        await control.sync(file.path, limit=30)
        assert await store.epochs(SHARD) == [2, 1]
        assert await replicakit.restored(store, 1, tmp_path / "1.sqlite3") == [1]
        assert await replicakit.restored(store, 2, tmp_path / "2.sqlite3") == [1, 2]
        await store.forget(SHARD, Epoch(1))
        assert not await store.begins(SHARD, Epoch(1))
        assert await store.written_at(SHARD, Epoch(1)) is None
        with pytest.raises(RestoreError):
            await replicakit.restored(store, 1, tmp_path / "3.sqlite3")
        assert not (tmp_path / "3.sqlite3").exists()
        assert await replicakit.restored(store, 2, tmp_path / "4.sqlite3") == [1, 2]


async def test_unregistering_brings_the_rest_to_the_store(store: ReplicaStore, volume: Path, tmp_path: Path) -> None:
    file = File(volume / "a.sqlite3")
    async with replicakit.sidecar(volume, store.keys) as (control, _):
        await control.register(file.path, store.url_of(SHARD, Epoch(1)))
        await control.sync(file.path, limit=30)
        file.write(1)
        await control.unregister(file.path, limit=15)
        await control.unregister(file.path, limit=5)  # a second time changes nothing
    assert await replicakit.restored(store, 1, tmp_path / "r.sqlite3") == [1]


async def test_a_barrier_for_a_file_that_is_not_there_is_no_barrier(volume: Path, folder_store: ReplicaStore) -> None:
    async with replicakit.sidecar(volume) as (control, _):
        await control.register(volume / "gone.sqlite3", folder_store.url_of(SHARD, Epoch(1)))
        with pytest.raises(litestream.SyncFailedError):
            await control.sync(volume / "gone.sqlite3", limit=15)


@pytest.mark.parametrize("answer", [{"txid": 0, "replicated_txid": 0}, {"txid": 5, "replicated_txid": 4}])
async def test_a_barrier_that_the_store_has_not_reached_is_no_barrier(volume: Path, answer: dict[str, int]) -> None:
    async def sync(_request: web.Request) -> web.Response:
        return web.json_response({"status": "no_change", "path": "x", **answer})

    app = web.Application()
    app.router.add_post("/sync", sync)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(volume / "s.sock")).start()
    async with litestream.Sidecar(volume / "s.sock") as control:
        with pytest.raises(litestream.SyncFailedError):
            await control.sync(volume / "a.sqlite3", limit=1)
    await runner.cleanup()


async def test_a_sidecar_that_is_stopped_is_silent_and_not_away(volume: Path) -> None:
    async with replicakit.sidecar(volume) as (control, process):
        process.send(signal.SIGSTOP)

        async def stopped() -> bool:
            return process.status() == "stopped"

        await replicakit.until(stopped, "the signal to take effect")
        with pytest.raises(litestream.SidecarSilentError):
            await control._call("GET", "/info", litestream.Info, seconds=0.3)
        process.send(signal.SIGCONT)


async def test_a_restore_that_cannot_run_says_nothing_about_the_replica(
    volume: Path, folder_store: ReplicaStore, tmp_path: Path
) -> None:
    file = File(volume / "a.sqlite3")
    url = folder_store.url_of(SHARD, Epoch(1))
    async with replicakit.sidecar(volume) as (control, _):
        await control.register(file.path, url)
        await control.sync(file.path, limit=30)
    with pytest.raises(RestoreInterruptedError, match="cannot be started"):
        await litestream.restore("no-such-program", url, tmp_path / "r", keys={}, limit=30)
    with pytest.raises(RestoreInterruptedError, match="longer than"):
        await litestream.restore(replicakit.LITESTREAM, url, tmp_path / "r", keys={}, limit=0.0001)
    assert not (tmp_path / "r").exists()


async def test_a_cancelled_restore_leaves_no_process(volume: Path, folder_store: ReplicaStore, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\necho $$ > " + str(tmp_path / "pid") + "\nexec sleep 60\n")
    slow.chmod(0o755)
    url = folder_store.url_of(SHARD, Epoch(1))
    running = asyncio.create_task(litestream.restore(str(slow), url, tmp_path / "r", keys={}, limit=50))

    async def started() -> bool:
        return (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text())

    await replicakit.until(started, "the program")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_child_gets_neither_our_secrets_nor_the_variable_that_ends_litestream() -> None:
    environ = {
        "PATH": "/bin",
        "AWS_CA_BUNDLE": "x",
        "AWS_REGION": "r",
        "DISCORD_HASH": "t",
        "MODBOT_INTERNAL_TOKEN": "t",
    }
    made = litestream.child_environment(environ, {"AWS_ACCESS_KEY_ID": "k"})
    assert made == {"PATH": "/bin", "AWS_REGION": "r", "AWS_ACCESS_KEY_ID": "k"}
