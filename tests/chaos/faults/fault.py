"""What a fault is."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from chaos.systems import System

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """`inflict` breaks something, waits as long as the parameters say, and mends what does not mend itself.

    `renews` says whether Discord may have to be asked for new sessions afterwards; else a single IDENTIFY is a violation. `target` is the
    promise about the standstill of a shard in seconds, if there is one.
    """

    name: str
    what: str
    draw: Callable[[random.Random], Parameters]
    inflict: Callable[[System, Parameters], Awaitable[None]]
    renews: Callable[[Parameters], bool] = lambda _parameters: False
    target: float | None = None
    short: bool = True
    """Whether it belongs to the short run."""


def any_pod(chance: random.Random) -> Parameters:
    """Draw which pod it hits."""
    return {"pod": chance.randrange(3)}
