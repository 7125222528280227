"""`modbot dev` and `modbot status` as a person meets them: started, looked at, stopped, started again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

MODBOT = (sys.executable, "-m", "modbot.cli")


@contextmanager
def dev(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start it, wait for the welcome, and stop it with Ctrl-C."""
    command = [*MODBOT, "dev", "--guilds", "3", "--gateways", "2", "--ports", "0", "0", "0", "0", *arguments]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=_environment())
    said = ""
    assert process.stderr is not None
    for line in process.stderr:
        said += line
        if "Ctrl-C stops everything" in line:
            break
    try:
        yield process, said
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 0, rest
        assert "the next start finds its state in" in rest
        assert not [child for child in children if child.is_running()], "nothing is left behind"


def test_it_starts_shows_itself_stops_and_finds_its_state_again(tmp_path: Path) -> None:
    with dev(tmp_path) as (_, said):
        chat = _address(said, "Chat page")
        assert max(map(len, said.splitlines())) <= 80, said
        guild = _get(f"{chat}/control/sessions")
        assert len(guild) == 16
        table = _modbot(tmp_path, "status")
        assert [line.split()[:2] for line in table.splitlines()] == [
            ["POD", "STATE"],
            ["gateway-0", "live"],
            ["gateway-1", "live"],
        ]
        rows = json.loads(_modbot(tmp_path, "status", "--json"))
        assert sum(row["guilds"] for row in rows) == 3
        first = _seqs(tmp_path)
    again = _modbot(tmp_path, "status", expect=2)
    assert again == "", "data goes to stdout, talk to stderr"
    with dev(tmp_path):
        rows = json.loads(_modbot(tmp_path, "status", "--json"))
        assert {row["epochs"] for row in rows} == {"2"}, "the pods reclaimed their shards"
        assert _seqs(tmp_path) == first
    with dev(tmp_path, "--fresh"):
        rows = json.loads(_modbot(tmp_path, "status", "--json"))
        assert {row["epochs"] for row in rows} == {"1"}


def test_a_port_in_use_gives_one_clear_sentence(tmp_path: Path) -> None:
    with psutil_listener() as port:
        command = [*MODBOT, "dev", "--ports", "0", str(port), "0", "0"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=_environment(), check=False)
    assert done.returncode == 1
    assert f"Port {port} for the portal is in use." in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".modbot").exists(), "nothing was started"


@contextmanager
def psutil_listener() -> Iterator[int]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _seqs(folder: Path) -> list[str]:
    volumes = sorted((folder / ".modbot/dev").glob("gateway-*/*.sqlite3"))
    return [f"{path.parent.name}/{path.name}" for path in volumes]


def _modbot(folder: Path, *arguments: str, expect: int = 0) -> str:
    deadline = time.monotonic() + 20
    while True:
        done = subprocess.run(
            [*MODBOT, *arguments], cwd=folder, capture_output=True, text=True, env=_environment(), check=False
        )
        assert done.returncode == expect, done.stderr
        connected = "--json" not in arguments or all(
            row["connected"] == row["shards"] for row in json.loads(done.stdout)
        )
        if connected or time.monotonic() > deadline:
            return done.stdout


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def _address(said: str, name: str) -> str:
    found = re.search(rf"{name}\s+(http://\S+)", said)
    assert found is not None, said
    return found[1]


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "COLUMNS": "80"}
