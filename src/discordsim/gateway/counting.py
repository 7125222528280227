"""What happened at the gateway, in numbers: the oracle for budgets and fault tests."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import NamedTuple

from discordsim.world.payloads import Json


class IdentifyRecord(NamedTuple):
    """One accepted IDENTIFY; `at` in unix seconds, `key` the concurrency bucket."""

    at: float
    application_id: int
    shard_id: int
    num_shards: int
    key: int


@dataclass(slots=True)
class Counters:
    """Totals since start or the last reset."""

    connections: int = 0
    refused_connections: int = 0
    identifies: int = 0
    identifies_too_fast: int = 0
    identifies_over_limit: int = 0
    resumes: int = 0
    resumes_failed: int = 0
    replayed: int = 0
    invalid_sessions: int = 0
    heartbeats: int = 0
    world_events: int = 0
    dispatches: int = 0
    frames: int = 0
    sessions_ended: int = 0
    identifies_by_shard: Counter[str] = field(default_factory=Counter)
    closes: Counter[int] = field(default_factory=Counter)
    client_closes: Counter[int] = field(default_factory=Counter)
    inbound: Counter[int] = field(default_factory=Counter)
    identify_log: deque[IdentifyRecord] = field(default_factory=lambda: deque(maxlen=10_000))

    def payload(self) -> Json:
        """Return everything as JSON."""
        plain = {name: getattr(self, name) for name in self.__slots__ if isinstance(getattr(self, name), int)}
        return plain | {
            "identifies_by_shard": dict(self.identifies_by_shard),
            "closes": {str(code): count for code, count in self.closes.items()},
            "client_closes": {str(code): count for code, count in self.client_closes.items()},
            "inbound": {str(op): count for op, count in self.inbound.items()},
            "identify_log": [record._asdict() for record in self.identify_log],
        }
