"""Starting, stopping, being evicted, running out of memory: are the numbers of the manifests larger than those of the code?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from deployment import environment, rendering
from deployment.rendering import Object, Workload

from modbot.ops import serving
from modbot.services.http import main as http

LAST_SYNC = 30.0
"""How long Litestream tries its last sync after SIGTERM, in seconds (its default shutdown-sync-timeout)."""
SINGLE_STOP = 45.0
"""What `modbot single` gives its children to end, one after the other, in seconds, without a sidecar of its own."""
_SLACK = 10.0
_UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_SERVICES = ("http", "config", "gateway", "single")


def problems(objects: list[Object]) -> list[str]:
    """Say what would end badly."""
    found = [*_budgets(objects), *_scaling(objects)]
    for workload in rendering.workloads(objects):
        parts = [*_sidecars(workload), *_grace(workload), *_memory(workload), *_hardening(workload)]
        found += [f"{workload.name}: {part}" for part in parts]
    return found


def bytes_of(quantity: str) -> int:
    """Read `256Mi`."""
    number, unit = re.fullmatch(r"(\d+)(\w*)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * _UNITS[unit]


def resident() -> dict[str, float]:
    """Return what the processes were measured to hold, in bytes."""
    measured = json.loads((rendering.ROOT / "bench/resident.json").read_text("utf-8"))
    return {name: value * 2**20 for name, value in measured.items()}


def _budgets(objects: list[Object]) -> Iterator[str]:
    budgets = rendering.of_kind(objects, "PodDisruptionBudget")
    for name, budget in budgets.items():
        chosen = [each for each in rendering.workloads(objects) if _selects(budget, each)]
        pods = sum(rendering.replicas(objects, each) for each in chosen)
        if not chosen:
            yield f"{name} protects nothing"
        elif "maxUnavailable" not in budget["spec"]:
            yield f"{name} would block a drain once there are no more pods than it wants"
        elif budget["spec"]["maxUnavailable"] < 1:
            yield f"{name} blocks every drain"
        elif pods > 1 and pods - budget["spec"]["maxUnavailable"] < 1:
            yield f"{name} lets all pods go at once"
    for workload in rendering.workloads(objects):
        covered = [name for name, budget in budgets.items() if _selects(budget, workload)]
        if rendering.replicas(objects, workload) > 1 and len(covered) != 1:
            yield f"{workload.name} has {len(covered)} budgets"


def _selects(budget: Object, workload: Workload) -> bool:
    return budget["spec"]["selector"]["matchLabels"].items() <= workload.labels.items()


def _scaling(objects: list[Object]) -> Iterator[str]:
    for name, each in rendering.of_kind(objects, "HorizontalPodAutoscaler").items():
        target = rendering.workload(objects, each["spec"]["scaleTargetRef"]["name"])
        if "replicas" in target.spec:
            yield f"{target.name} states replicas, which {name} decides"
        if any(metric["resource"]["name"] == "memory" for metric in each["spec"]["metrics"]):
            yield f"{name} would never scale down: Python keeps its memory"


def _sidecars(workload: Workload) -> Iterator[str]:
    first = workload.pod.get("initContainers", [])
    replicating = [each for each in workload.containers if each["name"] == "litestream"]
    if environment.mode(workload.main) in {"gateway", "single"} and not replicating:
        yield "it has no Litestream sidecar"
    for each in replicating:
        if each not in first or each.get("restartPolicy") != "Always":
            yield "Litestream is no native sidecar, so it may be stopped before the last commit"
        if "startupProbe" not in each:
            yield "the pod does not wait for its sidecar"
        socket = _value(workload.main, "MODBOT_LITESTREAM_SOCKET")
        if socket not in " ".join(each.get("startupProbe", {}).get("exec", {}).get("command", [])):
            yield "the sidecar is asked on another socket"
        for path in ("/data", socket.rpartition("/")[0]):
            if _volume_at(each, path) != _volume_at(workload.main, path) or _volume_at(each, path) is None:
                yield f"the sidecar does not share {path}"


def _grace(workload: Workload) -> Iterator[str]:
    what = environment.mode(workload.main)
    grace = workload.pod.get("terminationGracePeriodSeconds", 30)
    hook = workload.main.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    wait = float(hook[1])
    needed = {
        "gateway": float(_value(workload.main, "MODBOT_DRAIN_LIMIT") or "nan") + LAST_SYNC,
        "single": SINGLE_STOP + LAST_SYNC,
        "http": wait + serving._FAREWELL + http._FAREWELL,
        "config": wait + serving._FAREWELL,
    }.get(what)
    if needed is not None and not grace >= needed + _SLACK:
        yield f"{grace} s of grace for {needed:.0f} s of work"
    if what in {"http", "config"} and wait < 5:
        yield "it stops before its Service has forgotten it"


def _memory(workload: Workload) -> Iterator[str]:
    measured = resident()
    needed = {**measured, "single": sum(measured.values())}
    for container in workload.containers:
        resources = container.get("resources", {})
        asked, limit = resources.get("requests", {}), resources.get("limits", {})
        if not {"memory", "cpu"} <= asked.keys() or "memory" not in limit:
            yield f"{container['name']} does not say what it needs"
            continue
        if "cpu" in limit:
            yield f"{container['name']} may be throttled, and then loses its lease"
        what = environment.mode(container)
        if what in needed and bytes_of(limit["memory"]) < 2 * needed[what]:
            yield f"{container['name']} may use {limit['memory']}, less than twice the measured {needed[what] / 2**20:.0f} MiB"
        if what in needed and bytes_of(asked["memory"]) < needed[what]:
            yield f"{container['name']} asks for {asked['memory']}, less than the measured {needed[what] / 2**20:.0f} MiB"


def _hardening(workload: Workload) -> Iterator[str]:
    pod = workload.pod
    around = pod.get("securityContext", {})
    if not around.get("runAsNonRoot") or around.get("runAsUser", 0) == 0:
        yield "it may run as root"
    if around.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "it has no seccomp profile"
    if workload.spec.get("volumeClaimTemplates") and not around.get("fsGroup"):
        yield "it may not write to its volume"
    if pod.get("automountServiceAccountToken") is not False:
        yield "it gets a token of the Kubernetes API"
    if pod.get("enableServiceLinks") is not False:
        yield "it gets variables that nobody asked for"
    for each in workload.containers:
        inside = each.get("securityContext", {})
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        if inside != wanted:
            yield f"{each['name']} has more rights than it needs"
    for claim in workload.spec.get("volumeClaimTemplates", []):
        if claim["spec"]["accessModes"] != ["ReadWriteOnce"]:
            yield "its volume can be mounted twice"


def _value(container: Object, name: str) -> str:
    return next((each.get("value", "") for each in container.get("env", []) if each["name"] == name), "")


def _volume_at(container: Object, path: str) -> str | None:
    return next((each["name"] for each in container.get("volumeMounts", []) if each["mountPath"] == path), None)
