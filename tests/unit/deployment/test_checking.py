"""What stands before and beside the gateway process runs here as in the cluster.

The check lets nothing pass that has no replica store. The sidecar takes its configuration and answers its probe.
"""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from deployment import environment, rendering
from deployment.rendering import Rendered

from modbot.cli.main import main

_BOTH = ((rendering.PROPOSED, "gateway", "litestream-config"), (rendering.SINGLE, "mod-bot", "mod-bot-litestream"))
_NOTHING = (
    b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><KeyCount>0</KeyCount></ListBucketResult>'
)


class _World(http.server.BaseHTTPRequestHandler):
    """An S3 service with one empty bucket that wants a key, and a config service."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        stores = path in {"/bucket", "/another"}
        let_in = path == "/bucket" and "Credential=a-made-up-value" in self.headers.get("authorization", "")
        self.send_response(200 if let_in or not stores else 403)
        body = _NOTHING if stores else b""
        self.send_header("content-type", "application/xml" if stores else "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture(scope="module")
def world() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _World)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True, slots=True)
class Check:
    """The check of a deployment, with the variables that its container gets."""

    arguments: list[str]
    variables: dict[str, str]

    def run(self, **changes: str) -> tuple[int, str]:
        """Run it with some variables changed; returns its exit code and what it says."""
        known = {name: None for name in os.environ if name.startswith(("MODBOT_", "LITESTREAM_", "DISCORD_"))}
        done = CliRunner().invoke(main, self.arguments, env={**known, **self.variables, **changes})
        return done.exit_code, done.output


@pytest.fixture(params=_BOTH, ids=lambda case: case[1])
def check(request: pytest.FixtureRequest, rendered: Callable[[str], Rendered], world: str, tmp_path: Path) -> Check:
    name, workload, _ = request.param
    container = rendering.workload(rendered(name).objects(), workload).pod["initContainers"][0]
    variables = environment.filled(container) | {
        "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
        "POD_NAME": "gateway-0",
        "MODBOT_ADVERTISED_URL": "http://gateway-0.gateway-internal:3000",
        "MODBOT_DATA_DIR": str(tmp_path),
        "MODBOT_CONFIG_URL": world,
        "LITESTREAM_ENDPOINT": world,
        "LITESTREAM_BUCKET": "bucket",
    }
    arguments = [*container["args"]]
    arguments[arguments.index("--timeout") + 1] = "0"
    return Check(arguments, variables)


def test_what_is_complete_passes(check: Check) -> None:
    code, words = check.run()
    assert (code, words) == (0, words), words


def test_an_empty_variable_is_named(check: Check) -> None:
    for name in check.variables.keys() & set().union(*environment.SECRETS.values()):
        code, words = check.run(**{name: ""})
        assert code == 1
        assert f"{name} is empty" in words


@pytest.mark.parametrize("changes", [{"LITESTREAM_BUCKET": "another"}, {"LITESTREAM_ACCESS_KEY_ID": "foreign"}])
def test_a_store_that_does_not_let_us_in_is_named(check: Check, changes: dict[str, str]) -> None:
    code, words = check.run(**changes)
    assert code == 1
    assert "store_away" in words


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
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while subprocess.run(probe, env=environ, capture_output=True, check=False).returncode != 0:
                assert process.poll() is None
                assert time.monotonic() < deadline, "the probe does not find the sidecar"
                time.sleep(0.05)
        finally:
            process.terminate()
    assert process.returncode == 0


def _probe(sidecar: rendering.Object) -> list[str]:
    return sidecar["startupProbe"]["exec"]["command"]
