"""The page of costs says what the manifests request now."""

from __future__ import annotations

from collections.abc import Callable

import cost_table
import pytest
from deployment import rendering
from deployment.rendering import PROPOSED, Rendered

_PRICES = {"node": {"price": 10.0, "cpu": 2.0, "memory_gib": 4.0}}


def test_the_page_is_up_to_date() -> None:
    assert cost_table.PAGE.read_text("utf-8") == cost_table.page(), "run scripts/cost-table"


def test_a_pod_requests_its_sidecars_too(rendered: Callable[[str], Rendered]) -> None:
    found = {line.name: line for line in cost_table.lines(rendered(PROPOSED).objects())}
    gateway = found["gateway"]
    assert (gateway.pods, round(gateway.cpu, 3), gateway.memory * 1024, gateway.volumes) == (3, 0.06, 288, 3)
    assert found["http-service"].pods == 2
    assert found.keys() == {each.name for each in _staying(rendered)}


def test_a_larger_init_container_counts(rendered: Callable[[str], Rendered]) -> None:
    objects = rendered(PROPOSED).objects()
    rendering.workload(objects, "gateway").pod["initContainers"][0]["resources"]["requests"]["memory"] = "1Gi"
    assert next(line.memory for line in cost_table.lines(objects) if line.name == "gateway") == 1


@pytest.mark.parametrize(
    ("pods", "cpu", "memory", "share", "nodes"),
    [(1, 0.2, 0.4, 1.0, 1), (4, 1.0, 0.1, 20.0, 2), (3, 0.1, 3.0, 22.5, 3)],
)
def test_the_scarcer_resource_decides(pods: int, cpu: float, memory: float, share: float, nodes: int) -> None:
    line = cost_table.Line("x", pods, cpu, memory, 0)
    assert cost_table.share(line, _PRICES) == pytest.approx(share)
    assert cost_table.nodes([line], _PRICES, fewest=1) == nodes
    assert cost_table.nodes([line], _PRICES, fewest=7) == 7


def _staying(rendered: Callable[[str], Rendered]) -> list[rendering.Workload]:
    kinds = {"Deployment", "StatefulSet"}
    return [each for each in rendering.workloads(rendered(PROPOSED).objects()) if each.kind in kinds]
