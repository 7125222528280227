"""Every alert fires when it should and not before, names what exists, and has a runbook."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import docskit
import promkit
import pytest
import yaml

ALERTS = promkit.FOLDER / "alerts.yaml"
TESTS = promkit.FOLDER / "alerts_test.yaml"
RUNBOOKS = docskit.ROOT / "docs/runbooks"
_TEMPLATE_LABEL = re.compile(r"\$labels\.(\w+)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
needs_promtool = pytest.mark.skipif(promkit.PROMTOOL is None, reason=promkit.NO_PROMTOOL)


@functools.cache
def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@functools.cache
def cases() -> list[dict[str, Any]]:
    return list(yaml.safe_load(TESTS.read_text("utf-8"))["tests"])


@needs_promtool
def test_the_rules_are_valid() -> None:
    assert f"{len(alerts())} rules found" in promkit.check("check", "rules", ALERTS)


@needs_promtool
def test_the_rules_pass_their_own_tests() -> None:
    promkit.check("test", "rules", TESTS)


def test_every_alert_is_tested_in_both_directions() -> None:
    fires = {name for name in alerts() if any(_samples(each, name) for each in cases())}
    quiet = {name for name in alerts() if any(each["name"].startswith(f"{name} does not") for each in cases())}
    assert fires == quiet == alerts().keys()
    for each in cases():
        if " does not " in each["name"]:
            assert _samples(each, each["name"].split()[0]) == []


def test_the_quiet_test_of_an_alert_has_data_for_it() -> None:
    """Otherwise it would be quiet whatever the threshold is."""
    for each in cases():
        name = each["name"].split()[0]
        wanted = {metric for metric, _ in promkit.used(alerts()[name]["expr"])}
        given = {metric for line in each["input_series"] for metric, _ in promkit.used(line["series"])}
        if "absent(" in alerts()[name]["expr"]:
            assert (wanted <= given) == (" does not " in each["name"]), each["name"]
        else:
            assert given & wanted, each["name"]


def test_every_alert_that_waits_is_shown_to_wait() -> None:
    for each in cases():
        name = each["name"].split()[0]
        wait = _seconds(alerts()[name].get("for", "0s"))
        if wait and each["name"].endswith(" fires"):
            early = [part for part in each["promql_expr_test"] if not part["exp_samples"]]
            assert any(wait - 60 <= _seconds(part["eval_time"]) < wait for part in early), each["name"]


def test_no_two_tests_of_an_alert_are_the_same() -> None:
    for name in alerts():
        data = [str(each["input_series"]) for each in cases() if each["name"].split()[0] == name]
        assert len(data) == len(set(data)) == 2, name


def test_what_the_rules_name_exists() -> None:
    for name, rule in alerts().items():
        assert promkit.unknown(rule["expr"]) == [], name
    for each in cases():
        for line in each["input_series"]:
            ((metric, matchers),) = promkit.used(line["series"])
            assert matchers.keys() <= promkit.reference()[metric], each["name"]


def test_every_alert_says_what_happened_in_plain_words() -> None:
    for name, rule in alerts().items():
        notes = rule["annotations"]
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert notes.keys() == {"summary", "description", "runbook"}, name
        assert notes["summary"].strip(), name
        assert not notes["summary"].endswith("."), name
        assert notes["description"].endswith("."), name


def test_a_description_uses_labels_that_the_alert_has() -> None:
    for name, rule in alerts().items():
        wanted = set(_TEMPLATE_LABEL.findall(rule["annotations"]["description"]))
        (labels,) = [labels for each in cases() for labels in _samples(each, name)]
        assert wanted <= labels.keys(), name


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    pages = {f"docs/runbooks/{path.name}" for path in RUNBOOKS.glob("*.md") if path.name != "index.md"}
    assert {rule["annotations"]["runbook"] for rule in alerts().values()} == pages
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook"] == f"docs/runbooks/{_kebab(name)}.md"
        assert docskit.read(rule["annotations"]["runbook"]).startswith(f"# {rule['annotations']['summary']}\n"), name


def test_the_index_of_the_runbooks_lists_every_alert_with_what_people_notice() -> None:
    index = docskit.read("docs/runbooks/index.md")
    for name in alerts():
        (row,) = [line for line in index.splitlines() if f"]({_kebab(name)}.md)" in line]
        assert f"`{name}`" in row
        assert len(row.split("|")[1].strip()) > 10, "it begins with the symptom"


@pytest.mark.parametrize("part", ["**What it means.**", "**Look here.**", "**Do this.**", "**It is over when**"])
def test_every_runbook_has_the_same_parts(part: str) -> None:
    pages = [path for path in RUNBOOKS.glob("*.md") if path.name != "index.md"]
    assert [path.name for path in pages if part not in path.read_text("utf-8")] == []


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_what_a_runbook_tells_to_look_for_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    sources = promkit.sources()
    patterns = re.findall(r"\| grep (?:-E )?'?([\w.|()^]+)'?", text)
    words = {word for pattern in patterns for word in re.findall(r"[a-z_.]{6,}", pattern)}
    assert [word for word in sorted(words) if word not in sources] == []
    metrics = set(re.findall(r"`(modbot_\w+)[`{]", text))
    known = promkit.reference().keys()
    assert metrics - known - {name.removesuffix("_count") for name in known} == set()
    settings = set(re.findall(r"\b(?:MODBOT|DISCORD|LITESTREAM)_[A-Z_]+\b", text))
    assert [name for name in sorted(settings) if f"`{name}`" not in docskit.read("docs/reference/settings.md")] == []


def _samples(test: dict[str, Any], alert: str) -> list[dict[str, str]]:
    """Return the labels of the firing alerts of this name that a test expects."""
    return [
        dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"]))
        for part in test["promql_expr_test"]
        if f'alertname="{alert}"' in part["expr"]
        for sample in part["exp_samples"]
    ]


def _kebab(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def _seconds(text: str) -> int:
    return int(text[:-1]) * _SECONDS[text[-1]]
