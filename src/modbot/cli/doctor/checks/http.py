"""The http pods: ready, and with nothing that they owe to the inbox."""

from __future__ import annotations

from collections.abc import Iterator

from modbot.cli.doctor.facts import Facts
from modbot.cli.doctor.findings import Finding, Kind, Level

HTTP_UNREACHABLE = Kind(
    "http_unreachable",
    Level.WRONG,
    "The http pods do not answer.",
    "Discord shows members that the application did not respond; the portal is away.",
    "`kubectl get pods -l component=http`, `kubectl get svc http-service`; then the ingress.",
)
HTTP_NOT_READY = Kind(
    "http_not_ready",
    Level.WRONG,
    "An http pod has no routing table.",
    "It defers every interaction.",
    "It needs the config service once: look at the findings about it.",
)
DEFERRALS_PENDING = Kind(
    "deferrals_pending",
    Level.WARNING,
    "An http pod has given deferrals to Discord that the inbox does not know of yet.",
    "Members read “thinking”; what is not delivered within 14 minutes is never answered.",
    "Bring the config service or the owner of the shard back. Do not restart the http pods meanwhile: the deferrals are in their memory.",
)
DEFERRALS_LOST = Kind(
    "deferrals_lost",
    Level.WARNING,
    "Deferrals never reached the inbox since the http pod was started.",
    "Members were not answered and have to ask again.",
    "Nothing brings them back. Look in the log what was away at that time, and whether there are two config pods.",
)
KINDS = (HTTP_UNREACHABLE, HTTP_NOT_READY, DEFERRALS_PENDING, DEFERRALS_LOST)


def decide(facts: Facts) -> Iterator[Finding]:
    """Look at the http pod that was asked."""
    http = facts.http
    if http is None:
        return
    if http.problem:
        yield HTTP_UNREACHABLE.found(f"{http.url}: {http.problem}", subject="http")
        return
    if http.unready:
        yield HTTP_NOT_READY.found(f"{http.url}/ready: {http.unready}", subject="http")
    if http.metrics is None:
        return
    pending = http.metrics.total("modbot_http_deferrals_pending")
    if pending:
        yield DEFERRALS_PENDING.found(f"{pending:.0f} wait.", subject="http")
    lost = http.metrics.total("modbot_http_deferrals_lost_total")
    if lost:
        yield DEFERRALS_LOST.found(f"{lost:.0f} since its start.", subject="http")
