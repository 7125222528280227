"""The dashboard and the PrometheusRule are what the code and the rule file say, and Kustomize makes both of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import docskit
import promkit
import pytest
import yaml

_KUBECTL = docskit.ROOT / ".venv/bin/kubectl"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    import generate_monitoring

    return generate_monitoring


@pytest.fixture(scope="module")
def panels() -> list[dict[str, Any]]:
    found = json.loads((promkit.FOLDER / "dashboard.json").read_text("utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def test_generated_files_are_up_to_date(generator: ModuleType) -> None:
    stale = [name for name, text in generator.files().items() if (promkit.FOLDER / name).read_text("utf-8") != text]
    assert stale == [], "run scripts/generate-monitoring"


def test_the_component_brings_rules_scraping_and_dashboard(tmp_path: Path) -> None:
    objects = _built(tmp_path)
    rules = yaml.safe_load((promkit.FOLDER / "alerts.yaml").read_text("utf-8"))
    assert objects["PrometheusRule"]["spec"] == rules
    dashboard = objects["ConfigMap"]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["modbot.json"])["uid"] == "modbot"
    monitor = objects["PodMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"] == {"app": "mod-bot"}
    assert monitor["podMetricsEndpoints"][0]["path"] == "/metrics"
    assert monitor["jobLabel"] == "component"


def test_every_panel_has_a_unit_a_sentence_and_a_title_of_its_own(panels: list[dict[str, Any]]) -> None:
    assert len(panels) > 25
    assert [panel["title"] for panel in panels if not panel["fieldConfig"]["defaults"].get("unit")] == []
    assert [panel["title"] for panel in panels if not re.search(r"\w+ \w+.*\.$", panel["description"])] == []
    assert len({panel["title"] for panel in panels}) == len(panels)


def test_every_expression_names_what_exists(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert promkit.used(target["expr"]), panel["title"]
            assert promkit.unknown(target["expr"].replace("$namespace", "")) == [], panel["title"]
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            labels = set().union(*(promkit.reference()[name] for name, _ in promkit.used(target["expr"])))
            assert named <= labels, panel["title"]


@pytest.mark.skipif(promkit.PROMTOOL is None, reason=promkit.NO_PROMTOOL)
def test_every_expression_is_promql(panels: list[dict[str, Any]], tmp_path: Path) -> None:
    """As recording rules, because promtool parses those."""
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [
        {"record": f"panel:{number}", "expr": each.replace("$__rate_interval", "5m")}
        for number, each in enumerate(expressions)
    ]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    assert f"{len(rules)} rules found" in promkit.check("check", "rules", path)


def test_the_dashboard_shows_what_the_description_asks_for(panels: list[dict[str, Any]]) -> None:
    shown = {name for panel in panels for target in panel["targets"] for name, _ in promkit.used(target["expr"])}
    for name in (
        "modbot_config_owner_guilds",
        "modbot_http_interaction_seconds_bucket",
        "modbot_http_interactions_total",
        "kube_horizontalpodautoscaler_status_current_replicas",
        "modbot_gateway_connected",
        "modbot_event_lag_seconds_bucket",
        "modbot_shard_bytes",
        "modbot_replica_lag_seconds",
        "modbot_config_assignment_seconds_bucket",
        "modbot_config_pool_connections",
        "modbot_config_moves_total",
    ):
        assert name in shown, name


def _built(folder: Path) -> dict[str, Any]:
    """Build a kustomization that uses the component, and return its objects by kind."""
    shutil.copytree(promkit.FOLDER, folder / "monitoring")
    overlay = folder / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text("components: [../monitoring]\n", "utf-8")
    command = [str(_KUBECTL), "kustomize", str(overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {each["kind"]: each for each in yaml.safe_load_all(done.stdout)}
