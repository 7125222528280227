"""`modbot` without a verb: SERVICE_MODE says which service an image runs."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from modbot.cli import main as command_line


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The services that were started."""
    names: list[str] = []
    for name in command_line.SERVICES:
        monkeypatch.setattr(command_line.main.commands[name], "callback", lambda name=name: names.append(name))
    return names


@pytest.mark.parametrize("name", ["http", "config", "gateway", "single"])
def test_it_runs_the_service_that_is_named(started: list[str], name: str) -> None:
    result = CliRunner().invoke(command_line.main, [], env={"SERVICE_MODE": name})
    assert (started, result.exit_code) == ([name], 0)


@pytest.mark.parametrize(("mode", "said"), [("", ""), ("web", "SERVICE_MODE is 'web'; it can be http, config")])
def test_without_a_known_one_it_shows_its_usage(started: list[str], mode: str, said: str) -> None:
    result = CliRunner().invoke(command_line.main, [], env={"SERVICE_MODE": mode})
    assert (started, result.exit_code, result.stdout) == ([], 2, "")
    assert said in result.stderr
    assert "Usage:" in result.stderr


def test_a_verb_goes_before_the_service(started: list[str]) -> None:
    result = CliRunner().invoke(command_line.main, ["config"], env={"SERVICE_MODE": "http"})
    assert (started, result.exit_code) == (["config"], 0)
