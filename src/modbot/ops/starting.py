"""Starting a service: read its settings, set up its log, run it, and turn what goes wrong into one sentence and an exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec
import uvloop

from modbot.domain.errors import ModbotError, SettingsError
from modbot.ops import logs, settings, tracing
from modbot.ops.settings import CommonSettings, Secret

_S = TypeVar("_S", bound=msgspec.Struct)


def service(
    name: str,
    group: type[_S],
    run: Callable[[_S], Coroutine[Any, Any, None]],
    *,
    environ: Mapping[str, str] = os.environ,
    loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
) -> int:
    """Run a service with the settings of the environment; returns 0, 2 for wrong settings, 1 for another named error."""
    try:
        loaded = settings.load(group, environ)
        common: CommonSettings = loaded.common  # type: ignore[attr-defined]  # every service's group has it
        secrets = list(_secrets(loaded))
        end_traces = tracing.set_up(name, environ)
        logs.configure(log_format=common.log_format, level=common.log_level, service=name, secrets=secrets)
        try:
            with asyncio.Runner(loop_factory=loop) as runner:
                runner.run(run(loaded))
        finally:
            end_traces()
    except ModbotError as error:
        sys.stderr.write(f"{error}\n{error.hint}\n")
        return 2 if isinstance(error, SettingsError) else 1
    return 0


def _secrets(group: msgspec.Struct) -> list[Secret]:
    """Find every secret of a group and the groups in it: none of them may reach the log."""
    found: list[Secret] = []
    for field in msgspec.structs.fields(type(group)):
        value = getattr(group, field.name)
        if isinstance(value, Secret):
            found.append(value)
        elif isinstance(value, msgspec.Struct):
            found += _secrets(value)
    return found
