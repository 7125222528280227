"""What the tests of alerts and dashboard know of Prometheus: promtool, and which metrics and labels exist."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path

import docskit

FOLDER = docskit.ROOT / "cluster/monitoring"
PROMTOOL = shutil.which("promtool")
NO_PROMTOOL = "promtool is not installed (Debian's prometheus; scripts/install-test-tools)"
# Of kube-state-metrics, not ours; the labels that matter to the alerts.
KUBERNETES = {
    "kube_job_status_failed": {"job_name"},
    "kube_cronjob_status_last_successful_time": {"cronjob"},
    "kube_horizontalpodautoscaler_status_current_replicas": {"horizontalpodautoscaler"},
    "kube_horizontalpodautoscaler_status_desired_replicas": {"horizontalpodautoscaler"},
    "kube_horizontalpodautoscaler_spec_max_replicas": {"horizontalpodautoscaler"},
    "kube_statefulset_replicas": {"statefulset"},
    "kube_statefulset_status_replicas_ready": {"statefulset"},
    "kube_deployment_spec_replicas": {"deployment"},
    "kube_deployment_status_replicas_ready": {"deployment"},
}
_OF_TARGETS = {"namespace", "pod", "job"}
_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]+) \|", re.MULTILINE)
_METRIC = re.compile(r"\b((?:modbot|process|kube)_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"')


@functools.cache
def reference() -> dict[str, set[str]]:
    """Return the labels of every series name that the reference page and Kubernetes have."""
    known = {name: set(labels) for name, labels in KUBERNETES.items()}
    for name, kind, labels in _ROW.findall(docskit.read("docs/reference/metrics.md")):
        own = set(re.findall(r"`(\w+)`", labels))
        if kind == "histogram":
            known |= {f"{name}_bucket": own | {"le"}, f"{name}_sum": own, f"{name}_count": own}
        else:
            known[name] = own
    return {name: labels | _OF_TARGETS for name, labels in known.items()}


def used(expression: str) -> list[tuple[str, dict[str, str]]]:
    """Return every metric of an expression with its matchers."""
    return [(name, dict(_MATCHER.findall(matchers or ""))) for name, matchers in _METRIC.findall(expression)]


def unknown(expression: str) -> list[str]:
    """Return what an expression names and nobody exports: metrics, labels, values of labels."""
    known, text = reference(), sources()
    found = []
    for name, matchers in used(expression):
        if name not in known:
            found.append(name)
            continue
        found += [f"{name}{{{label}}}" for label in matchers if label not in known[name]]
        if name not in KUBERNETES:
            values = {value for label in matchers.keys() - _OF_TARGETS for value in matchers[label].split("|")}
            found += [f"{name} {value}" for value in values if not value.isdigit() and f'"{value}"' not in text]
    return found


def check(*arguments: str | Path) -> str:
    """Run promtool; returns what it says, and fails with it."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def sources() -> str:
    """Return the text of modbot's own modules."""
    return "".join(path.read_text("utf-8") for path in sorted((docskit.ROOT / "src/modbot").rglob("*.py")))
