"""The cluster as the config service knows it: pods, shards, moves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from modbot.cli.doctor.checks.around import NO_STORE
from modbot.cli.doctor.facts import Cluster, Facts
from modbot.cli.doctor.findings import Finding, Kind, Level, listed
from modbot.cluster import protocol

_EVENT_LAG: Final = 2.0
_REPLICA_LAG: Final = 10.0
_UNEVEN: Final = 1.25
_REMOVED: Final = 86_400.0

NO_LIVE_POD = Kind(
    "no_live_pod",
    Level.WRONG,
    "No gateway pod has a lease.",
    "No event is taken in; members read “thinking” until Discord gives up.",
    "Start the gateway pods; the log of one that runs says why it does not register.",
)
POD_LOST = Kind(
    "pod_lost",
    Level.WRONG,
    "A pod stopped renewing its lease and did not say goodbye.",
    "Its shards went to other pods, or wait for it.",
    "`kubectl describe pod {subject}` shows whether it runs and where; start it again. One that was removed on purpose is not named any "
    "more after a day.",
)
SHARD_UNOWNED = Kind(
    "shard_unowned",
    Level.WRONG,
    "Shards have no owner.",
    "The guilds of these shards get no answers, and their events wait at Discord for a minute or two.",
    "Do what the reason asks for; usually: start the pod that served them last, or give another one room (MODBOT_CAPACITY).",
)
NOT_CONNECTED = Kind(
    "session_not_connected",
    Level.WRONG,
    "Shards of a live pod have no gateway session.",
    "Their guilds' events are not taken in. Discord keeps them for a minute or two; afterwards they are a gap.",
    "Right after a start this is normal, five seconds per shard at most. Else look for `gateway_refused`, `identify_waits` and "
    "`no_sound_replica` in the log of {subject}.",
)
EVENT_LAG = Kind(
    "event_lag",
    Level.WARNING,
    "A pod commits events late.",
    "Answers come late or are deferred.",
    "Give {subject} more processor time, or move shards away: `modbot rebalance --wait`. One guild that does it alone can have a shard of "
    "its own: `modbot guild dedicate`.",
)
REPLICA_BEHIND = Kind(
    "replica_behind",
    Level.WRONG,
    "The replica of a shard is more than 10 seconds behind its file.",
    "If the volume were lost now, Discord would have to send this again; what it has forgotten would be a gap.",
    "Look at the sidecar (`kubectl logs {subject} -c litestream`) and at the store; when both are well, restart the pod.",
)
STORES_DIFFER = Kind(
    "stores_differ",
    Level.WARNING,
    "Pods name different replica stores.",
    "Pods take over only from pods whose settings name the same store, letter by letter.",
    "Give all gateway pods the same MODBOT_REPLICA_STORE or LITESTREAM_ variables.",
)
TOO_LITTLE_ROOM = Kind(
    "too_little_room",
    Level.WARNING,
    "Without its largest pod the cluster has no room for all shards.",
    "When that pod is lost or updated, shards wait for it.",
    "Add a gateway pod (docs/how-to/scale.md), or raise MODBOT_CAPACITY where memory allows it.",
)
UNEVEN = Kind(
    "uneven",
    Level.WARNING,
    "The most loaded pod has more than 1.25 times the mean load.",
    "That pod will be slow first.",
    "`modbot rebalance --dry-run` says what would move and what stands in the way.",
)
MOVES_HELD = Kind(
    "moves_held",
    Level.WARNING,
    "Shards should move and cannot.",
    "A drain does not end, or a pin is not obeyed.",
    "Do what the reason asks for: raise MODBOT_CAPACITY, add a pod, or take the pin away (`modbot pin`).",
)
MOVES_PAUSED = Kind(
    "moves_paused",
    Level.WARNING,
    "Somebody has paused the moves.",
    "Nothing moves for balance, for pins or because of `modbot drain`; new pods stay empty.",
    "`modbot resume`, unless somebody is at work.",
)
POD_DRAINED = Kind(
    "pod_drained",
    Level.WARNING,
    "Somebody has drained a pod.",
    "It receives nothing, not even in a takeover, across its restarts.",
    "`modbot drain {subject} --undo` when the work on it is done.",
)
KINDS = (
    NO_LIVE_POD,
    POD_LOST,
    SHARD_UNOWNED,
    NOT_CONNECTED,
    EVENT_LAG,
    REPLICA_BEHIND,
    STORES_DIFFER,
    TOO_LITTLE_ROOM,
    UNEVEN,
    MOVES_HELD,
    MOVES_PAUSED,
    POD_DRAINED,
)


def decide(facts: Facts) -> Iterator[Finding]:
    """Look at pods, shards and moves."""
    if facts.cluster is not None:
        yield from _pods(facts.cluster)
        yield from _shards(facts.cluster)
        yield from _loads(facts)
        yield from _stores(facts.cluster)
        yield from _room(facts.cluster)
        yield from _moves(facts.cluster)


def _pods(cluster: Cluster) -> Iterator[Finding]:
    if not cluster.live():
        yield NO_LIVE_POD.found(f"{len(cluster.pods)} pods are known, and none is live.")
    for pod in cluster.pods:
        if pod.state is protocol.PodState.LOST and pod.lease_seconds > -_REMOVED:
            yield POD_LOST.found(f"Its lease ran out {-pod.lease_seconds:.0f} s ago.", subject=pod.pod_id)
        if pod.cordoned:
            left = len(cluster.owned(pod.pod_id))
            yield POD_DRAINED.found(f"It is {pod.state}, drained, and has {left} shards left.", subject=pod.pod_id)


def _shards(cluster: Cluster) -> Iterator[Finding]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for shard in cluster.shards:
        if shard.owner is None:
            reasons[shard.waiting or "No pod has been given it yet."].append(shard.shard_id)
    for reason, names in reasons.items():
        yield SHARD_UNOWNED.found(reason, subject=listed(names))


def _loads(facts: Facts) -> Iterator[Finding]:
    assert facts.cluster is not None
    looks = {pod.pod_id: pod for pod in facts.pods}
    for pod in facts.cluster.live():
        look = looks.get(pod.pod_id)
        silent = [load.shard_id for load in pod.shards if not load.connected]
        if silent:
            told = [] if look is None else [each.problem for each in look.shards if each.problem]
            why = f" The pod says: {told[0]}" if told else ""
            yield NOT_CONNECTED.found(
                f"{len(silent)} of {len(pod.shards)} are not connected: {listed(silent)}.{why}", subject=pod.pod_id
            )
        late = max((load.lag_seconds for load in pod.shards), default=0.0)
        if late > _EVENT_LAG:
            yield EVENT_LAG.found(f"The slowest commit since its last report took {late:.1f} s.", subject=pod.pod_id)
        metrics = None if look is None else look.service.metrics
        sidecar_away = metrics is not None and any(not each.value for each in metrics.of("modbot_litestream_up"))
        behind = max((load.replica_lag or 0.0 for load in pod.shards), default=0.0)
        if behind > _REPLICA_LAG and not sidecar_away:
            yield REPLICA_BEHIND.found(f"The furthest is {behind:.0f} s behind.", subject=pod.pod_id)


def _stores(cluster: Cluster) -> Iterator[Finding]:
    stores: dict[str, set[str]] = defaultdict(set)
    for shard in cluster.shards:
        if shard.owner is not None:
            stores[shard.replica_store or ""].add(shard.owner)
    for pod_id in sorted(stores.pop("", ())):
        yield NO_STORE.found("The config service knows of no replica store of its shards.", subject=pod_id)
    if len(stores) > 1:
        told = "; ".join(f"{listed(sorted(pods))}: {store}" for store, pods in sorted(stores.items()))
        yield STORES_DIFFER.found(f"{told}.")


def _room(cluster: Cluster) -> Iterator[Finding]:
    rooms = [pod.capacity for pod in cluster.live() if not (pod.draining or pod.cordoned)]
    left = sum(rooms) - max(rooms, default=0)
    if rooms and left < len(cluster.shards):
        count = "1 pod" if len(rooms) == 1 else f"{len(rooms)} pods"
        yield TOO_LITTLE_ROOM.found(
            f"There are {len(cluster.shards)} shards; {count} can be given shards, and without the largest {left} have a place."
        )


def _moves(cluster: Cluster) -> Iterator[Finding]:
    plan = cluster.plan
    if plan.paused:
        yield MOVES_PAUSED.found(f"{len(plan.moves)} moves are due.")
    reasons: dict[str, list[str]] = defaultdict(list)
    for each in plan.held:
        reasons[each.reason].append(each.shard_id)
    for reason, names in reasons.items():
        yield MOVES_HELD.found(reason, subject=listed(names))
    if plan.imbalance > _UNEVEN and len(cluster.live()) > 1:
        yield UNEVEN.found(f"It has {plan.imbalance:.2f} times the mean. {plan.verdict}".strip())
