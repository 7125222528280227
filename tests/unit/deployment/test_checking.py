"""The container before the gateway process runs here as in the cluster: it lets nothing pass that has no replica store."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest
from deployment import rendering
from deployment.rendering import Rendered

_BOTH = ((rendering.PROPOSED, "gateway"), (rendering.SINGLE, "mod-bot"))
_CASES = [(name, workload) for name, workload in _BOTH]


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
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=_CASES, ids=lambda case: case[1])
def check(
    request: pytest.FixtureRequest, rendered: Callable[[str], Rendered], store: str
) -> Callable[..., tuple[int, str]]:
    """Run the script of a deployment with its variables, some of them changed."""
    name, workload = request.param
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
