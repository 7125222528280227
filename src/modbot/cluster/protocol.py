"""The words that pods and the config service say to each other: one type per request and response, JSON on the wire.

These types are the contract. The config service validates every body against them (unknown fields and wrong types are a 400
problem that changes nothing), members decode with the same types. Every call but `/health` carries the internal token as a
bearer token. Times are durations in seconds, so that no two clocks are ever compared.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from modbot.domain.ids import (
    NO_CLUSTER,
    ClusterId,
    Epoch,
    Incarnation,
    InteractionId,
    MoveId,
    PodId,
    ShardId,
    TransferId,
)
from modbot.domain.rebalancing import Cause

Count = Annotated[int, msgspec.Meta(ge=0)]
Rate = Annotated[float, msgspec.Meta(ge=0)]
Label = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of everything on the wire."""


class PodState(StrEnum):
    """`live`: lease valid. `lost`: lease ran out. `left`: said goodbye."""

    LIVE = "live"
    LOST = "lost"
    LEFT = "left"


class Pod(Message, frozen=True, kw_only=True):
    """A gateway pod as members see it. `address` is the base URL of its internal API; a `draining` pod gives its shards away."""

    pod_id: PodId
    incarnation: Incarnation
    address: str
    state: PodState
    draining: bool = False


class Shard(Message, frozen=True, kw_only=True):
    """Who owns a shard. `epoch` grows by one at every grant and is 0 before the first; no owner means nobody serves it now.

    In a grant, `served` says that an owner has reported on the shard before: its file or a replica is expected, and the new owner
    never starts empty (I8). In the watch stream it says that the present owner has opened the shard under this epoch.

    `since_epoch` is the first epoch of the owner's unbroken ownership: a file that its volume holds counts only if it was written
    under that epoch or a later one, or if it came by the handoff `since_move` that this ownership began with.

    In a grant, `replicated_seq` is the highest number that the last report knew to be in the shard's replica, and `born_epoch` the
    epoch with which the shard began its present life: a dedicated shard may have had an earlier one, whose replicas are not its past.
    `contested`, in a grant: another pod lost it, may still be acting in failsafe mode, and nobody has opened it since.

    While a handoff is under way, `target` and `target_incarnation` say to whom, and `move_id` names it.
    """

    shard_id: ShardId
    epoch: Epoch
    owner: PodId | None = None
    incarnation: Incarnation | None = None
    served: bool = False
    since_epoch: Epoch = Epoch(0)
    since_move: MoveId = MoveId(0)
    replicated_seq: int = 0
    born_epoch: Epoch = Epoch(0)
    target: PodId | None = None
    target_incarnation: Incarnation | None = None
    move_id: MoveId = MoveId(0)
    contested: bool = False


class Dedicated(Message, frozen=True, kw_only=True):
    """A guild with a shard of its own; without `shard_id` (in a `Change` only) it is back on the shard of the formula."""

    guild_id: str
    shard_id: ShardId | None


class TransferState(StrEnum):
    """`moving`: both sides prepare. `moved`: the guild is the target's. `finished`: the target has its rows durably.

    `cleared`: the source has removed them, all is over. `cancelled`: given up, the guild is where it was.
    """

    MOVING = "moving"
    MOVED = "moved"
    FINISHED = "finished"
    CLEARED = "cleared"
    CANCELLED = "cancelled"


class Transfer(Message, frozen=True, kw_only=True):
    """A guild on its way from one shard to another."""

    transfer_id: TransferId
    guild_id: str
    source: ShardId
    target: ShardId
    state: TransferState
    detail: str = ""


class Table(Message, frozen=True, kw_only=True, tag="table"):
    """First line of the watch stream: everything.

    `stale`: PostgreSQL does not answer, and this is what was known last. It is of use to those who know nothing yet.
    """

    shard_count: int
    pods: list[Pod]
    shards: list[Shard]
    stale: bool = False
    dedicated: list[Dedicated] = []
    transfers: list[Transfer] = []


class Change(Message, frozen=True, kw_only=True, tag="change"):
    """A later line: the pods and shards that are different now."""

    pods: list[Pod] = []
    shards: list[Shard] = []
    dedicated: list[Dedicated] = []
    transfers: list[Transfer] | None = None
    """Those under way, when they are not the same as before."""


class InboxNotice(Message, frozen=True, kw_only=True, tag="inbox"):
    """A later line: deferred interactions of this shard wait in the inbox.

    Notices are not repeated for a stream that begins anew: after every `Table`, and after a grant, the owner reads its inboxes itself.
    """

    shard_id: ShardId


class Tick(Message, frozen=True, kw_only=True, tag="tick"):
    """A later line, at least every 2 s: the stream is alive."""


WatchLine = Table | Change | InboxNotice | Tick


class ShardLoad(Message, frozen=True, kw_only=True):
    """What the owner measures about one shard."""

    shard_id: ShardId
    epoch: Epoch
    guilds: Count = 0
    events_per_second: Rate = 0.0
    lag_seconds: Rate = 0.0
    connected: bool = False
    rows: Count = 0
    file_bytes: Count = 0
    replica_lag: Rate | None = None
    """Seconds of commits that the replica does not hold yet; None without a replica store."""
    replicated_seq: Count = 0
    """The highest seq that the replica is known to hold."""


class RegisterRequest(Message, frozen=True, kw_only=True):
    """A new incarnation introduces itself.

    `owns_volume`: it holds the file lock of its data folder, so no other process of this pod can be writing; the shards of the
    pod's previous incarnation are its own again at once. `replica_store` names the store that it can restore shards from;
    without one it is never given a shard that another pod has served. `labels` (zone, track, ...) steer placement. `failsafe`: it may
    go on after its lease while all members agree that nobody reaches the config service (`cluster/failsafe.py`).
    """

    incarnation: Incarnation
    address: str
    capacity: Annotated[int, msgspec.Meta(ge=1)]
    egress: str = "default"
    owns_volume: bool = False
    replica_store: str | None = None
    labels: dict[Label, Label] = {}
    failsafe: bool = False


class RenewRequest(Message, frozen=True, kw_only=True):
    """The pod is alive.

    `rest_demand`: requests per second it would like. `rest_held`: the share it is using while this request is under way, so that
    the others are given nothing of it even when the answer to an earlier renewal was lost. `invalid_requests`: 401/403/429 since the
    last renewal. `draining`: it wants to stop, so its shards are to be handed to others and it receives none. `answer`: the number of
    the last grant that it has received.
    """

    incarnation: Incarnation
    shards: list[ShardLoad] = []
    rest_demand: Rate = 0.0
    rest_held: Rate = 0.0
    invalid_requests: Count = 0
    draining: bool = False
    answer: Count = 0


class Grant(Message, frozen=True, kw_only=True):
    """The lease of a pod, counted from before the request was sent.

    It owns exactly `shards`, may send `rest_per_second` requests, and none at all while `rest_open` is false (the breaker of its
    egress address is open). `incoming` are shards of others that it is to fetch by a handoff. `number` grows with every answer that the
    service gives; `members` are the pods that may be acting, this one included (null: not told, so nobody can be asked). `cluster` names the
    database that grants, so that a pod knows whether the replica store is its own (`ops/claims.py`).
    """

    lease_seconds: float
    shards: list[Shard]
    incoming: list[Shard] = []
    shard_count: int
    rest_per_second: float
    rest_open: bool
    number: Count = 0
    members: list[Pod] | None = None
    cluster: ClusterId = NO_CLUSTER


class LeaveRequest(Message, frozen=True, kw_only=True):
    """The pod stops. Its shards stay its own (`keep`) so that it finds them again, or become free for others."""

    incarnation: Incarnation
    keep: bool


class FailsafeRequest(Message, frozen=True, kw_only=True):
    """A pod asks a peer: may I go on acting for `seconds` after my lease? (`cluster/failsafe.py`).

    `peer`: the incarnation that is meant. `silent_for`: seconds since the pod sent its last successful renewal.
    """

    pod_id: PodId
    incarnation: Incarnation
    peer: Incarnation
    silent_for: Rate
    seconds: Rate


class FailsafeAnswer(Message, frozen=True, kw_only=True):
    """`confirmed`: the peer has heard nothing from the config service for `silence` seconds, and promises to open nothing for `seconds`."""

    confirmed: bool
    silence: float = 0.0
    reason: str = ""


class MoveRequest(Message, frozen=True, kw_only=True):
    """Hand a shard to another pod. `reason` is shown to people."""

    target: PodId
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = "asked for by an operator"


class MoveAnswer(Message, frozen=True, kw_only=True):
    """The handoff that was begun."""

    move_id: MoveId
    shard_id: ShardId
    source: PodId
    target: PodId


class HandoffRequest(Message, frozen=True, kw_only=True):
    """One side of the handoff `move_id` speaks: which incarnation, and the epoch under which the source serves."""

    pod_id: PodId
    incarnation: Incarnation
    epoch: Epoch
    move_id: MoveId
    detail: Annotated[str, msgspec.Meta(max_length=500)] = ""


class MoveState(StrEnum):
    """`moving`: under way. `done`: the target owns the shard. `cancelled`: the source kept it, or lost it in another way."""

    MOVING = "moving"
    DONE = "done"
    CANCELLED = "cancelled"


class MoveDetail(Message, frozen=True, kw_only=True):
    """One handoff, under way or over; `seconds` from its beginning to its end or until now."""

    move_id: MoveId
    shard_id: ShardId
    source: PodId
    target: PodId
    reason: str
    cause: Cause
    state: MoveState
    seconds: float
    detail: str = ""


class MoveList(Message, frozen=True, kw_only=True):
    """The handoffs under way and the latest that are over, newest first."""

    moves: list[MoveDetail]


class PlannedMove(Message, frozen=True, kw_only=True):
    """A handoff that is due. `now`: it would begin at once; the others wait for their turn."""

    shard_id: ShardId
    source: PodId
    target: PodId
    cause: Cause
    reason: str
    now: bool


class HeldShard(Message, frozen=True, kw_only=True):
    """A shard that should move and cannot."""

    shard_id: ShardId
    reason: str


class RebalancePlan(Message, frozen=True, kw_only=True):
    """What should move, in order, and what is to be said about the balance.

    `imbalance`: the load of the most loaded pod over the mean, now and after all moves. `waits`: why nothing begins, or empty.
    `asked`: people asked for a round, so smaller differences count as well.
    """

    moves: list[PlannedMove]
    held: list[HeldShard]
    verdict: str
    waits: str
    imbalance: float
    imbalance_after: float
    paused: bool
    asked: bool


class DrainRequest(Message, frozen=True, kw_only=True):
    """Drain a pod until it is undone, or (`on` false) undo it."""

    on: bool


class PinRequest(Message, frozen=True, kw_only=True):
    """Where people want a shard: a pod's name, a label of pods such as `zone=a`, or null for anywhere."""

    pin: Annotated[str, msgspec.Meta(min_length=1, max_length=130)] | None


class ClusterDetail(Message, frozen=True, kw_only=True):
    """What was decided for the whole cluster."""

    shard_count: int
    moves_paused: bool
    rebalance_asked: bool


class SessionLimits(Message, frozen=True, kw_only=True):
    """What Discord says about IDENTIFYs (`GET /gateway/bot`); `reset_after` in seconds."""

    max_concurrency: Annotated[int, msgspec.Meta(ge=1)]
    remaining: Count
    reset_after: Rate


class IdentifyRequest(Message, frozen=True, kw_only=True):
    """May this shard IDENTIFY now? The numbers come from Discord's `GET /gateway/bot`."""

    pod_id: PodId
    incarnation: Incarnation
    shard_id: ShardId
    epoch: Epoch
    limits: SessionLimits | None = None
    recovery: bool = False


class IdentifyAnswer(Message, frozen=True, kw_only=True):
    """Granted, or ask again after `retry_after` seconds, and why. `remaining`: what is left of the day's budget, where it is known."""

    granted: bool
    retry_after: float = 0.0
    remaining: int | None = None
    reason: Literal["", "concurrency", "daily_reserve", "not_owner", "limits_unknown", "limits_awaited"] = ""


class KnownShard(Message, frozen=True, kw_only=True):
    """What a database knows of a shard: the last epoch that it has granted. `retired`: a dedicated shard that was given up."""

    shard_id: ShardId
    epoch: Epoch
    retired: bool


class AdoptionState(Message, frozen=True, kw_only=True):
    """What a database knows, to be compared with a replica store: which it is, its shards, and the pods that have a valid lease."""

    cluster: ClusterId
    shard_count: int
    shards: list[KnownShard]
    leased: list[PodId]


class AdoptedShard(Message, frozen=True, kw_only=True):
    """A shard that is in the store: it goes on from `epoch`, if the database is still at `known_epoch`.

    `retired`: a dedicated shard that was given up; only its epochs go on. A dedicated shard that was not is its guild's home.
    """

    shard_id: ShardId
    known_epoch: Epoch
    epoch: Epoch
    retired: bool = False


class SettledTransfer(Message, frozen=True, kw_only=True):
    """What became of a transfer that the shard files are in the middle of; `transfer_id` 0 lets the database choose."""

    transfer_id: TransferId
    guild_id: str
    source: ShardId
    target: ShardId
    state: Literal["finished", "cancelled"]


class AdoptRequest(Message, frozen=True, kw_only=True):
    """Take over what a replica store knows. `replica_store` is its name, as pods give it when they register."""

    replica_store: Annotated[str, msgspec.Meta(min_length=1)]
    shards: Annotated[list[AdoptedShard], msgspec.Meta(max_length=100_000)]
    transfers: list[SettledTransfer] = []


class InboxEntry(Message, frozen=True, kw_only=True):
    """An interaction on its way to its shard. `payload` is Discord's JSON text; it holds a token and expires after 14 min."""

    interaction_id: InteractionId
    shard_id: ShardId
    payload: str
    deferred: bool = False


class AppendRequest(Message, frozen=True, kw_only=True):
    """Append interactions to the inbox; an id that is there already is left as it is."""

    entries: Annotated[list[InboxEntry], msgspec.Meta(min_length=1, max_length=500)]


class DeferredRequest(Message, frozen=True, kw_only=True):
    """Discord has been given the deferral for these; the owner must complete them by follow-up."""

    entries: Annotated[list[InboxEntry], msgspec.Meta(min_length=1, max_length=500)]


class InboxPage(Message, frozen=True, kw_only=True):
    """Some entries of one shard that nobody acknowledged yet, oldest first; the next page begins after position `last`."""

    entries: list[InboxEntry]
    last: Count = 0


class AcknowledgeRequest(Message, frozen=True, kw_only=True):
    """The shard file holds these durably; forget them.

    `interaction_ids` were applied on the direct way: one that Discord was given the deferral of meanwhile stays, because its follow-up
    is due. Those in `completed` were applied as deferred ones.
    """

    pod_id: PodId
    incarnation: Incarnation
    epoch: Epoch
    interaction_ids: Annotated[list[InteractionId], msgspec.Meta(max_length=5000)]
    completed: Annotated[list[InteractionId], msgspec.Meta(max_length=5000)] = []


class AnonymityKey(Message, frozen=True, kw_only=True):
    """The key of a day (UTC, `2026-11-23`) under which anonymous people get their number: 64 hexadecimal digits, a secret."""

    day: str
    key: str
    seconds_left: float

    def __repr__(self) -> str:
        return f"AnonymityKey(day={self.day!r}, key=***)"


class ReassignRequest(Message, frozen=True, kw_only=True):
    """Give a guild a shard of its own, on a named pod or on one with a label such as `zone=a`."""

    guild_id: str
    pod: PodId | None = None
    label: Annotated[str, msgspec.Meta(pattern=r"^[^=]+=[^=]+$")] | None = None


class TransferStep(Message, frozen=True, kw_only=True):
    """One side of a transfer speaks: the owner of which shard, under which epoch, and what is reached."""

    pod_id: PodId
    incarnation: Incarnation
    epoch: Epoch
    state: TransferState
    detail: Annotated[str, msgspec.Meta(max_length=500)] = ""


class TransferList(Message, frozen=True, kw_only=True):
    """The latest transfers, newest first."""

    transfers: list[Transfer]


class Assignment(Message, frozen=True, kw_only=True):
    """Where a guild lives: guild -> shard -> pod. `pod_id` and `address` are null while nobody serves it."""

    guild_id: str
    shard_id: ShardId
    epoch: Epoch
    pod_id: PodId | None
    address: str | None


class GuildAssignments(Message, frozen=True, kw_only=True):
    """Where every guild lives: `formula` says how to find the shard of a guild, `shards` who owns it. `guilds`: those that were asked for."""

    shard_count: int
    formula: str
    shards: list[ShardAssignment]
    guilds: list[Assignment] = []


class ShardAssignment(Message, frozen=True, kw_only=True):
    """Where a shard lives. `pod_id` and `address` are null while nobody serves it."""

    shard_id: ShardId
    epoch: Epoch
    pod_id: PodId | None
    address: str | None


class ShardDetail(Message, frozen=True, kw_only=True):
    """One row of `GET /shards`. `waiting` says why nobody owns it; `last_owner` has its file and `replica_store` its replica."""

    shard_id: ShardId
    epoch: Epoch
    owner: PodId | None
    last_owner: PodId | None
    replica_store: str | None
    waiting: str = ""
    target: PodId | None = None
    pin: str | None = None
    weight: float = 0.0


class ShardList(Message, frozen=True, kw_only=True):
    """Every shard, for people."""

    shards: list[ShardDetail]


class PodHealth(Message, frozen=True, kw_only=True):
    """One row of `GET /pods/health`. `lease_seconds` is what remains (negative: ran out that long ago).

    A `draining` pod is about to stop; a `cordoned` one was drained by an operator. Both lose their shards and receive none.
    """

    pod_id: PodId
    incarnation: Incarnation
    address: str
    state: PodState
    lease_seconds: float
    capacity: int
    shards: list[ShardLoad]
    labels: dict[str, str] = {}
    draining: bool = False
    cordoned: bool = False


class PodList(Message, frozen=True, kw_only=True):
    """Every pod that was ever seen, with its lease."""

    pods: list[PodHealth]


class Ready(Message, frozen=True, kw_only=True):
    """The answer of `/health` and `/ready` when all is well."""

    status: str = "ok"


class Problem(Message, frozen=True, kw_only=True):
    """RFC 9457 problem body of every 4xx and 5xx answer."""

    title: str
    status: int
    detail: str
    code: str
    hint: str
    retry: bool
    type: str = "about:blank"
