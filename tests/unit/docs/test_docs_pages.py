"""What the pages name exists: links, files, targets, verbs, commands, log events, permissions."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import docskit
import pytest

from modbot.cli.main import main as command_line
from modbot.domain import permissions
from modbot.features import all_features
from modbot.shard.feature import CommandKind

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_VERB = re.compile(r"(?:^|[\s/])modbot ([a-z][a-z-]*)", re.MULTILINE)
_TARGET = re.compile(r"(?:^|\s)make ([a-z]+)", re.MULTILINE)
_SLASH = re.compile(r"`(/[a-z-]+)`")
_PATH = re.compile(r"(?:src|tests|docs|scripts|bench)/[\w./-]*")
_ROADMAP = "docs/roadmap.md"
_NOT_PLANNED = [name for name in docskit.NAMES if name != _ROADMAP]
# Places of one person's machine.
_PLACES = re.compile(r"(?<![\w./])/(?:[w]ork|home|root|Users|tmp|mnt)/")


@pytest.mark.parametrize("name", docskit.NAMES)
def test_links_resolve(name: str) -> None:
    page = docskit.ROOT / name
    broken = [
        link
        for link in _LINK.findall(docskit.prose(docskit.read(name)))
        if not link.startswith(("http://", "https://")) and not _resolves(page, link)
    ]
    assert broken == []


@pytest.mark.parametrize("name", _NOT_PLANNED)
def test_verbs_exist(name: str) -> None:
    named = {verb for text in docskit.code(docskit.read(name)) for verb in _VERB.findall(text)}
    assert named - set(command_line.commands) == set()


@pytest.mark.parametrize("name", docskit.NAMES)
def test_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", docskit.read("Makefile"), re.MULTILINE))
    named = {target for text in docskit.code(docskit.read(name)) for target in _TARGET.findall(text)}
    assert named - targets == set()


@pytest.mark.parametrize("name", _NOT_PLANNED)
def test_slash_commands_exist(name: str) -> None:
    known = {
        f"/{each.name}" for feature in all_features() for each in feature.commands if each.kind is CommandKind.SLASH
    }
    addresses = {
        "/started",
        "/health",
        "/ready",
        "/metrics",
        "/status",
        "/interactions",
        "/control",
        "/gateway",
        "/data",
        "/thanks",
    }
    assert set(_SLASH.findall(docskit.read(name))) - known - addresses == set()


@pytest.mark.parametrize("name", docskit.NAMES)
def test_files_exist(name: str) -> None:
    spans = re.findall(r"`([^`\n]+)`", docskit.prose(docskit.read(name)))
    named = {span for span in spans if _PATH.fullmatch(span)}
    assert {path for path in named if not (docskit.ROOT / path).exists()} == set()


@pytest.mark.parametrize("name", docskit.NAMES)
def test_no_place_of_one_machine(name: str) -> None:
    assert _PLACES.findall(docskit.read(name)) == []


def test_every_page_is_in_the_index() -> None:
    indexes = [docskit.ROOT / "docs/index.md", docskit.ROOT / "docs/runbooks/index.md"]
    links = [(index.parent, link) for index in indexes for link in _LINK.findall(index.read_text("utf-8"))]
    linked = {(folder / link.split("#")[0]).resolve() for folder, link in links}
    own = {docskit.ROOT / "docs/index.md", docskit.ROOT / "README.md"}
    assert [str(page) for page in docskit.PAGES if page not in linked | own] == []


def test_log_events_that_operators_look_for_exist() -> None:
    """Every row of a table whose first column is `event`, on any page that people wrote."""
    rows = [
        (name, event)
        for name in docskit.NAMES
        for table in re.findall(r"^\| event \| meaning \|\n\|[ -|]+\|\n((?:\|.*\n)+)", docskit.read(name), re.MULTILINE)
        for row in table.splitlines()
        for event in re.findall(r"`(\w+)`", row.split("|")[1])
    ]
    sources = "".join(path.read_text("utf-8") for path in (docskit.ROOT / "src/modbot").rglob("*.py"))
    assert len(rows) > 20
    assert [row for row in rows if f'"{row[1]}"' not in sources] == []


@pytest.mark.parametrize("name", [name for name in _NOT_PLANNED if "<!-- Written by" not in docskit.read(name)])
def test_names_with_underscores_exist(name: str) -> None:
    """Log events, metrics, codes, fields, tables: what a page names as code is a word of the sources."""
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", docskit.prose(docskit.read(name))))
    assert {word for word in named if not {word, word.removesuffix("_total")} & _words()} == set()


@functools.cache
def _words() -> frozenset[str]:
    kinds = ("src/**/*.py", "src/**/*.sql", "model/*.pml", "tests/**/*.py", "scripts/*.py", "bench/*.py")
    return frozenset(
        word
        for kind in kinds
        for path in docskit.ROOT.glob(kind)
        for word in re.findall(r"[a-z]+(?:_[a-z]+)+", path.read_text("utf-8"))
    )


def test_the_invite_link_asks_for_what_the_page_names() -> None:
    page = docskit.read("docs/how-to/run-against-real-discord.md")
    table = page.split("| permission | for |")[1].split("\n\n")[0]
    names = {name.strip() for row in re.findall(r"^\| ([A-Z][^|]+) \|", table, re.MULTILINE) for name in row.split(",")}
    bits = {name: int(bit) for bit, name in permissions.NAMES.items()}
    asked = re.search(r"permissions=(\d+)", page)
    assert asked is not None
    assert int(asked[1]) == sum(bits[name] for name in names)


def test_the_invite_link_asks_for_what_the_features_need() -> None:
    page = docskit.read("docs/how-to/run-against-real-discord.md")
    sources = [*(docskit.ROOT / "src/modbot/features").rglob("*.py"), docskit.ROOT / "src/modbot/shard/calls.py"]
    needed = {
        name for path in sources for name in re.findall(r'needs(?:: str)? ?= ?"([^"]+)"', path.read_text("utf-8"))
    }
    assert len(needed) > 5
    assert [name for name in sorted(needed) if name not in page] == []


def test_the_readme_shows_what_dev_prints() -> None:
    source = (docskit.ROOT / "src/modbot/cli/developing.py").read_text("utf-8")
    block = docskit.read("README.md").split("```text")[1].split("```")[0]
    labels = re.findall(r"^  (\w+(?: \w+)?)  ", block, re.MULTILINE)
    assert len(labels) == 6
    assert [label for label in labels if f'"  {label} ' not in source] == []


def _resolves(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page if not path else (page.parent / path).resolve()
    if not target.exists() or docskit.ROOT not in (target, *target.parents):
        return False
    return not anchor or anchor in docskit.anchors(target.read_text("utf-8"))
