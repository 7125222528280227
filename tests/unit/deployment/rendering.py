"""Rendering the manifests as `kubectl apply -k` would, and reading what comes out."""

from __future__ import annotations

import copy
import functools
import pickle
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
SINGLE = "cluster"
PROPOSED = "cluster/proposed"
SMALL = "cluster/overlays/small"
PRODUCTION = "cluster/overlays/production"
CANARY = "cluster/overlays/canary"
REGIONS = "cluster/overlays/two-regions"
KUSTOMIZATIONS = (SINGLE, PROPOSED, SMALL, PRODUCTION, CANARY, REGIONS)
IMAGE, IMAGE_CONFIG, IMAGE_CANARY = "registry.test/bot:1", "registry.test/bot-config:2", "registry.test/bot:3"
CONTEXTS = {
    SINGLE: f"IMAGE={IMAGE}\n",
    PROPOSED: f"IMAGE={IMAGE}\nIMAGE_CONFIG={IMAGE_CONFIG}\n",
    CANARY: f"IMAGE_CANARY={IMAGE_CANARY}\n",
    REGIONS: "ZONE_A=fra1\nZONE_B=ams3\n",
}
_KUBECTL = Path(sysconfig.get_path("scripts")) / "kubectl"
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rendered:
    """What one kustomization makes: the text, the objects, and what kubectl had to say."""

    text: str
    words: str

    def objects(self) -> list[Object]:
        """Return the objects, fresh every time, so that a test may break them."""
        return pickle.loads(_parsed(self.text))


@dataclass(frozen=True, slots=True)
class Workload:
    """Something that makes pods."""

    kind: str
    name: str
    spec: Object
    template: Object

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels of its pods."""
        return self.template["metadata"].get("labels", {})

    @property
    def pod(self) -> Object:
        """Return the spec of its pods."""
        return self.template["spec"]

    @property
    def containers(self) -> list[Object]:
        """Return all containers, those that come first included."""
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    @property
    def main(self) -> Object:
        """Return the one container that is not there to help another."""
        (main,) = (each for each in self.pod["containers"] if each["name"] != "litestream")
        return main


def copy_of_the_manifests(folder: Path) -> Path:
    """Copy `cluster/` and put a context beside every kustomization that reads one."""
    shutil.copytree(ROOT / "cluster", folder / "cluster", ignore=shutil.ignore_patterns("k8s-context"))
    for name, text in CONTEXTS.items():
        (folder / name / "k8s-context").write_text(text, "utf-8")
    return folder


def render(folder: Path, name: str) -> Rendered:
    """Render one kustomization of a copy; `CalledProcessError` when kubectl refuses it."""
    done = subprocess.run(
        [str(_KUBECTL), "kustomize", str(folder / name)], capture_output=True, text=True, check=True, timeout=60
    )
    return Rendered(done.stdout, done.stderr)


def workloads(objects: list[Object]) -> Iterator[Workload]:
    """Yield everything that makes pods."""
    for each in objects:
        spec = each.get("spec", {})
        if each["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if "template" in spec:
            yield Workload(each["kind"], each["metadata"]["name"], spec, spec["template"])


def workload(objects: list[Object], name: str) -> Workload:
    """Return the workload with a name."""
    return next(each for each in workloads(objects) if each.name == name)


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """Return the objects of one kind by name."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def replicas(objects: list[Object], of: Workload) -> int:
    """Return how many pods there are at least: the HPA's word where there is one."""
    for each in of_kind(objects, "HorizontalPodAutoscaler").values():
        target = each["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) == (of.kind, of.name):
            return each["spec"]["minReplicas"]
    return of.spec.get("replicas", 1)


def without(variables: list[Object], name: str) -> list[Object]:
    """Return the variables of a container without one of them."""
    return copy.deepcopy([each for each in variables if each["name"] != name])


@functools.cache
def _parsed(text: str) -> bytes:
    return pickle.dumps([each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each])
