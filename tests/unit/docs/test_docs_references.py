"""The generated pages are what the code says now, and nothing that the code has is missing from them."""

from __future__ import annotations

import re
from types import ModuleType

import docskit
import pytest

from modbot.features import all_features
from modbot.ops import settings

_METRIC = re.compile(r'"(modbot_[a-z]+(?:_[a-z]+)+)",\s*"')
_ENVIRONMENT = re.compile(r'"(MODBOT_[A-Z_]+|DISCORD_[A-Z_]+)"')


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(docskit.ROOT / "scripts")
        import generate_docs

        return generate_docs


def test_generated_pages_are_up_to_date(generator: ModuleType) -> None:
    stale = [name for name, text in generator.pages().items() if docskit.read(f"docs/reference/{name}") != text]
    assert stale == [], "run scripts/generate-docs"


def test_every_setting_is_documented() -> None:
    page = docskit.read("docs/reference/settings.md")
    named = {each.env.name for group in settings.GROUPS for each in settings.describe(group)}
    missing = [name for name in sorted(named) if f"| `{name}` |" not in page]
    assert missing == []


def test_settings_that_the_code_names_exist() -> None:
    known = {each.env.name for group in settings.GROUPS for each in settings.describe(group)}
    named = {name for path in _sources() for name in _ENVIRONMENT.findall(path)}
    assert named - known == set()


def test_every_metric_in_the_source_is_documented() -> None:
    page = docskit.read("docs/reference/metrics.md")
    found = {name for text in _sources() for name in _METRIC.findall(text)}
    assert len(found) > 10
    missing = [name for name in sorted(found) if f"`{name}`" not in page and f"`{name}_total`" not in page]
    assert missing == []


def test_every_error_code_in_the_source_is_documented() -> None:
    page = docskit.read("docs/reference/errors.md")
    found = {name for text in _sources() for name in re.findall(r'^    code = "(\w+)"$', text, re.MULTILINE)}
    assert len(found) > 20
    assert [name for name in sorted(found) if f"| `{name}` |" not in page] == []


def test_every_error_says_what_it_means_and_what_to_do() -> None:
    rows = docskit.read("docs/reference/errors.md").splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("| `")]
    assert [row[0] for row in cells if not row[3].endswith(".") or not row[4].endswith(".")] == []


def test_every_command_and_button_is_documented() -> None:
    page = docskit.read("docs/reference/commands.md")
    named = {each.name for feature in all_features() for each in feature.commands}
    assert [name for name in sorted(named) if not re.search(rf"`(?:/|\w+ menu: ){name}`", page)] == []
    prefixes = {each.prefix for feature in all_features() for each in feature.components}
    assert [prefix for prefix in sorted(prefixes) if f"| `{prefix}` |" not in page] == []


def _sources() -> list[str]:
    return [path.read_text("utf-8") for path in sorted((docskit.ROOT / "src/modbot").rglob("*.py"))]
