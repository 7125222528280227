"""The page about adding a feature is executed: its files make a feature, and its own test passes."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

import modbot.features

_ROOT = Path(__file__).parents[3]
_PAGE = _ROOT / "docs/how-to/add-a-feature.md"
_BLOCK = re.compile(r"^```\w+ file=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TEST = "test_thanks"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Write the files of the page and return its test module."""
    before = set(sys.modules)
    for name, content in _BLOCK.findall(_PAGE.read_text("utf-8")):
        path = tmp_path / "page" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    monkeypatch.setattr(modbot.features, "__path__", [*modbot.features.__path__, str(tmp_path / "page")])
    spec = importlib.util.spec_from_file_location(_TEST, tmp_path / "page" / f"{_TEST}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in set(sys.modules) - before:
        if name.startswith("modbot.features.thanks"):
            del sys.modules[name]
    if hasattr(modbot.features, "thanks"):
        del modbot.features.thanks


async def test_the_pages_own_tests_pass(page: ModuleType, tmp_path: Path) -> None:
    tests = [each for name, each in inspect.getmembers(page, inspect.iscoroutinefunction) if name.startswith("test_")]
    assert len(tests) == 3
    for number, each in enumerate(tests):
        folder = tmp_path / str(number)
        folder.mkdir()
        await each(folder)


async def test_the_effect_of_the_page_acts_once_although_it_runs_twice(page: ModuleType, tmp_path: Path) -> None:
    """What the page promises of steps: after a crash behind the last one, a second run does nothing."""
    kit, feature = page.featurekit, page.thanks.feature
    week = timedelta(days=7)
    async with kit.open_shard(tmp_path, feature) as shard:
        await shard.say("thanks <@2>", author=1, mentions=(2,))
        await shard.use("thanks", user=1, moderator=True, weekly=kit.CHANNEL)
    async with kit.open_shard(tmp_path, feature, later=week) as shard:
        await shard.rest.next()
        await shard.settle()
        assert len(shard.rest.sent) == 1
        await shard.say("thanks <@3>", author=1, mentions=(3,), message_id=2**62)
        await shard.engine.commit(lambda tx: tx.execute("UPDATE effects SET state = 'pending', finished_at = NULL"))
    async with kit.open_shard(tmp_path, feature, later=week) as shard:
        await shard.settle()
        assert await shard.read("SELECT state FROM effects") == [("done",)]
        assert await shard.read("SELECT user_id FROM thanks") == [(3,)]
        assert shard.rest.sent == []


async def test_a_week_without_thanks_is_not_posted(page: ModuleType, tmp_path: Path) -> None:
    kit, feature = page.featurekit, page.thanks.feature
    async with kit.open_shard(tmp_path, feature) as shard:
        answer = await shard.use("thanks", user=1, moderator=True, weekly=kit.CHANNEL)
        assert answer["data"]["content"] == "Nobody was thanked yet."
    async with kit.open_shard(tmp_path, feature, later=timedelta(days=7)) as shard:
        while not await shard.read("SELECT 1 FROM effects WHERE state = 'done'"):
            await shard.settle()
        assert shard.rest.sent == []


def test_every_code_block_of_the_page_is_executed() -> None:
    text = _PAGE.read_text("utf-8")
    assert text.count("\n```") == 2 * len(_BLOCK.findall(text))
