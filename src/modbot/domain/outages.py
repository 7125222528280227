"""When silence says something: the pure part of what the config service concludes from not hearing a pod.

A pod that does not renew is lost, or the config service is. From one pod's silence alone the two cannot be told apart, so three things
make a sweep doubt itself: no sweep has run for a while (PostgreSQL or all config pods were away), PostgreSQL is another server or its
clock went back (a restart or a failover: what was written by another clock cannot be compared), or no living pod at all was heard. In
each case nobody may be ended until every pod has had the time of one whole lease to be heard again.
"""

from __future__ import annotations

from dataclasses import dataclass

SLACK = 0.5
"""Seconds for what is not a lease: the interval of sweeps, a slow answer."""
FAILSAFE_LIMIT = 900.0
"""Seconds after the end of its lease for which a pod can go on in failsafe mode at most."""
FAILSAFE_MARGIN = 5.0
"""So many seconds earlier a pod stops, in case its clock runs a little slower than the database's."""


_FORGIVEN = "After an outage every pod has one lease to be heard again."


@dataclass(frozen=True, slots=True)
class Sight:
    """What a sweep sees, in seconds by the database's clock.

    `since_last`: since the last sweep that could conclude something (None: there was none). `same_server`: it ran on the same start of
    the same PostgreSQL. `ttl`: the longest lease (0: there never was a pod). `silent_for`: since any living pod was heard (None: none lives).
    `resumed_for`: since the last outage ended (None: there was none).
    """

    since_last: float | None
    same_server: bool
    ttl: float
    silent_for: float | None
    resumed_for: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """`resting`: why this sweep ends nobody and places nothing (empty: it may). `resumes`: an outage ends with this sweep.

    `counts`: the sweep can be remembered as one that would have noticed.
    """

    resting: str = ""
    resumes: bool = False
    counts: bool = True


def bound(ttl: float) -> float:
    """Return how many seconds without a sweep, or without any pod, are an outage.

    A pod renews every quarter of its lease, so after a pause of a third it still has time to try again.
    """
    return ttl / 3 + SLACK


def decide_finding(sight: Sight) -> Finding:
    """Say whether a sweep may conclude from silence that a pod is lost."""
    if sight.silent_for is not None and sight.silent_for > bound(sight.ttl):
        return Finding("No pod is heard.", counts=False)
    if _interrupted(sight):
        return Finding(_FORGIVEN, resumes=True)
    if sight.resumed_for is not None and sight.resumed_for <= sight.ttl + SLACK:
        return Finding(_FORGIVEN)
    return Finding()


def _interrupted(sight: Sight) -> bool:
    if sight.since_last is None or sight.ttl == 0:
        return False  # nobody can have been wronged
    return not sight.same_server or not 0 <= sight.since_last <= bound(sight.ttl)
