"""Facts: what the doctor has seen. None means that it has not looked there; nothing here is a judgement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from modbot.cluster import protocol


class Place(StrEnum):
    """Where the doctor looks from: the environment of a service, or an operator's desk."""

    HTTP = "http"
    CONFIG = "config"
    GATEWAY = "gateway"
    SINGLE = "single"
    DESK = "desk"


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables of a service: sentences about what is wrong with them, and the names of those that hold nothing of use."""

    problems: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    unexpanded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Volume:
    """A pod's folder. Sizes in bytes; `problem`: why it cannot be written to; `largest`: the largest shard file in it."""

    path: str
    problem: str = ""
    locked: bool = False
    size: int = 0
    free: int = 0
    largest: int = 0


@dataclass(frozen=True, slots=True)
class Programs:
    """What a pod needs besides itself. `sqlite`: why it will not do. `litestream`: its name, and the version that it tells (empty: not there)."""

    sqlite: str = ""
    litestream: str = "litestream"
    litestream_version: str = ""


@dataclass(frozen=True, slots=True)
class Store:
    """The replica store of the settings; no name: there is none. `problem`: why it cannot be listed or read."""

    name: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of Prometheus' text format."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float

    def label(self, name: str) -> str:
        """Return the value of a label, or nothing."""
        return dict(self.labels).get(name, "")


@dataclass(frozen=True, slots=True)
class Metrics:
    """What `/metrics` of a process said."""

    samples: tuple[Sample, ...] = ()

    def of(self, name: str) -> Iterator[Sample]:
        """Yield the samples with this name."""
        return (sample for sample in self.samples if sample.name == name)

    def total(self, name: str) -> float:
        """Return the sum of all samples with this name."""
        return sum(sample.value for sample in self.of(name))


@dataclass(frozen=True, slots=True)
class Service:
    """A process of modbot as seen over HTTP. `problem`: why it was not reached. `ready`: what `/ready` says when it is not."""

    url: str
    problem: str = ""
    unready: str = ""
    metrics: Metrics | None = None
    clock_ahead: float | None = None
    """By how many seconds the clock of this machine is ahead of the service's; it is known to a second."""


@dataclass(frozen=True, slots=True)
class ConfigService:
    """The config service: how it answers, and whether it takes our internal token."""

    service: Service
    token_refused: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the config service knows."""

    pods: tuple[protocol.PodHealth, ...]
    shards: tuple[protocol.ShardDetail, ...]
    plan: protocol.RebalancePlan

    def live(self) -> list[protocol.PodHealth]:
        """Return the pods that have a lease."""
        return [pod for pod in self.pods if pod.state is protocol.PodState.LIVE]

    def owned(self, pod_id: str) -> list[protocol.ShardDetail]:
        """Return the shards of a pod."""
        return [shard for shard in self.shards if shard.owner == pod_id]


@dataclass(frozen=True, slots=True)
class PodShard:
    """A shard as its owner sees it: whether its file is open, the last problem, why effects leave the pod (`lease`, `failsafe`, `no`)."""

    shard_id: str
    is_open: bool
    problem: str
    acting: str


@dataclass(frozen=True, slots=True)
class GatewayPod:
    """A gateway pod as it shows itself."""

    pod_id: str
    service: Service
    shards: tuple[PodShard, ...] = ()


@dataclass(frozen=True, slots=True)
class Application:
    """Our application as Discord has it."""

    application_id: int
    verify_key: str
    flags: int
    interactions_url: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What our settings say about the application; nothing where they say nothing. `public_url`: where Discord should find us."""

    application_id: int | None = None
    public_key: str = ""
    intents: int = 0
    public_url: str = ""


@dataclass(frozen=True, slots=True)
class Discord:
    """What Discord says. `problem`: why it was not reached. `remaining`: IDENTIFYs left of the day."""

    problem: str = ""
    token_refused: bool = False
    remaining: int | None = None
    application: Application | None = None
    expected: Expected = field(default_factory=Expected)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was seen. `unseen` says, for each thing that could not be looked at, why."""

    place: Place
    before_start: bool = False
    environment: Environment | None = None
    volumes: tuple[Volume, ...] = ()
    programs: Programs | None = None
    store: Store | None = None
    itself: Service | None = None
    config: ConfigService | None = None
    cluster: Cluster | None = None
    pods: tuple[GatewayPod, ...] = ()
    http: Service | None = None
    discord: Discord | None = None
    unseen: tuple[str, ...] = ()
