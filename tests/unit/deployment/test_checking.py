"""What stands before and beside the gateway process runs here as in the cluster.

The check lets nothing pass that has no replica store. The sidecar takes its configuration and answers its probe.
"""

from __future__ import annotations

import http.server
import re
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deployment import rendering
from deployment.rendering import Rendered

_BOTH = ((rendering.PROPOSED, "gateway", "litestream-config"), (rendering.SINGLE, "mod-bot", "mod-bot-litestream"))


class _Store(http.server.BaseHTTPRequestHandler):
    """An S3 service with one bucket that wants a signature."""

    def do_HEAD(self) -> None:
        signed = self.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 Credential=key/")
        self.send_response(404 if self.path != "/bucket" else 200 if signed else 403)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Store)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=_BOTH, ids=lambda case: case[1])
def check(
    request: pytest.FixtureRequest, rendered: Callable[[str], Rendered], store: str
) -> Callable[..., tuple[int, str]]:
    """Run the script of a deployment with its variables, some of them changed."""
    name, workload, _ = request.param
    container = rendering.workload(rendered(name).objects(), workload).pod["initContainers"][0]
    given = {each["name"]: "something" for each in container["env"]}
    given |= {"LITESTREAM_ENDPOINT": f"{store}/", "LITESTREAM_BUCKET": "bucket", "LITESTREAM_ACCESS_KEY_ID": "key"}

    def run(**changes: str) -> tuple[int, str]:
        environ = {"PATH": "/usr/bin:/bin", **given, **changes}
        command = [*container["command"], *container["args"]]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=30)
        assert done.stdout == ""
        return done.returncode, done.stderr

    run.names = sorted(given)  # type: ignore[attr-defined]
    return run


def test_what_is_complete_passes_in_silence(check: Callable[..., tuple[int, str]]) -> None:
    assert check() == (0, "")


def test_an_empty_variable_is_named(check: Callable[..., tuple[int, str]]) -> None:
    for name in check.names:  # type: ignore[attr-defined]
        code, words = check(**{name: ""})
        assert code == 1
        assert f"does not start: {name} is empty" in words


@pytest.mark.parametrize(
    "changes",
    [
        {"LITESTREAM_BUCKET": "another"},
        {"LITESTREAM_ACCESS_KEY_ID": "foreign"},
        {"LITESTREAM_ENDPOINT": "http://127.0.0.1:9"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_store_that_does_not_let_us_in_is_named(
    check: Callable[..., tuple[int, str]], changes: dict[str, str]
) -> None:
    code, words = check(**changes)
    assert code == 1
    assert "does not let us into bucket" in words


@pytest.mark.parametrize(("name", "workload", "config"), _BOTH, ids=lambda case: case)
def test_the_sidecar_answers_its_probe(
    rendered: Callable[[str], Rendered], state_folder: Path, name: str, workload: str, config: str
) -> None:
    objects = rendered(name).objects()
    sidecar = rendering.workload(objects, workload).pod["initContainers"][1]
    places = {each["mountPath"]: state_folder / each["name"] for each in sidecar["volumeMounts"]}
    for folder in places.values():
        folder.mkdir()

    def here(text: str) -> str:
        return re.sub("|".join(f"{mounted}(?=/)" for mounted in places), lambda found: str(places[found[0]]), text)

    for file, text in rendering.of_kind(objects, "ConfigMap")[config]["data"].items():
        (places["/etc/litestream"] / file).write_text(here(text), "utf-8")
    environ = {"PATH": sysconfig.get_path("scripts")}
    command, probe = ([here(each) for each in words] for words in (sidecar["command"], _probe(sidecar)))
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 20
        while subprocess.run(probe, env=environ, capture_output=True, check=False).returncode != 0:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def _probe(sidecar: rendering.Object) -> list[str]:
    return sidecar["startupProbe"]["exec"]["command"]
