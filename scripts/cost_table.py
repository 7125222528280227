"""Writes the page of costs: what the rendered manifests request, times the prices of `prices.toml`.

Two figures per deployment. *Share*: the part of a node that the requests occupy, by memory or processor time, whichever is more; it
compares pods. *Bill*: whole nodes, as they are paid for. `page()` returns the text and writes nothing. Run `scripts/cost-table`.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/costs.md"
_NOTE = "<!-- Written by scripts/cost-table from the manifests and scripts/prices.toml. Do not edit. -->\n"
_KUBECTL = Path(sysconfig.get_path("scripts")) / "kubectl"
_PROPOSED = "cluster/proposed"
# Deployment -> the fewest nodes that it is meant for.
_DEPLOYMENTS = {"cluster": 1, "cluster/overlays/small": 1, _PROPOSED: 2, "cluster/overlays/production": 3}
_MANAGED = frozenset({"cluster/overlays/production"})
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_GIB = 2**30
_SHARDS = 16
_PUTS_PER_SHARD = 2.6
_STAYING = frozenset({"Deployment", "StatefulSet"})


@dataclass(frozen=True, slots=True)
class Line:
    """The pods of one workload: what each of them requests (cores, GiB), and the GiB of all their volumes."""

    name: str
    pods: int
    cpu: float
    memory: float
    volumes: float


def main() -> int:
    """Write the page if it differs."""
    text = page()
    if not PAGE.exists() or PAGE.read_text("utf-8") != text:
        PAGE.write_text(text, "utf-8")
        sys.stdout.write(f"{PAGE.relative_to(ROOT)}\n")
    return 0


def page() -> str:
    """Return the text of the page."""
    prices = tomllib.loads((ROOT / "scripts/prices.toml").read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        copied = _copied(Path(folder))
        found = {name: list(lines(_rendered(copied, name))) for name in _DEPLOYMENTS}
    return "\n\n".join(
        (
            _NOTE + "# Costs",
            _introduction(prices),
            "## The load-balanced deployment",
            _compared(found[_PROPOSED], prices),
            _requests_note(prices),
            "## All deployments",
            _totals(found, prices),
            "The pods of jobs are not counted: they run for seconds, and for some minutes at night.\n",
        )
    )


def lines(objects: Iterable[dict[str, Any]]) -> Iterator[Line]:
    """Yield one line per workload whose pods stay."""
    objects = list(objects)
    scaled = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"]["minReplicas"]
        for each in objects
        if each["kind"] == "HorizontalPodAutoscaler"
    }
    for each in objects:
        if each["kind"] in _STAYING:
            name, spec = each["metadata"]["name"], each["spec"]
            pods = scaled.get(name, spec.get("replicas", 1))
            claims = [
                claim["spec"]["resources"]["requests"]["storage"] for claim in spec.get("volumeClaimTemplates", [])
            ]
            cpu, memory = (_request(spec["template"]["spec"], resource) for resource in ("cpu", "memory"))
            yield Line(name, pods, cpu, memory / _GIB, pods * sum(map(_number, claims)) / _GIB)


def share(line: Line, prices: dict[str, Any]) -> float:
    """Return what the pods of a line occupy of nodes, in dollars a month."""
    node = prices["node"]
    return line.pods * max(line.cpu / node["cpu"], line.memory / node["memory_gib"]) * node["price"]


def nodes(found: Iterable[Line], prices: dict[str, Any], *, fewest: int) -> int:
    """Return how many nodes hold all of it."""
    node, found = prices["node"], list(found)
    cpu = sum(line.pods * line.cpu for line in found) / node["cpu"]
    memory = sum(line.pods * line.memory for line in found) / node["memory_gib"]
    return max(fewest, math.ceil(max(cpu, memory)))


def _request(pod: dict[str, Any], resource: str) -> float:
    """Return what Kubernetes reserves: containers and sidecars together, or an init container where that is more."""
    first = pod.get("initContainers", [])
    sidecars = sum(_asked(each, resource) for each in first if each.get("restartPolicy") == "Always")
    together = sidecars + sum(_asked(each, resource) for each in pod["containers"])
    return max([together, *(_asked(each, resource) for each in first)])


def _asked(container: dict[str, Any], resource: str) -> float:
    return _number(container["resources"]["requests"][resource])


def _number(quantity: str) -> float:
    match = re.fullmatch(r"(\d+)(m|Ki|Mi|Gi)?", quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a quantity.")
    return int(match[1]) / 1000 if match[2] == "m" else int(match[1]) * _UNITS.get(match[2], 1)


def _introduction(prices: dict[str, Any]) -> str:
    node = prices["node"]
    return (
        "Computed from what the manifests request, with prices that stand in `scripts/prices.toml`; put yours there and run\n"
        f"`scripts/cost-table`. A node has {node['name']}, costs ${node['price']:.2f} a month and leaves {node['cpu']} vCPU and "
        f"{node['memory_gib']} GiB to pods. A pod's\n*share* is the part of a node that its requests occupy. You pay for whole nodes: the *bill*."
    )


def _compared(found: list[Line], prices: dict[str, Any]) -> str:
    told = prices["description"]
    rows = [
        (
            f"`{line.name}`",
            str(line.pods),
            f"{line.memory * 1024:.0f} MiB",
            f"{line.cpu * 1000:.0f}m",
            _dollars(share(line, prices)),
            _dollars(told[line.name]),
        )
        for line in found
    ]
    volumes = sum(line.volumes for line in found)
    rows += [
        (
            "volumes",
            "",
            f"{volumes:.0f} GiB",
            "",
            _dollars(volumes * prices["other"]["volume_gib"]),
            _dollars(told["volumes"]),
        ),
        ("replica store", "", "", "", _dollars(prices["other"]["object_store"]), _dollars(told["store"])),
    ]
    total = sum(float(row[4].removeprefix("$")) for row in rows)
    rows.append(("**together**", "", "", "", f"**{_dollars(total)}**", f"**{_dollars(sum(told.values()))}**"))
    columns = ("what", "pods", "memory of one", "processor of one", "share", "the first estimate")
    return _table(columns, rows)


def _requests_note(prices: dict[str, Any]) -> str:
    dear = _SHARDS * _PUTS_PER_SHARD * prices["other"]["million_puts"]
    return (
        "The first estimate stands in the description that this architecture began with (about $45 to 50). It left out the load balancer\n"
        "and the requests to the store. Litestream writes about once a second while something is committed, up to "
        f"{_PUTS_PER_SHARD} million times a month and\nshard. A store that counts requests would charge up to "
        f"{_dollars(dear)} for {_SHARDS} busy shards: take one that does not, or fewer shards."
    )


def _totals(found: dict[str, list[Line]], prices: dict[str, Any]) -> str:
    other, rows = prices["other"], []
    for name, some in found.items():
        count = nodes(some, prices, fewest=_DEPLOYMENTS[name])
        volumes = sum(line.volumes for line in some) * other["volume_gib"]
        database = other["managed_postgresql"] if name in _MANAGED else 0.0
        bill = count * prices["node"]["price"] + volumes + other["object_store"] + database
        rows.append(
            (
                f"`{name}/`",
                str(sum(line.pods for line in some)),
                _dollars(sum(share(line, prices) for line in some)),
                str(count),
                _dollars(bill),
                _dollars(bill + other["load_balancer"]),
            )
        )
    columns = ("deployment", "pods", "share of nodes", "nodes", "bill", "with a load balancer of its own")
    return _table(columns, rows)


def _copied(folder: Path) -> Path:
    shutil.copytree(ROOT / "cluster", folder / "cluster")
    for example in folder.rglob("k8s-context.example"):
        shutil.copy(example, example.with_name("k8s-context"))
    return folder


def _rendered(folder: Path, name: str) -> list[dict[str, Any]]:
    done = subprocess.run([_KUBECTL, "kustomize", folder / name], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    return [each for each in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if each]


def _dollars(amount: float) -> str:
    return f"${amount:.2f}"


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(columns)
    body = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in body)


if __name__ == "__main__":
    sys.exit(main())
