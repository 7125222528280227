"""Pins: where people want a shard, a pod's name (`gateway-2`) or a label of pods (`zone=a`).

A pin is obeyed among the pods that could take the shard. Where none of those matches, the pin is put aside, so that a shard is never
without an owner because of a wish; as soon as one matches again, the rebalancer moves it there. A pod that matches but is full is
waited for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from modbot.domain.errors import InvalidInputError
from modbot.domain.ids import PodId, parse_pod_id

LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
"""What the key or the value of a label may be: as in Kubernetes, without a prefix."""


class Place(Protocol):
    """What a pin looks at."""

    @property
    def pod_id(self) -> PodId:
        """The pod's name."""

    @property
    def labels(self) -> Mapping[str, str]:
        """The pod's labels."""


_P = TypeVar("_P", bound=Place)


def parse_pin(text: str) -> str:
    """Accept a pod's name or `key=value`; `InvalidInputError` otherwise."""
    key, separator, value = text.partition("=")
    if not separator:
        return parse_pod_id(text)
    if LABEL.fullmatch(key) is None or LABEL.fullmatch(value) is None:
        raise InvalidInputError(f"{text!r} is not a pin: use a pod's name or a label such as zone=a.")
    return text


def parse_labels(text: str) -> dict[str, str]:
    """Read `zone=a,track=canary`; nothing is no labels, `InvalidInputError` for anything else."""
    labels: dict[str, str] = {}
    for part in text.split(",") if text.strip() else []:
        key, separator, value = part.strip().partition("=")
        if not separator or LABEL.fullmatch(key) is None or LABEL.fullmatch(value) is None:
            raise InvalidInputError(f"{part.strip()!r} is not a label: write zone=a,track=canary.")
        if key in labels:
            raise InvalidInputError(f"The label {key!r} is there twice.")
        labels[key] = value
    return labels


def matches(pin: str, pod: Place) -> bool:
    """Say whether a pod is where the pin points."""
    key, separator, value = pin.partition("=")
    return pod.labels.get(key) == value if separator else pod.pod_id == pin


def choices(pin: str | None, able: Sequence[_P]) -> Sequence[_P]:
    """Return those of the pods that a shard may go to: the ones that its pin names, or all when it names none of them."""
    return ([pod for pod in able if matches(pin, pod)] or able) if pin is not None else able
