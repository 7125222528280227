"""Who can reach whom, computed from the network policies as Kubernetes does: both sides must allow it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from deployment import rendering
from deployment.rendering import Object


@dataclass(frozen=True, slots=True)
class Place:
    """A pod of ours (`ours`), a pod of another namespace, or an address outside."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    namespace: str = "ours"
    address: str | None = None


OUTSIDE = (
    Place("ingress controller", {"app.kubernetes.io/name": "ingress-nginx"}, "ingress-nginx"),
    Place("prometheus", {"app": "prometheus"}, "monitoring"),
    Place("dns", {"k8s-app": "kube-dns"}, "kube-system"),
    Place("a stranger's pod", {"app": "mod-bot", "component": "http"}, "elsewhere"),
    Place("internet", address="162.159.128.233"),
    Place("internet by IPv6", address="2606:4700::6810:1"),
    Place("Kubernetes API", address="10.245.0.1"),
    Place("cloud metadata", address="169.254.169.254"),
)
PORTS = (53, 80, 443, 3000, 3001, 5432, 6443)
Edge = tuple[str, str, int]


def edges(objects: list[Object]) -> set[Edge]:
    """Return every (from, to, TCP port) that is possible."""
    policies = [each["spec"] for each in rendering.of_kind(objects, "NetworkPolicy").values()]
    ours = [Place(each.name, each.labels) for each in rendering.workloads(objects)]
    found = set()
    for source in (*ours, *OUTSIDE):
        for target in (*ours, *OUTSIDE):
            if source in ours or target in ours:
                found |= {
                    (source.name, target.name, port) for port in PORTS if _possible(policies, source, target, port)
                }
    return found


def _possible(policies: list[Object], source: Place, target: Place, port: int) -> bool:
    return _allowed(policies, source, target, port, "Egress") and _allowed(policies, target, source, port, "Ingress")


def _allowed(policies: list[Object], subject: Place, peer: Place, port: int, direction: str) -> bool:
    if subject.address is not None or subject.namespace != "ours":
        return True
    applying = [
        each for each in policies if direction in each["policyTypes"] and _matches(each["podSelector"], subject.labels)
    ]
    side = "to" if direction == "Egress" else "from"
    rules = [rule for each in applying for rule in each.get(direction.lower()) or []]
    return not applying or any(_covers(rule, side, peer, port) for rule in rules)


def _covers(rule: Object, side: str, peer: Place, port: int) -> bool:
    ports = rule.get("ports")
    if ports and port not in {each["port"] for each in ports if each.get("protocol", "TCP") == "TCP"}:
        return False
    return side not in rule or any(_is(each, peer) for each in rule[side])


def _is(selector: Object, peer: Place) -> bool:
    if "ipBlock" in selector:
        if peer.address is None:
            return False
        address = ipaddress.ip_address(peer.address)
        blocks = [selector["ipBlock"]["cidr"], *selector["ipBlock"].get("except", [])]
        inside = [address in network for network in map(ipaddress.ip_network, blocks)]
        return inside[0] and not any(inside[1:])
    if peer.address is not None:
        return False
    if "namespaceSelector" in selector:
        names = {"kubernetes.io/metadata.name": peer.namespace}
        if not _matches(selector["namespaceSelector"], names):
            return False
    elif peer.namespace != "ours":
        return False
    return _matches(selector.get("podSelector", {}), peer.labels)


def _matches(selector: Object, labels: dict[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items() and all(_expressions(selector, labels))


def _expressions(selector: Object, labels: dict[str, str]) -> Iterator[bool]:
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "In"
        yield labels.get(each["key"]) in each["values"]
