"""What was asked over REST and what came of it: the oracle against which tests compare what a bot believes it did.

Keeps the newest requests and counts all. Refuses to keep bodies or tokens.
"""

from collections import Counter, deque
from dataclasses import asdict, dataclass
from enum import StrEnum

from discordsim.world.payloads import Json


class Outcome(StrEnum):
    """What the client learned of its request."""

    ANSWERED = "answered"
    RESET = "reset"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request. `time` in unix seconds, `route` with parameter names, `path` with values; `status` is what was or would have been answered."""

    time: float
    method: str
    route: str
    path: str
    status: int
    application_id: str | None
    nonce: str | int | None
    outcome: Outcome
    scope: str | None = None
    user_agent: str | None = None


class RestLog:
    """The newest `size` requests and counters of all."""

    def __init__(self, size: int = 20_000) -> None:
        self.requests: deque[LoggedRequest] = deque(maxlen=size)
        self.by_status: Counter[int] = Counter()
        self.by_route: Counter[str] = Counter()
        self.by_scope: Counter[str] = Counter()
        self.total = 0

    def add(self, request: LoggedRequest) -> None:
        """Keep and count one request."""
        self.requests.append(request)
        self.total += 1
        self.by_status[request.status] += 1
        self.by_route[f"{request.method} {request.route}"] += 1
        if request.scope is not None:
            self.by_scope[request.scope] += 1

    def clear(self) -> None:
        """Forget everything, counters included."""
        self.requests.clear()
        for counter in (self.by_status, self.by_route, self.by_scope):
            counter.clear()
        self.total = 0

    def find(self, *, method: str | None = None, route: str | None = None) -> list[LoggedRequest]:
        """Return the kept requests, oldest first, of a method and of a route template such as `/channels/{channel_id}/messages`."""
        return [
            one
            for one in self.requests
            if (method is None or one.method == method) and (route is None or one.route == route)
        ]

    def counters(self) -> Json:
        """Return the counters as JSON."""
        return {
            "total": self.total,
            "by_status": {str(status): count for status, count in sorted(self.by_status.items())},
            "by_route": dict(self.by_route),
            "rate_limited_by_scope": dict(self.by_scope),
            "invalid": sum(self.by_status[status] for status in (401, 403, 429)) - self.by_scope["shared"],
        }

    def payload(self, limit: int = 100) -> Json:
        """Return the counters and the newest `limit` requests, oldest first."""
        newest = list(self.requests)[-limit:] if limit else []
        return {"counters": self.counters(), "requests": [asdict(one) for one in newest]}
