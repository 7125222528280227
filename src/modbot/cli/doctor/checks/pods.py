"""Gateway pods as they show themselves: sidecar, log, acting, what was lost, versions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from modbot.cli.doctor.checks.volumes import MIB
from modbot.cli.doctor.facts import Facts, GatewayPod, Metrics
from modbot.cli.doctor.findings import Finding, Kind, Level, listed

_LARGE_LOG: Final = 500 * MIB

POD_UNREACHABLE = Kind(
    "pod_unreachable",
    Level.WRONG,
    "A live pod does not answer on its address.",
    "Interactions of its guilds are deferred, and it cannot hand its shards over.",
    "Look at the network policies between the pods, at `kubectl get svc gateway-internal`, and at MODBOT_ADVERTISED_URL of {subject}.",
)
NOT_OPEN = Kind(
    "shard_not_open",
    Level.WRONG,
    "A pod owns a shard and cannot open its file.",
    "The guilds of the shard get no answers.",
    "The code in brackets or the sentence says why: docs/reference/errors.md, and for replicas docs/how-to/replicas.md.",
)
NOT_ACTING = Kind(
    "not_acting",
    Level.WRONG,
    "A pod has neither a lease nor the consent of its peers.",
    "It takes events in and does nothing in Discord.",
    "Look whether {subject} reaches the config service; `failsafe_refused` in its log names the peer that said no.",
)
FAILSAFE = Kind(
    "failsafe_mode",
    Level.WRONG,
    "A pod acts without a lease, because all peers agree that nobody reaches the config service.",
    "It goes on for 15 minutes at most; then effects wait.",
    "Bring the config service and PostgreSQL back. Do not restart gateway pods meanwhile.",
)
SIDECAR_AWAY = Kind(
    "sidecar_away",
    Level.WRONG,
    "The Litestream sidecar of a pod does not answer.",
    "What is committed now is on one volume only; the log of each file grows to 64 MB.",
    "`kubectl logs {subject} -c litestream` (`modbot dev`: `logs/litestream-N.log` in its state folder). Started again, it catches up.",
)
LARGE_LOG = Kind(
    "large_log",
    Level.WARNING,
    "The log (WAL) of a shard file has more than 500 MB.",
    "Restores and handoffs of the shard take long, and the volume fills.",
    "Look at the sidecar of {subject}, and for tools that keep the file open; then restart the pod.",
)
BREAKER_OPEN = Kind(
    "breaker_open",
    Level.WRONG,
    "Too many requests from one address were refused by Discord (401, 403, 429), so the pods behind it send none.",
    "Nothing is done in Discord until fewer than 5,000 were refused within ten minutes.",
    "Look for `effect_failed` in the logs: usually a permission that was taken away, or a wrong token.",
)
DEAD_LETTERS = Kind(
    "dead_letters",
    Level.WARNING,
    "Handlers have failed since the pod was started.",
    "What these events, timers or interactions asked for was not done.",
    "Report the defect. The rows in `dead_letters` of the shard file name handler, cause and error.",
)
GAPS_OPEN = Kind(
    "gaps_being_repaired",
    Level.WARNING,
    "A stream of events was lost for a time, and guilds are still being read back.",
    "What happened meanwhile appears late.",
    "Nothing, unless it happens often: docs/discussions/gaps.md.",
)
GAP_UNREADABLE = Kind(
    "gap_unreadable",
    Level.WARNING,
    "After a gap, something could not be read back.",
    "Moderators see that messages, log entries or bans of that time may be missing.",
    "Give modbot *Read Message History*, *View Audit Log* and *Ban Members* there; `gap_losses` in the shard file names the places.",
)
VERSIONS_DIFFER = Kind(
    "versions_differ",
    Level.WARNING,
    "Pods run different versions.",
    "During an update this is right. Left so, a shard file of the newer version is refused by the older pods.",
    "Finish the update (`kubectl rollout status statefulset gateway`), or look why it stopped: docs/how-to/upgrade.md.",
)
KINDS = (
    POD_UNREACHABLE,
    NOT_OPEN,
    NOT_ACTING,
    FAILSAFE,
    SIDECAR_AWAY,
    BREAKER_OPEN,
    LARGE_LOG,
    DEAD_LETTERS,
    GAPS_OPEN,
    GAP_UNREADABLE,
    VERSIONS_DIFFER,
)


def decide(facts: Facts) -> Iterator[Finding]:
    """Look at each pod, and at their versions."""
    for pod in facts.pods:
        if pod.service.problem:
            yield POD_UNREACHABLE.found(f"{pod.service.url}: {pod.service.problem}", subject=pod.pod_id)
            continue
        yield from _shards(pod)
        if pod.service.metrics is not None:
            yield from _metrics(pod.pod_id, pod.service.metrics)
    yield from _versions(facts)


def _shards(pod: GatewayPod) -> Iterator[Finding]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for shard in pod.shards:
        if not shard.is_open and shard.problem:
            reasons[shard.problem].append(shard.shard_id)
    for reason, names in reasons.items():
        yield NOT_OPEN.found(f"{listed(names)}: {reason}", subject=pod.pod_id)
    acting = {shard.acting for shard in pod.shards}
    if "no" in acting:
        yield NOT_ACTING.found("`GET /shards` of the pod says that it does not act.", subject=pod.pod_id)
    if "failsafe" in acting:
        yield FAILSAFE.found("`GET /shards` of the pod says that it acts in failsafe mode.", subject=pod.pod_id)


def _metrics(pod_id: str, metrics: Metrics) -> Iterator[Finding]:
    if any(not each.value for each in metrics.of("modbot_litestream_up")):
        yield SIDECAR_AWAY.found("`modbot_litestream_up` is 0.", subject=pod_id)
    if any(not each.value for each in metrics.of("modbot_rest_open")):
        yield BREAKER_OPEN.found("`modbot_rest_open` is 0.", subject=pod_id)
    for log in metrics.of("modbot_wal_bytes"):
        if log.value > _LARGE_LOG:
            yield LARGE_LOG.found(f"That of {log.label('shard')} has {log.value / MIB:.0f} MB.", subject=pod_id)
    letters = [each for each in metrics.of("modbot_dead_letters_total") if each.value]
    if letters:
        count = sum(each.value for each in letters)
        names = listed(sorted({each.label("handler") for each in letters}))
        yield DEAD_LETTERS.found(f"{count:.0f} times: {names}.", subject=pod_id)
    open_gaps = metrics.total("modbot_gap_guilds")
    if open_gaps:
        yield GAPS_OPEN.found(f"{open_gaps:.0f} guilds are not read back yet.", subject=pod_id)
    unreadable = metrics.total("modbot_gap_unreadable_total")
    if unreadable:
        yield GAP_UNREADABLE.found(f"{unreadable:.0f} places since the pod was started.", subject=pod_id)


def _versions(facts: Facts) -> Iterator[Finding]:
    running: dict[str, list[str]] = defaultdict(list)
    for pod in facts.pods:
        for each in () if pod.service.metrics is None else pod.service.metrics.of("modbot_build_info"):
            running[each.label("version")].append(pod.pod_id)
    if len(running) > 1:
        yield VERSIONS_DIFFER.found(
            "; ".join(f"{version}: {listed(sorted(pods))}" for version, pods in sorted(running.items())) + "."
        )
