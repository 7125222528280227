"""Do names that one object uses exist in another: selectors, accounts, ConfigMaps, volumes, images?"""

from __future__ import annotations

from collections.abc import Iterator

from deployment import environment, rendering
from deployment.rendering import Object, Workload

_VERSION = "version"


def problems(objects: list[Object], images: dict[str, str] | None = None) -> list[str]:
    """Say which reference leads nowhere; `images` is the image that each kind of container must have."""
    found = []
    for workload in rendering.workloads(objects):
        found += [f"{workload.name}: {problem}" for problem in _of_workload(objects, workload)]
        found += [f"{workload.name}: {problem}" for problem in _images(workload, images or {})]
    for each in objects:
        name = f"{each['kind']} {each['metadata']['name']}"
        if _VERSION in _selected(each):
            found.append(f"{name} selects by a version, which changes with every update")
        if each["metadata"].get("labels", {}).get("app") != "mod-bot":
            found.append(f"{name} is not labelled app=mod-bot")
    return [*found, *_overlaps(objects)]


def _of_workload(objects: list[Object], workload: Workload) -> Iterator[str]:
    if "selector" in workload.spec and not workload.spec["selector"]["matchLabels"].items() <= workload.labels.items():
        yield "its selector does not match its own pods"
    if not {"app", "component"} <= workload.labels.keys():
        yield "its pods carry no app and component"
    if workload.pod.get("serviceAccountName") not in rendering.of_kind(objects, "ServiceAccount"):
        yield "its account does not exist"
    if workload.kind == "StatefulSet" and workload.spec["serviceName"] not in rendering.of_kind(objects, "Service"):
        yield "its Service does not exist"
    volumes = {each["name"] for each in workload.pod.get("volumes", [])}
    claimed = {each["metadata"]["name"] for each in workload.spec.get("volumeClaimTemplates", [])}
    mounted = {mount["name"] for each in workload.containers for mount in each.get("volumeMounts", [])}
    for name in sorted((volumes | claimed) ^ mounted):
        yield f"the volume {name} is mounted or declared, not both"
    for each in workload.pod.get("volumes", []):
        if "configMap" in each and each["configMap"]["name"] not in rendering.of_kind(objects, "ConfigMap"):
            yield f"the ConfigMap {each['configMap']['name']} does not exist"
    for constraint in workload.pod.get("topologySpreadConstraints", []):
        if not constraint["labelSelector"]["matchLabels"].items() <= workload.labels.items():
            yield "it is spread against the pods of others"


def _images(workload: Workload, images: dict[str, str]) -> Iterator[str]:
    for container in workload.containers:
        image = container["image"]
        wanted = images.get(environment.mode(container), images.get("", image))
        if environment.mode(container) == "postgres":
            if not image.startswith("postgres:") or image.endswith(":latest"):
                yield f"{image} is not a fixed version of PostgreSQL"
        elif image != wanted:
            yield f"{container['name']} has the image {image} and not {wanted}"


def _selected(each: Object) -> set[str]:
    """Return the labels by which an object chooses pods."""
    spec = each.get("spec", {})
    selectors = [spec.get("selector") or {}, spec.get("podSelector") or {}]
    return {label for selector in selectors for label in selector.get("matchLabels", selector)}


def _overlaps(objects: list[Object]) -> Iterator[str]:
    """Two controllers whose selectors match each other's pods could adopt them."""
    controllers = [each for each in rendering.workloads(objects) if "selector" in each.spec]
    for one in controllers:
        for other in controllers:
            if one.name != other.name and one.spec["selector"]["matchLabels"].items() <= other.labels.items():
                yield f"{one.name} selects the pods of {other.name}"
