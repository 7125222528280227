"""The stores that replication is tested with: a folder, moto and SeaweedFS, each started when a test asks for it."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import boto3
import botocore.config
import pytest
import replicakit
from botocore.exceptions import BotoCoreError, ClientError

from modbot.domain.ids import Epoch, ShardId
from modbot.ops.replicas import ReplicaStore

_PATIENCE = 60.0


@pytest.fixture
def volume() -> Iterator[Path]:
    """A pod's volume with a short path: the name of a socket may have a hundred characters."""
    folder = Path(tempfile.mkdtemp(prefix="mv-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder_store(tmp_path: Path) -> ReplicaStore:
    (tmp_path / "replicas").mkdir()
    return ReplicaStore((tmp_path / "replicas").as_uri(), replicakit.NO_KEYS)


@pytest.fixture
async def replicate(volume: Path, folder_store: ReplicaStore) -> replicakit.Replicate:
    """Give a function that leaves the replica of an epoch that another pod has owned. `under`: the shard whose path it is."""

    async def made(
        epoch: int, *, last: int, stamped: int = 0, shard_id: str = replicakit.SHARD, under: str = replicakit.SHARD
    ) -> None:
        folder = volume / f"{under}-e{epoch}"
        folder.mkdir()
        async with replicakit.sidecar(folder) as (control, _):
            file = replicakit.File(folder / "a.sqlite3", epoch=stamped or epoch, shard_id=shard_id)
            file.connection.execute("UPDATE shard SET arrived_by = 30")
            await control.register(file.path, folder_store.url_of(ShardId(under), Epoch(epoch)))
            for seq in range(1, last + 1):
                file.write(seq)
                if seq % 10 == 0:
                    await control.sync(file.path, limit=10)
            await control.sync(file.path, limit=10)
            file.close()

    return made


@pytest.fixture(scope="session")
def moto_port() -> Iterator[int]:
    """An S3 in memory that takes everything."""
    with _running(lambda port: [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]) as port:
        yield port


@pytest.fixture(scope="session")
def seaweed_port() -> Iterator[int]:
    """An S3 on disk that checks keys."""
    folder = Path(tempfile.mkdtemp(prefix="sw-"))
    keys = {
        "accessKey": replicakit.KEYS.access_key_id.reveal(),
        "secretKey": replicakit.KEYS.secret_access_key.reveal(),
    }
    identity = {"name": "tests", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    (folder / "ids.json").write_text(json.dumps({"identities": [identity]}))

    def command(port: int) -> list[str]:
        ports = [f"-{part}.port={replicakit.free_port()}" for part in ("master", "volume", "filer")]
        grpc = [f"-{part}.port.grpc={replicakit.free_port()}" for part in ("master", "volume", "filer", "s3")]
        first = [
            str(replicakit.SCRIPTS / "weed"),
            "server",
            f"-dir={folder}",
            "-ip=127.0.0.1",
            "-s3",
            f"-s3.port={port}",
        ]
        return [*first, f"-s3.config={folder}/ids.json", "-volume.max=0", "-master.volumeSizeLimitMB=64", *ports, *grpc]

    with _running(command) as port:
        yield port
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["folder", "moto", pytest.param("seaweedfs", marks=pytest.mark.long)])
def store(request: pytest.FixtureRequest) -> ReplicaStore:
    """Each kind of store in turn."""
    if request.param == "folder":
        return request.getfixturevalue("folder_store")
    port = request.getfixturevalue("moto_port" if request.param == "moto" else "seaweed_port")
    return s3_store(port, request.node.name)


@pytest.fixture
def locate() -> Callable[[int, str], ReplicaStore]:
    """Give a function from a port and a name to a store."""
    return s3_store


def s3_store(port: int, name: str) -> ReplicaStore:
    """Return a store with a prefix of its own in the bucket of a running S3."""
    prefix = "".join(each if each.isalnum() else "-" for each in name)
    options = {"endpoint": f"http://127.0.0.1:{port}", "region": "us-east-1", "forcePathStyle": "true"}
    return ReplicaStore(f"s3://{replicakit.BUCKET}/{prefix}?{urlencode(options)}", replicakit.KEYS)


@contextlib.contextmanager
def _running(command: Callable[[int], list[str]]) -> Iterator[int]:
    """Start a store and yield its port; on other ports once more when somebody else has taken one of them meanwhile."""
    while True:
        port = replicakit.free_port()
        process = subprocess.Popen(command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if _make_bucket(port, process):
                yield port
                return
        finally:
            process.kill()
            process.wait()


def _make_bucket(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait for the store; False when it has ended."""
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id=replicakit.KEYS.access_key_id.reveal(),
        aws_secret_access_key=replicakit.KEYS.secret_access_key.reveal(),
        config=botocore.config.Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=5),
    )
    deadline = time.monotonic() + _PATIENCE
    with contextlib.closing(client):
        while True:
            try:
                client.create_bucket(Bucket=replicakit.BUCKET)
            except (BotoCoreError, ClientError):
                if process.poll() is not None:
                    return False
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return True
