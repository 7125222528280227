"""`kubectl apply -k` takes every kustomization without a word, and Kubernetes 1.29 to 1.36 takes what comes out."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from deployment import rendering
from deployment.rendering import KUSTOMIZATIONS, ROOT, Object, Rendered
from yamllint import linter
from yamllint.config import YamlLintConfig

OLDEST, NEWEST = "1.29", "1.36"
_MANIFESTS = sorted(path for path in (ROOT / "cluster").rglob("*.yaml") if "monitoring" not in path.parts)
_DEPRECATED = {
    "commonLabels",
    "vars",
    "bases",
    "patchesStrategicMerge",
    "patchesJson6902",
    "imageTags",
    "configurations",
}
Render = Callable[[str], Rendered]


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_kustomize_warns_of_nothing_and_leaves_no_placeholder(rendered: Render, name: str) -> None:
    made = rendered(name)
    assert made.words == ""
    assert re.findall(r"\bIMAGE\w*|\bZONE\w*|\$\(IMAGE", made.text) == []
    assert "k8s-context" not in made.text


@pytest.mark.parametrize("name", [name for name in KUSTOMIZATIONS if "overlays" not in name])
def test_without_its_context_nothing_is_rendered(tmp_path: Path, name: str) -> None:
    folder = rendering.copy_of_the_manifests(tmp_path)
    (folder / name / "k8s-context").unlink()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        rendering.render(folder, name)
    assert "k8s-context" in caught.value.stderr


@pytest.mark.parametrize("name", sorted(rendering.CONTEXTS))
def test_the_example_of_a_context_has_the_lines_that_are_read(name: str) -> None:
    example = (ROOT / name / "k8s-context.example").read_text("utf-8")
    assert re.findall(r"^(\w+)=\S+$", example, re.MULTILINE) == re.findall(
        r"^(\w+)=", rendering.CONTEXTS[name], re.MULTILINE
    )


def test_a_context_is_never_committed() -> None:
    assert "k8s-context" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_them(rendered: Render, version: str) -> None:
    assert _refused(_all(rendered), version) == []


@pytest.mark.long
@pytest.mark.parametrize("version", [f"1.{minor}" for minor in range(30, 36)])
def test_every_version_between_takes_them(rendered: Render, version: str) -> None:
    assert _refused(_all(rendered), version) == []


def test_a_misspelt_field_would_be_refused(proposed: list[Object]) -> None:
    rendering.workload(proposed, "gateway").pod["terminationGracePeriod"] = 90
    assert len(_refused(proposed, NEWEST)) == 1


@pytest.mark.parametrize("path", _MANIFESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_yamllint_has_nothing_to_say(path: Path) -> None:
    config = YamlLintConfig(file=str(ROOT / ".yamllint.yaml"))
    assert [str(each) for each in linter.run(path.read_text("utf-8"), config)] == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "cluster").rglob("kustomization.yaml")), ids=lambda path: path.parent.name
)
def test_no_deprecated_field(path: Path) -> None:
    assert _DEPRECATED & yaml.safe_load(path.read_text("utf-8")).keys() == set()


def test_every_file_of_the_deployment_is_rendered() -> None:
    for name in (rendering.SINGLE, rendering.PROPOSED):
        read = yaml.safe_load((ROOT / name / "kustomization.yaml").read_text("utf-8"))
        named = {*read["resources"], *(each["path"] for each in read["replacements"]), "kustomization.yaml"}
        assert {path.name for path in (ROOT / name).glob("*.yaml")} == named


def _all(rendered: Render) -> list[Object]:
    """Return every object once; overlays repeat most of what they build on."""
    return list({json.dumps(each): each for name in KUSTOMIZATIONS for each in rendered(name).objects()}.values())


def _refused(objects: list[Object], version: str) -> list[str]:
    found = []
    for each in objects:
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{each['kind']} {each['metadata']['name']}: {error.message}")
    return found
