"""The models of ownership: true ones hold in every reachable state, every broken variant is caught by the assertion that it breaks."""

from __future__ import annotations

import re
from pathlib import Path

import check_model
import docskit
import pytest
from check_model import Check, Found

needs_spin = pytest.mark.skipif(bool(check_model.missing()), reason=check_model.NO_TOOLS)
_SWITCH = re.compile(r"^#if(?:n?def) (\w+)$", re.MULTILINE)
_SIZES = {"EVENTS", "FAULTS", "MOVES", "PODS", "GRANTS"}
_PAGE = "docs/discussions/model.md"
_CODE = re.compile(r"`(src/[\w./]+)` \(((?:`\w+`(?:, )?)+)\)")


def _name(check: Check) -> str:
    return check.name


@needs_spin
@pytest.mark.parametrize("check", [*check_model.TRUE, *check_model.SPARE], ids=_name)
def test_holds_in_every_reachable_state(check: Check, tmp_path: Path) -> None:
    assert check_model.complaint(check, check_model.run(check, tmp_path)) is None


@needs_spin
@pytest.mark.parametrize("check", check_model.BROKEN, ids=_name)
def test_a_broken_variant_is_caught(check: Check, tmp_path: Path) -> None:
    assert check_model.complaint(check, check_model.run(check, tmp_path)) is None


def test_every_switch_of_the_models_is_checked_and_explained() -> None:
    switches = {name for path in check_model.FOLDER.glob("*.pml") for name in _SWITCH.findall(path.read_text("utf-8"))}
    checked = {name for check in check_model.BROKEN for name in check.defines}
    assert switches - _SIZES == {name for name in checked if "=" not in name}
    assert [name for name in sorted(switches - _SIZES) if f"`{name}`" not in docskit.read(_PAGE)] == []


def test_the_code_that_the_page_names_exists() -> None:
    named = [(file, name) for file, names in _CODE.findall(docskit.read(_PAGE)) for name in re.findall(r"\w+", names)]
    assert len(named) > 20
    defined = re.compile(r"(?:\bdef |^-- name: )(\w+)", re.MULTILINE)
    texts = {file: set(defined.findall((docskit.ROOT / file).read_text("utf-8"))) for file, _ in named}
    assert [(file, name) for file, name in named if name not in texts[file]] == []


def test_the_page_says_what_catches_each_variant() -> None:
    rows = re.findall(r"^\| (`[A-Z_]+`.*?) \|.*\| (.*) \|$", docskit.read(_PAGE), re.MULTILINE)
    told = {tuple(sorted(re.findall(r"[A-Z_]{3,}", names))): found.strip("`") for names, found in rows}
    checked = {
        tuple(sorted(name for name in check.defines if "=" not in name)): check.fails for check in check_model.BROKEN
    }
    endless = {"an endless run": check_model.ENDLESS}
    assert {names: endless.get(found, found) for names, found in told.items() if names in checked} == checked


def test_every_assertion_of_the_models_is_seen_failing() -> None:
    names = {
        name
        for path in check_model.FOLDER.glob("*.pml")
        for name in re.findall(r"assert\((\w+)\)", path.read_text("utf-8"))
    }
    assert names == {check.fails for check in check_model.BROKEN} - {check_model.ENDLESS}


@pytest.mark.parametrize(
    ("check", "found"),
    [
        (Check("m"), Found("I1", 10, 0.0, whole=False)),
        (Check("m"), Found(None, 10, 0.0, whole=False)),
        (Check("m", covers=True), Found(None, 10, 0.0, whole=True, unreached=["7: x = 1"])),
        (Check("m", ("BROKEN",), "I1"), Found(None, 10, 0.0, whole=True)),
        (Check("m", ("BROKEN",), "I1"), Found("I2", 10, 0.0, whole=False)),
    ],
    ids=["violated", "cut short", "unreached", "not caught", "caught by another"],
)
def test_what_is_not_as_it_must_be_is_said(check: Check, found: Found) -> None:
    assert check_model.complaint(check, found) is not None
