"""Faults on demand: what goes wrong with which requests, how often and how many times.

A fault either answers instead of the API (so nothing is applied) or, as `drop_response`, lets the API apply the request and then cuts the
connection: the client never learns the outcome. Chance is seeded, so a run can be repeated.
"""

import itertools
import random
import re
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from discordsim.rest.limits import Scope
from discordsim.world.payloads import Json


class FaultKind(StrEnum):
    """What goes wrong."""

    RATE_LIMIT = "rate_limit"
    SERVER_ERROR = "server_error"
    SLOW = "slow"
    RESET = "reset"
    DROP_RESPONSE = "drop_response"


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault. `route` is a regular expression searched in the route template and in the path; `count` None means until removed.

    `seconds` is the delay of `slow` and the `retry_after` of `rate_limit`; `status` belongs to `server_error`.
    """

    kind: FaultKind
    method: str | None = None
    route: str = ""
    count: int | None = None
    probability: float = 1.0
    status: int = 503
    seconds: float = 1.0
    scope: Scope = Scope.GLOBAL
    id: int = 0
    hits: int = 0
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the route; `re.error` when it is no regular expression."""
        self.pattern = re.compile(self.route)

    def fits(self, method: str, route: str, path: str) -> bool:
        """Tell whether the fault is about such a request."""
        same_method = self.method is None or self.method.upper() == method
        return same_method and bool(self.pattern.search(route) or self.pattern.search(path))

    def payload(self) -> Json:
        """Return the fault as JSON."""
        data = asdict(self)
        del data["pattern"]
        return data


class Faults:
    """The faults in force, asked in the order in which they were added."""

    def __init__(self, seed: int = 0) -> None:
        self._faults: dict[int, Fault] = {}
        self._ids = itertools.count(1)
        self._chance = random.Random(seed)  # noqa: S311 - repeatable, not secret

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force and give it its id."""
        fault.id = next(self._ids)
        self._faults[fault.id] = fault
        return fault

    def remove(self, fault_id: int) -> bool:
        """Take a fault away; False when there is no such fault."""
        return self._faults.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Take all faults away."""
        self._faults.clear()

    def listed(self) -> list[Fault]:
        """Return the faults in force."""
        return list(self._faults.values())

    def draw(self, method: str, route: str, path: str) -> list[Fault]:
        """Return the faults that strike this request; those that have struck often enough are gone afterwards."""
        struck = [one for one in self._faults.values() if one.fits(method, route, path) and self._strikes(one)]
        for fault in struck:
            fault.hits += 1
            if fault.count is not None and fault.hits >= fault.count:
                del self._faults[fault.id]
        return struck

    def _strikes(self, fault: Fault) -> bool:
        return fault.probability >= 1.0 or self._chance.random() < fault.probability
