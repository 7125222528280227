"""Reading rendered manifests: what a pod's containers are started with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]
_REFERENCE = re.compile(r"\$\((\w+)\)")


class MissingKeyError(Exception):
    """A container asks for a key that its secret does not have: the kubelet would not start it."""


@dataclass(frozen=True, slots=True)
class Template:
    """What the pods of a workload have in common."""

    owner: str
    labels: Mapping[str, str]
    spec: Manifest

    @property
    def grace(self) -> float:
        """Return how long a pod may take to end."""
        return float(self.spec.get("terminationGracePeriodSeconds", 30))

    @property
    def steps(self) -> list[Manifest]:
        """Return the init containers that run to their end, in order, and the sidecars between them."""
        return list(self.spec.get("initContainers", []))

    @property
    def containers(self) -> list[Manifest]:
        """Return the containers of the pod itself."""
        return list(self.spec["containers"])


def template(workload: Manifest) -> Template:
    """Return the pod template of a Deployment, StatefulSet, Job or CronJob."""
    spec = workload["spec"]
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    pod = spec["template"]
    return Template(workload["metadata"]["name"], pod.get("metadata", {}).get("labels", {}), pod["spec"])


def is_sidecar(container: Manifest) -> bool:
    """Whether an init container stays beside the pod."""
    return bool(container.get("restartPolicy") == "Always")


def environment(
    container: Manifest, *, pod: str, secrets: Mapping[str, Mapping[str, str]], told: Callable[[str], str]
) -> dict[str, str]:
    """Return the environment of a container; `told` puts addresses and folders in the place of names and mounts."""
    found: dict[str, str] = {}
    for each in container.get("env", []):
        found[each["name"]] = told(_value(each, pod, secrets, found))
    return found


def matches(labels: Mapping[str, str], selector: str) -> bool:
    """Whether labels fit a selector of the form `a=b,c=d`."""
    return all(labels.get(key) == value for key, _, value in (part.partition("=") for part in selector.split(",")))


def _value(each: Manifest, pod: str, secrets: Mapping[str, Mapping[str, str]], known: Mapping[str, str]) -> str:
    source = each.get("valueFrom")
    if source is None:
        return _REFERENCE.sub(lambda name: known.get(name[1], name[0]), each.get("value", ""))
    if "fieldRef" in source:
        assert source["fieldRef"]["fieldPath"] == "metadata.name", source
        return pod
    key = source["secretKeyRef"]
    try:
        return secrets[key["name"]][key["key"]]
    except KeyError:
        raise MissingKeyError(f"secret {key['name']} has no key {key['key']}") from None
