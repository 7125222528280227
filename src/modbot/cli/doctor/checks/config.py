"""The process itself, and the config service: reached, believed, with its database, at the same time of day."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from modbot.cli.doctor.facts import Facts, Metrics
from modbot.cli.doctor.findings import Finding, Kind, Level

POOL: Final = 5
"""The most connections of one config pod to PostgreSQL (`services/config/database.py`)."""
RESERVE: Final = 200
"""Below this only shards that had a session get a new one (`MODBOT_IDENTIFY_RESERVE` may say otherwise)."""
_CLOCK: Final = 10.0

UNREACHABLE = Kind(
    "config_unreachable",
    Level.WRONG,
    "The config service does not answer.",
    "No shard is given out and no session begins. Pods that run go on for a while; one that is restarted cannot register.",
    "Look whether its pods run (`kubectl get pods -l component=config`), then at MODBOT_CONFIG_URL and at network policies. "
    "Do not restart gateway pods meanwhile.",
)
TOKEN_REFUSED = Kind(
    "internal_token_refused",
    Level.WRONG,
    "The config service does not accept the internal token.",
    "This process can neither register nor route.",
    "Give all processes the same MODBOT_INTERNAL_TOKEN, and restart those that have the old one.",
)
NOT_READY = Kind(
    "config_not_ready",
    Level.WRONG,
    "The config service runs, and PostgreSQL does not answer it or has another schema.",
    "Nobody gets new shards, and owners stay what they are. Pods go on for 15 minutes in failsafe mode; then effects wait.",
    "Bring PostgreSQL back (`kubectl logs config-postgres-0`) and check DATABASE_URL: docs/discussions/outages.md.",
)
POOL_EXHAUSTED = Kind(
    "pool_exhausted",
    Level.WARNING,
    "All connections of a config pod to PostgreSQL are in use.",
    "Calls wait for one another; leases may be renewed late.",
    "Look for slow statements in PostgreSQL's log, or add a config pod: `kubectl scale deployment config-service --replicas=3`.",
)
CLOCK_DIFFERS = Kind(
    "clock_differs",
    Level.WARNING,
    "The clock of this machine and that of a service differ by more than 10 seconds.",
    "Leases do not mind. Deadlines, retention and times in logs are wrong on one of the two.",
    "Switch time synchronisation on, on the machine whose clock is wrong.",
)
ITSELF_NOT_READY = Kind(
    "not_ready",
    Level.WRONG,
    "The process that this doctor stands beside is not ready, or does not answer.",
    "It gets no work.",
    "The other findings usually say why; else its log does.",
)
IDENTIFY_LOW = Kind(
    "identify_budget_low",
    Level.WRONG,
    "Few of the day's IDENTIFYs are left.",
    "Shards that never had a session wait. Discord resets the token of a bot that goes on beyond the last one.",
    "Find what spends sessions, a pod that crashes in a loop or a file that was lost, and stop it: `kubectl get pods -l component=gateway`.",
)
KINDS = (ITSELF_NOT_READY, UNREACHABLE, TOKEN_REFUSED, NOT_READY, POOL_EXHAUSTED, CLOCK_DIFFERS, IDENTIFY_LOW)


def decide(facts: Facts) -> Iterator[Finding]:
    """Look at the process itself and at the config service."""
    if facts.itself is not None and (reason := facts.itself.problem or facts.itself.unready):
        yield ITSELF_NOT_READY.found(f"{facts.itself.url}/ready: {reason}", subject=facts.place)
    if facts.config is not None:
        yield from _service(facts)
    yield from _clocks(facts)
    remaining = _remaining(facts)
    if remaining is not None and remaining < RESERVE:
        yield IDENTIFY_LOW.found(f"{remaining} are left.")


def _service(facts: Facts) -> Iterator[Finding]:
    assert facts.config is not None
    service = facts.config.service
    if service.problem:
        yield UNREACHABLE.found(f"{service.url}: {service.problem}", subject="config")
        return
    if facts.config.token_refused:
        yield TOKEN_REFUSED.found(f"{service.url} answers 401.", subject="MODBOT_INTERNAL_TOKEN")
    if service.unready and not facts.before_start:
        yield NOT_READY.found(f"{service.url}/ready: {service.unready}", subject="config")
    if service.metrics is not None and _exhausted(service.metrics):
        yield POOL_EXHAUSTED.found(f"{POOL} of {POOL} connections are busy.", subject="config")


def _exhausted(metrics: Metrics) -> bool:
    busy = [each for each in metrics.of("modbot_config_pool_connections") if each.label("use") == "busy"]
    return any(each.value >= POOL for each in busy)


def _clocks(facts: Facts) -> Iterator[Finding]:
    seen = [] if facts.config is None else [("config", facts.config.service)]
    seen += [(pod.pod_id, pod.service) for pod in facts.pods]
    for name, service in seen:
        ahead = service.clock_ahead
        if ahead is not None and abs(ahead) > _CLOCK:
            word = "ahead of" if ahead > 0 else "behind"
            yield CLOCK_DIFFERS.found(f"This machine is {abs(ahead):.0f} s {word} {name}.", subject=name)


def _remaining(facts: Facts) -> int | None:
    """Return what is left of the day's IDENTIFYs: as Discord says now, or else as the config service last saw it."""
    if facts.discord is not None and facts.discord.remaining is not None:
        return facts.discord.remaining
    metrics = None if facts.config is None else facts.config.service.metrics
    known = [] if metrics is None else [each.value for each in metrics.of("modbot_config_identify_remaining")]
    return next((int(value) for value in known if value == value), None)  # noqa: PLR0124 - not a number: nobody asked yet
