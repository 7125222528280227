"""All features of a process, indexed the way they are looked up.

Two declarations that would answer to the same name are refused when the process starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from modbot.domain.errors import SettingsError
from modbot.shard.feature import Command, CommandKind, Component, EffectKind, EventHandler, Feature, TimerKind
from modbot.shard.migrations import Series, read_series

_K = TypeVar("_K")
_V = TypeVar("_V")
# Of the engine's own tables: tokens of interactions are secrets, traces are the operator's, and message text is kept for an hour at most.
_WITHHELD = {"effects": ("reply_token", "trace"), "dead_letters": ("payload",)}


class Registry:
    """The declarations of all features."""

    __slots__ = ("commands", "components", "effects", "handlers", "series", "timers", "withheld")

    def __init__(self, features: Iterable[Feature]) -> None:
        self.handlers: dict[str, tuple[tuple[str, EventHandler], ...]] = {}
        self.commands: dict[tuple[CommandKind, str], Command] = {}
        self.components: dict[str, Component] = {}
        self.timers: dict[str, TimerKind[Any]] = {}
        self.effects: dict[str, EffectKind[Any]] = {}
        self.series: list[Series] = [read_series("engine", "modbot.shard")]
        self.withheld: dict[str, tuple[str, ...]] = dict(_WITHHELD)
        for feature in features:
            self._add(feature)

    @property
    def controls(self) -> list[Component]:
        """Return the buttons that stand at the top of every user thread."""
        return [component for component in self.components.values() if component.control is not None]

    @property
    def versions(self) -> dict[str, int]:
        """Return the version of every component, as the code has it."""
        return {series.component: len(series.scripts) for series in self.series}

    def _add(self, feature: Feature) -> None:
        self.series.append(feature.migrations())
        for table, columns in feature.withheld.items():
            _put(self.withheld, table, columns)
        for event, handler in feature.events:
            named = (f"{feature.name}.{handler.__name__}", handler)
            self.handlers[event] = (*self.handlers.get(event, ()), named)
        for command in feature.commands:
            _put(self.commands, (command.kind, command.name), command)
        for component in feature.components:
            _put(self.components, component.prefix, component)
        for timer in feature.timers:
            _put(self.timers, timer.name, timer)
        for effect in feature.effects:
            _put(self.effects, effect.name, effect)


def _put(table: dict[_K, _V], key: _K, value: _V) -> None:
    if key in table:
        raise SettingsError(f"{key} is declared twice.")
    table[key] = value
