"""Fixtures of all tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter: run by root, PostgreSQL is another user.

    Not below pytest's own folder, which every pytest that starts makes private again.
    """
    folder = Path(tempfile.mkdtemp(prefix="modbot-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """No test sees how another one has set logging up."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def state_folder(open_folder: Path) -> Path:
    """A fresh folder for a system on this machine."""
    return Path(tempfile.mkdtemp(dir=open_folder, prefix="state-"))
