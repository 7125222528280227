"""What names a replica store, and what is half of a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modbot.domain.errors import SettingsError
from modbot.domain.ids import Epoch, ShardId
from modbot.ops import replicas, settings
from modbot.ops.replicas import Keys, ReplicaStore
from modbot.ops.settings import ReplicaSettings, Secret

SHARD = ShardId("3-of-16")
COMPOSED = {"LITESTREAM_BUCKET": "b", "LITESTREAM_ENDPOINT": "https://s3.example:9000", "LITESTREAM_REGION": "eu-1"}
KEYS = {"LITESTREAM_ACCESS_KEY_ID": "an-id-of-a-key", "LITESTREAM_SECRET_ACCESS_KEY": "its-long-own-value"}


def configured(environ: dict[str, str]) -> ReplicaStore | None:
    return replicas.configured(settings.load(ReplicaSettings, environ))


def test_nothing_named_is_no_store() -> None:
    assert configured({}) is None
    assert configured({"MODBOT_REPLICA_STORE": "", "LITESTREAM_BUCKET": ""}) is None


def test_a_folder(tmp_path: Path) -> None:
    store = configured({"MODBOT_REPLICA_STORE": f"{tmp_path.as_uri()}/"})
    assert store is not None
    assert store.name == tmp_path.as_uri()
    assert store.url_of(SHARD, Epoch(7)) == f"{tmp_path.as_uri()}/3-of-16/e7"


def test_a_bucket_by_its_variables_and_by_its_address_are_the_same_store() -> None:
    composed = configured({**COMPOSED, **KEYS})
    address = "s3://b/modbot?region=eu-1&forcePathStyle=true&endpoint=https%3A%2F%2Fs3.example%3A9000"
    named = configured({"MODBOT_REPLICA_STORE": address, **KEYS})
    assert composed is not None
    assert named is not None
    assert composed.name == named.name
    assert composed.url_of(SHARD, Epoch(2)).startswith(
        "s3://b/modbot/3-of-16/e2?endpoint=https%3A%2F%2Fs3.example%3A9000"
    )
    assert composed.keys.environment()["AWS_SECRET_ACCESS_KEY"] == "its-long-own-value"


def test_no_key_is_in_what_others_get_to_see() -> None:
    store = configured({**COMPOSED, **KEYS})
    assert store is not None
    for text in (store.name, store.url_of(SHARD, Epoch(1)), repr(store), repr(store.keys)):
        assert "its-long-own-value" not in text
        assert "an-id-of-a-key" not in text


@pytest.mark.parametrize("missing", sorted(COMPOSED))
def test_half_of_a_bucket_is_refused_by_name(missing: str) -> None:
    environ = {name: value for name, value in COMPOSED.items() if name != missing}
    for half in (environ, {**environ, missing: ""}):
        with pytest.raises(SettingsError, match=missing):
            configured(half)


@pytest.mark.parametrize("missing", sorted(KEYS))
def test_half_of_a_key_is_refused(missing: str) -> None:
    environ = {**COMPOSED, **{name: value for name, value in KEYS.items() if name != missing}}
    with pytest.raises(SettingsError, match="LITESTREAM_"):
        configured(environ)


@pytest.mark.parametrize(
    "environ",
    [
        {**KEYS},
        {**COMPOSED, "MODBOT_REPLICA_STORE": "s3://c/p"},
        {"MODBOT_REPLICA_STORE": "replicas"},
        {"MODBOT_REPLICA_STORE": "file://replicas"},
        {"MODBOT_REPLICA_STORE": "file:///"},
        {"MODBOT_REPLICA_STORE": "file:///with space"},
        {"MODBOT_REPLICA_STORE": "file:///no/such/folder/anywhere"},
        {"MODBOT_REPLICA_STORE": "file:///a?x=1"},
        {"MODBOT_REPLICA_STORE": "s3://bucket"},
        {"MODBOT_REPLICA_STORE": "s3:///prefix"},
        {"MODBOT_REPLICA_STORE": "s3://key:word@bucket/prefix"},
        {"MODBOT_REPLICA_STORE": "s3://bucket/prefix?regoin=x"},
        {"MODBOT_REPLICA_STORE": "s3://bucket/prefix?region="},
        {"MODBOT_REPLICA_STORE": "gs://bucket/prefix"},
    ],
)
def test_what_is_not_the_name_of_a_store_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        configured(environ)


async def test_epochs_are_numbers_and_the_newest_comes_first(tmp_path: Path) -> None:
    for name in (
        "3-of-16/e9",
        "3-of-16/e10",
        "3-of-16/e2",
        "3-of-16/x1",
        "3-of-16/e01",
        "3-of-160/e99",
        "13-of-16/e98",
    ):
        folder = tmp_path / name / "ltx" / "0"
        folder.mkdir(parents=True)
        (folder / "0000000000000001-0000000000000001.ltx").touch()
    store: Any = ReplicaStore(tmp_path.as_uri(), Keys(Secret(""), Secret("")))
    assert await store.epochs(SHARD) == [10, 9, 2]
    assert await store.epochs(ShardId("5-of-16")) == []
    await store.forget(SHARD, Epoch(9))
    assert await store.epochs(SHARD) == [10, 2]


async def test_a_path_without_its_first_file_has_no_beginning(tmp_path: Path) -> None:
    store = ReplicaStore(tmp_path.as_uri(), Keys(Secret(""), Secret("")))
    folder = tmp_path / SHARD / "e1" / "ltx" / "0"
    folder.mkdir(parents=True)
    (folder / "0000000000000002-0000000000000002.ltx").touch()
    assert not await store.begins(SHARD, Epoch(1))
    (folder / "0000000000000001-0000000000000001.ltx").touch()
    assert await store.begins(SHARD, Epoch(1))
