"""Writes what cluster/monitoring takes from elsewhere: the PrometheusRule around alerts.yaml, and the dashboard.

`files()` returns every file with its text and writes nothing; the tests compare it with what is committed. Run
`scripts/generate-monitoring`.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import dashboard

FOLDER = Path(__file__).parents[1] / "cluster/monitoring"
_RULE = """\
# Written by scripts/generate-monitoring from alerts.yaml. Do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: mod-bot
  labels:
    app: mod-bot
spec:
"""


def files() -> dict[str, str]:
    """Return the text of every generated file by its name."""
    return {"prometheus-rule.yaml": _rule(), "dashboard.json": dashboard.text()}


def main() -> int:
    """Write the files that differ."""
    for name, text in files().items():
        path = FOLDER / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            sys.stdout.write(f"{path.relative_to(FOLDER.parents[1])}\n")
    return 0


def _rule() -> str:
    groups = (FOLDER / "alerts.yaml").read_text("utf-8").split("\ngroups:\n", 1)[1]
    return _RULE + textwrap.indent(f"groups:\n{groups}", "  ")


if __name__ == "__main__":
    sys.exit(main())
