"""The checks: pure rules over facts, root causes first.

Every module has `KINDS`, what it can find, and `decide`, which finds it. `docs/reference/doctor.md` is generated from the kinds.
"""

from __future__ import annotations

from modbot.cli.doctor.checks import around, cluster, config, discord, http, pods, volumes
from modbot.cli.doctor.facts import Facts
from modbot.cli.doctor.findings import Finding, Kind, Level

_MODULES = (around, volumes, config, cluster, pods, http, discord)
KINDS: tuple[Kind, ...] = tuple(kind for module in _MODULES for kind in module.KINDS)


def decide_findings(facts: Facts) -> list[Finding]:
    """Return what the facts show: what is wrong before the warnings, and in each the causes before their consequences."""
    found = [finding for module in _MODULES for finding in module.decide(facts)]
    return sorted(found, key=lambda finding: finding.kind.level is not Level.WRONG)
