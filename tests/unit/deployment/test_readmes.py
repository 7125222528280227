"""The pages beside the manifests name what is rendered: files, objects, secrets, containers, addresses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docskit
import pytest
import yaml
from deployment import environment, probing, rendering
from deployment.rendering import CANARY, PROPOSED, ROOT, SINGLE, Object, Rendered

_PAGES = sorted((ROOT / "cluster").rglob("README.md"))
_KINDS = {
    "deployment": "Deployment",
    "deploy": "Deployment",
    "statefulset": "StatefulSet",
    "svc": "Service",
    "hpa": "HorizontalPodAutoscaler",
    "pdb": "PodDisruptionBudget",
    "cronjob": "CronJob",
    "job": "Job",
}
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
Render = Callable[[str], Rendered]


def _read(name: str) -> str:
    return (ROOT / name / "README.md").read_text("utf-8")


def _section(text: str, title: str) -> str:
    return re.split(r"\n## ", text.partition(f"\n## {title}\n")[2])[0]


def _commands(text: str) -> list[str]:
    joined = "\n".join(docskit.code(text)).replace("\\\n", " ")
    return re.findall(r"kubectl [^\n`]+", joined)


@pytest.fixture
def there(rendered: Render) -> list[Object]:
    """Everything that any of the deployments has."""
    return [each for name in (SINGLE, PROPOSED, CANARY) for each in rendered(name).objects()]


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.parent.name)
def test_links_resolve(page: Path) -> None:
    for link in _LINK.findall(docskit.prose(page.read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in docskit.anchors(target.read_text("utf-8")), link


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.parent.name)
def test_objects_that_commands_name_exist(page: Path, there: list[Object]) -> None:
    names = {(each["kind"], each["metadata"]["name"]) for each in there} | {("Job", "restore-drill-now")}
    named = {
        (_KINDS[kind], name)
        for command in _commands(page.read_text("utf-8"))
        for kind, some in re.findall(rf"\b({'|'.join(_KINDS)})[ /]((?:[a-z][a-z-]+ ?)+)", command)
        for name in some.split()
        if not command.startswith("kubectl exec") or "/" in command
    }
    assert named - names == set()


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.parent.name)
def test_pods_and_containers_that_commands_name_exist(page: Path, there: list[Object]) -> None:
    pods = {
        f"{each.name}-0": {container["name"] for container in each.containers} for each in rendering.workloads(there)
    }
    for command in _commands(page.read_text("utf-8")):
        for pod in re.findall(r"(?:exec|logs|describe pod) ([a-z-]+-0)\b", command):
            assert pod in pods, command
            for container in re.findall(r" -c ([a-z]+)", command.partition(" -- ")[0]):
                assert container in pods[pod], command


def test_addresses_that_commands_ask_are_served(there: list[Object]) -> None:
    addresses = {
        address for page in _PAGES for address in re.findall(r"curl (http://[^\s`]+)", page.read_text("utf-8"))
    }
    assert len(addresses) > 1
    services = rendering.of_kind(there, "Service")
    for address in addresses:
        parts = urlsplit(address)
        service: Any = services[str(parts.hostname)]
        assert parts.port in {each["port"] for each in service["spec"]["ports"]}
        assert parts.path in probing.served(service["metadata"]["labels"]["component"])


@pytest.mark.parametrize("name", [SINGLE, PROPOSED])
def test_files_are_listed(name: str) -> None:
    page = _read(name)
    listed = set(re.findall(r"`([a-z0-9-]+(?:\.yaml|\.example))`", page.partition("\n## Deploy")[0]))
    folder = ROOT / name
    files = {path.name for path in folder.iterdir() if path.is_file()} - {"README.md", "k8s-context"}
    assert listed == files


def test_overlays_are_listed() -> None:
    folder = ROOT / "cluster/overlays"
    listed = set(re.findall(r"^\| `([a-z-]+)/` \|", _read("cluster/overlays"), re.MULTILINE))
    assert listed == {path.name for path in folder.iterdir() if path.is_dir()} - {"another-gateway"}


def test_the_secrets_are_the_ones_that_are_read() -> None:
    block = _section(_read(PROPOSED), "Deployment").partition("```yaml\n# modbot-env\n")[2].partition("```")[0]
    first, _, second = block.partition("\n# config-service-secret\n")
    assert {
        "modbot-env": set(yaml.safe_load(first)),
        "config-service-secret": set(yaml.safe_load(second)),
    } == environment.SECRETS


@pytest.mark.parametrize(
    ("name", "title"), [(PROPOSED, "Rollback"), (SINGLE, "Back from the load-balanced deployment")]
)
def test_the_rollback_takes_away_everything_that_serves(rendered: Render, name: str, title: str) -> None:
    commands = re.findall(r"^\$ (kubectl .+)$", _section(_read(name), title), re.MULTILINE)
    assert commands[0] == "kubectl apply -k cluster/"
    deleted = {
        (_KINDS[kind], each)
        for command in commands
        for kind, names in re.findall(r"^kubectl delete (\w+) ([a-z -]+)$", command)
        for each in names.split()
    }
    proposed = rendered(PROPOSED).objects()
    kinds = {"Deployment", "StatefulSet", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
    assert deleted == {(each["kind"], each["metadata"]["name"]) for each in proposed if each["kind"] in kinds}


def test_what_is_deleted_after_a_rollback_is_not_the_single_pods(rendered: Render) -> None:
    assert "component!=single" in _section(_read(SINGLE), "Back from the load-balanced deployment")
    components = [each["metadata"]["labels"].get("component") for each in rendered(SINGLE).objects()]
    assert set(components) == {"single"}
    assert "single" not in [each["metadata"]["labels"].get("component") for each in rendered(PROPOSED).objects()]
