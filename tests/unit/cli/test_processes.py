"""Children that are kept running: what they say goes on unchanged, and one that does not stay up is given up."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modbot.cli.processes import Child


def _child(code: str, *, log: Path | None = None, most_deaths: int | None = None) -> Child:
    environ = {"PATH": os.environ["PATH"]}
    told: list[str] = []
    arguments = (sys.executable, "-c", code)
    return Child("worker", arguments, environ, log, told.append, most_deaths=most_deaths)


async def _until(condition: Callable[[], Any]) -> None:
    """Wait for something that another task or process does."""
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_what_it_writes_goes_to_our_stderr_unchanged(capfd: pytest.CaptureFixture[str]) -> None:
    line = '{"event": "started", "name": "ü"}'
    child = _child(
        f"import sys, time; print({line!r}, flush=True); print('no end', file=sys.stderr, end='', flush=True); time.sleep(60)"
    )
    await child.start()
    await _until(lambda: "started" in child.last_words())
    pid = child.pid
    assert pid is not None
    assert os.getpgid(pid) == os.getpgid(0), "it is in our process group"
    await child.stop()
    assert capfd.readouterr().err == f"{line}\nno end"


async def test_lines_of_any_length_are_whole(capfd: pytest.CaptureFixture[str]) -> None:
    child = _child("print('a' * 3_000_000); print('b')", most_deaths=1)
    await child.start()
    await asyncio.wait_for(child.given_up.wait(), 20)
    assert capfd.readouterr().err == "a" * 3_000_000 + "\nb\n"


async def test_one_that_does_not_stay_up_is_given_up_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modbot.cli.processes._LONGEST_PAUSE", 0.01)
    child = _child("import sys; print('a wrong setting'); sys.exit(2)", most_deaths=3)
    await child.start()
    await asyncio.wait_for(child.given_up.wait(), 30)
    assert (child.restarts, child.short_lives, child.pid) == (2, 3, None)
    assert child.last_words().endswith("a wrong setting")


async def test_one_that_is_killed_counts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is out of memory ends by a signal."""
    monkeypatch.setattr("modbot.cli.processes._LONGEST_PAUSE", 0.01)
    child = _child("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", most_deaths=2)
    await child.start()
    await asyncio.wait_for(child.given_up.wait(), 30)
    assert (child.short_lives, child.failed_starts) == (2, 0)


async def test_with_a_log_it_leads_its_own_session(tmp_path: Path) -> None:
    child = _child("import time; print('hello', flush=True); time.sleep(60)", log=tmp_path / "log")
    await child.start()
    pid = child.pid
    assert pid is not None
    assert os.getsid(pid) == pid
    await _until(lambda: child.last_words() == "hello")
    await child.stop()
