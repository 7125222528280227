"""The rendered manifests, each kustomization once per test process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from deployment import rendering
from deployment.rendering import Object, Rendered


@pytest.fixture(scope="session")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the manifests with a context beside each kustomization that reads one."""
    return rendering.copy_of_the_manifests(tmp_path_factory.mktemp("manifests"))


@pytest.fixture(scope="session")
def rendered(manifests: Path) -> Callable[[str], Rendered]:
    """Render a kustomization when it is first asked for."""
    return functools.cache(lambda name: rendering.render(manifests, name))


@pytest.fixture
def proposed(rendered: Callable[[str], Rendered]) -> list[Object]:
    """The objects of the load-balanced deployment; a test may break them."""
    return rendered(rendering.PROPOSED).objects()
