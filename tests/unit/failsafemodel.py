"""A model of several pods, their peers and the config service, with a scheduler that is out for trouble.

The pods' decisions are the real `Failsafe`; the service is a small copy of the rules that PostgreSQL keeps (`test_config_outages.py` tests those
themselves). Every message can be late, overtaken or lost, every pod can be cut off, die and come back, and new pods can appear. What is
checked after each step: no two processes may act for one shard. `Flaws` takes single rules away.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from modbot.cluster import failsafe, protocol
from modbot.cluster.failsafe import Failsafe, Round
from modbot.domain.ids import Epoch, Incarnation, PodId, ShardId

TTL = 6.0
LIMIT = 40.0
SHARDS = [ShardId(f"{number}-of-2") for number in range(2)]


class TwoActError(Exception):
    """The thing that must never happen."""


@dataclass(frozen=True)
class Flaws:
    """Rules that are missing."""

    no_promise: bool = False
    no_check_of_answers: bool = False
    partial_confirmations: bool = False
    no_first_lease: bool = False
    nobody_barred: bool = False
    answers_count_unacknowledged: bool = False
    witness_without_a_lease: bool = False
    losses_forgotten: bool = False
    reclaim_uncontested: bool = False


@dataclass
class PodRow:
    incarnation: Incarnation
    live: bool
    lease_until: float
    joined: int
    acked: int
    answered: int


@dataclass
class ShardRow:
    owner: PodId | None = None
    incarnation: Incarnation | None = None
    last_owner: PodId | None = None
    epoch: int = 0
    since: int = 0
    opened: int = 0


@dataclass
class Loss:
    epoch: int
    pod_id: PodId | None
    lease_until: float
    number: int
    knew: int
    witnessed_at: float | None = None


class Service:
    """The config service with its database, by true time."""

    def __init__(self, flaws: Flaws) -> None:
        self.flaws = flaws
        self.number = 0
        self.pods: dict[PodId, PodRow] = {}
        self.shards = {shard_id: ShardRow() for shard_id in SHARDS}
        self.losses: dict[ShardId, Loss] = {}
        self.full: set[PodId] = set()

    def register(self, pod_id: PodId, incarnation: Incarnation, now: float) -> protocol.Grant:
        self.number += 1
        self.pods[pod_id] = PodRow(incarnation, True, now + TTL, self.number, self.number, self.number)
        for row in self.shards.values():
            if row.owner == pod_id or (row.owner is None and row.last_owner == pod_id):
                row.owner, row.incarnation, row.epoch = pod_id, incarnation, row.epoch + 1
        return self.grant(pod_id, now)

    def renew(
        self, pod_id: PodId, incarnation: Incarnation, acked: int, opened: dict[ShardId, int], now: float
    ) -> protocol.Grant | None:
        row = self.pods[pod_id]
        if row.incarnation != incarnation or not row.live:
            return None
        row.lease_until = now + TTL
        row.acked = max(row.acked, acked)
        for shard_id, epoch in opened.items():
            shard = self.shards[shard_id]
            if shard.incarnation == incarnation and shard.epoch == epoch:
                shard.opened = epoch
        self.number += 1
        row.answered = self.number
        return self.grant(pod_id, now)

    def grant(self, pod_id: PodId, now: float) -> protocol.Grant:
        row = self.pods[pod_id]
        return protocol.Grant(
            lease_seconds=TTL,
            shard_count=len(SHARDS),
            rest_per_second=1,
            rest_open=True,
            number=self.number,
            members=[
                protocol.Pod(pod_id=name, incarnation=each.incarnation, address="", state=protocol.PodState.LIVE)
                for name, each in self.pods.items()
                if each.live
            ],
            shards=[
                protocol.Shard(shard_id=name, epoch=Epoch(shard.epoch), contested=self._contested(name, pod_id, now))
                for name, shard in self.shards.items()
                if shard.incarnation == row.incarnation
            ],
        )

    def sweep(self, now: float, chance: random.Random) -> None:
        for pod_id, row in self.pods.items():
            if row.live and row.lease_until <= now:
                row.live = False
                for shard_id, shard in self.shards.items():
                    if shard.incarnation == row.incarnation:
                        shard.owner = shard.incarnation = None
                        self._note_loss(shard_id, shard, pod_id, row, now)
        for loss in self.losses.values():
            witnesses = (row for row in self.pods.values() if row.joined < loss.knew and row.acked > loss.number)
            if loss.witnessed_at is None and any(witnesses):
                loss.witnessed_at = now
        for shard_id, shard in self.shards.items():
            able = [
                name
                for name, row in self.pods.items()
                if row.live
                and row.lease_until > now
                and name not in self.full
                and not self._barred(shard_id, name, now)
            ]
            if shard.owner is None and able:
                shard.owner = chance.choice(able)
                shard.incarnation = self.pods[shard.owner].incarnation
                shard.epoch += 1
                shard.since = shard.since if shard.last_owner == shard.owner else shard.epoch
                shard.last_owner = shard.owner

    def _note_loss(self, shard_id: ShardId, shard: ShardRow, pod_id: PodId, row: PodRow, now: float) -> None:
        self.number += 1
        knew = row.answered if self.flaws.answers_count_unacknowledged else row.acked
        new = Loss(shard.epoch, pod_id, row.lease_until, self.number, knew)
        old = self.losses.get(shard_id)
        if old is not None and shard.opened <= old.epoch and not self.flaws.losses_forgotten:
            new.pod_id = pod_id if old.pod_id == pod_id else None
            new.lease_until = max(new.lease_until, old.lease_until)
            new.knew = min(new.knew, old.knew)
        self.losses[shard_id] = new

    def _open_loss(self, shard_id: ShardId, now: float) -> Loss | None:
        loss = self.losses.get(shard_id)
        if loss is None or self.shards[shard_id].opened > loss.epoch or loss.lease_until + LIMIT <= now:
            return None
        return loss

    def _barred(self, shard_id: ShardId, pod_id: PodId, now: float) -> bool:
        loss = self._open_loss(shard_id, now)
        if loss is None or self.flaws.nobody_barred or loss.pod_id == pod_id:
            return False
        wait = 0.0 if self.flaws.witness_without_a_lease else TTL + 0.5
        over = loss.witnessed_at is not None and loss.witnessed_at + wait <= now
        return self.pods[pod_id].joined >= loss.knew and not over

    def _contested(self, shard_id: ShardId, pod_id: PodId, now: float) -> bool:
        loss, shard = self._open_loss(shard_id, now), self.shards[shard_id]
        if self.flaws.reclaim_uncontested and shard.since < shard.epoch:
            return False
        return loss is not None and loss.pod_id != pod_id


class Process:
    """One incarnation of a pod, with a monotonic clock of its own."""

    def __init__(self, world: World, pod_id: PodId) -> None:
        self.world = world
        self.pod_id = pod_id
        self.incarnation = Incarnation(f"{pod_id}/{world.next_name()}")
        self.offset = world.chance.uniform(0, 1e4)
        self.failsafe = Failsafe(pod_id, self.incarnation, now=self.now)
        if world.flaws.no_first_lease:
            self.failsafe._started_at = float("-inf")
        self.until = float("-inf")
        self.granted: dict[ShardId, protocol.Shard] = {}
        self.open: dict[ShardId, int] = {}
        self.number = 0
        self.alive = True
        self.registered = False
        self.asking = False
        self.reaches_service = True

    def now(self) -> float:
        return self.world.time + self.offset

    def acts_for(self, shard_id: ShardId) -> bool:
        return self.alive and shard_id in self.open and self.now() < max(self.until, self.failsafe.until)

    def renew(self) -> None:
        if self.asking or not self.alive:
            return
        self.asking = True
        sent_at, world = self.now(), self.world
        if not self.reaches_service:
            self.asking = False
        elif self.registered:
            world.send(lambda: self._at_service(sent_at), lost=self._not_answered)
        else:
            world.send(lambda: self._register(sent_at), lost=self._not_answered)

    def _register(self, sent_at: float) -> None:
        if self.alive:
            grant = self.world.service.register(self.pod_id, self.incarnation, self.world.time)
            self.world.send(lambda: self._take(sent_at, grant), lost=self._not_answered)

    def _at_service(self, sent_at: float) -> None:
        if not self.alive:
            return
        opened = dict(self.open)
        grant = self.world.service.renew(self.pod_id, self.incarnation, self.number, opened, self.world.time)
        self.world.send(lambda: self._take(sent_at, grant), lost=self._not_answered)

    def _not_answered(self) -> None:
        self.asking = False

    def _take(self, sent_at: float, grant: protocol.Grant | None) -> None:
        self.asking = False
        if not self.alive:
            return
        if grant is None:
            self.stop()
            return
        self.registered = True
        self.number = grant.number
        self.until = sent_at + grant.lease_seconds
        self.failsafe.renewed(sent_at, grant)
        self.granted = {shard.shard_id: shard for shard in grant.shards}
        self.open = {name: epoch for name, epoch in self.open.items() if self._still(name, epoch)}

    def _still(self, shard_id: ShardId, epoch: int) -> bool:
        return shard_id in self.granted and self.granted[shard_id].epoch == epoch

    def open_what_may_be(self) -> None:
        for shard_id, shard in self.granted.items():
            if self.alive and shard_id not in self.open and self.failsafe.opens_in(shard) <= 0:
                self.open[shard_id] = shard.epoch

    def ask_peers(self) -> None:
        begun = self.failsafe.begin() if self.alive else None
        if begun is None:
            return
        answers: dict[Incarnation, protocol.FailsafeAnswer] = {}
        if not begun.standing.peers:
            self._conclude(begun, answers)
        for peer in begun.standing.peers:
            self._ask(begun, peer, answers)

    def _ask(self, begun: Round, peer: protocol.Pod, answers: dict[Incarnation, protocol.FailsafeAnswer]) -> None:
        world = self.world

        def take(answer: protocol.FailsafeAnswer) -> None:
            answers[peer.incarnation] = answer
            if len(answers) == len(begun.standing.peers):
                self._conclude(begun, answers)

        def at_peer() -> None:
            found = world.processes[peer.pod_id]
            if not found.alive:
                no_answer()
                return
            answer = found.failsafe.answer(begun.questions[peer.incarnation])
            if world.flaws.no_promise:
                found.failsafe._promised_until = float("-inf")
            world.send(lambda: take(answer), lost=no_answer)

        def no_answer() -> None:
            take(protocol.FailsafeAnswer(confirmed=False, reason="no answer"))

        world.send(at_peer, lost=no_answer)

    def _conclude(self, begun: Round, answers: dict[Incarnation, protocol.FailsafeAnswer]) -> None:
        if not self.alive:
            return
        flaws = self.world.flaws
        if flaws.partial_confirmations:
            sure = protocol.FailsafeAnswer(confirmed=True, silence=1e9)
            answers = {key: answer if answer.confirmed else sure for key, answer in answers.items()}
        if flaws.no_check_of_answers:
            answers = {key: _exaggerated(answer) for key, answer in answers.items()}
        if self.failsafe.conclude(begun, answers):
            self.world.extended += 1

    def stop(self) -> None:
        self.alive = False
        self.failsafe.end()


def _exaggerated(answer: protocol.FailsafeAnswer) -> protocol.FailsafeAnswer:
    return protocol.FailsafeAnswer(confirmed=answer.confirmed, silence=1e9, reason=answer.reason)


@dataclass
class Message:
    deliver: Callable[[], None]
    lost: Callable[[], None]


@dataclass
class World:
    """Everything; `step()` lets something happen."""

    seed: int
    flaws: Flaws = field(default_factory=Flaws)
    time: float = 0.0
    extended: int = 0
    acted_in_failsafe: int = 0
    names: int = 0
    pods: int = 0
    weights: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        usual = [40, 20, 14, 14, 10, 4, 1, 1.5, 0.7, 2]
        spread = self.chance.choice([[1], [0.2, 1, 1, 4]])
        self.weights = [each * self.chance.choice(spread) for each in usual]
        self.service = Service(self.flaws)
        self.messages: list[Message] = []
        self.processes: dict[PodId, Process] = {}
        for _ in range(self.pods or self.chance.choice([1, 2, 2, 3])):
            self.add_pod()

    def next_name(self) -> int:
        self.names += 1
        return self.names

    def add_pod(self) -> None:
        pod_id = PodId(f"gateway-{len(self.processes)}")
        self.processes[pod_id] = Process(self, pod_id)

    def send(self, deliver: Callable[[], None], *, lost: Callable[[], None]) -> None:
        self.messages.append(Message(deliver, lost))

    def step(self) -> None:
        process = self.chance.choice(list(self.processes.values()))
        (act,) = self.chance.choices(
            [
                self._deliver,
                self._wait,
                process.renew,
                process.ask_peers,
                lambda: self.service.sweep(self.time, self.chance),
                lambda: self._cut(process),
                self._cut_all,
                lambda: self._restart(process),
                self._newcomer,
                self._lose,
            ],
            weights=self.weights,
        )
        act()
        self.look()

    def look(self) -> None:
        """Let everybody do what it may, and check."""
        for each in self.processes.values():
            each.open_what_may_be()
        self.check()

    def settle(self) -> None:
        """Deliver everything in order."""
        while self.messages:
            self.messages.pop(0).deliver()
        self.look()

    def check(self) -> None:
        for shard_id in SHARDS:
            acting = [each for each in self.processes.values() if each.acts_for(shard_id)]
            if len(acting) > 1:
                raise TwoActError(f"{shard_id} at {self.time}: {[each.incarnation for each in acting]}")
            self.acted_in_failsafe += sum(each.failsafe.active for each in acting)

    def _deliver(self) -> None:
        if self.messages:
            self.messages.pop(self.chance.choice([0, 0, 0, -1, self.chance.randrange(len(self.messages))])).deliver()

    def _lose(self) -> None:
        if self.messages:
            self.messages.pop(self.chance.randrange(len(self.messages))).lost()

    def _wait(self) -> None:
        self.time += self.chance.choice([0.05, 0.5, 1.0, TTL / 4, TTL / 3 + 0.1, TTL / 2])

    def _cut(self, process: Process) -> None:
        process.reaches_service = not process.reaches_service

    def _cut_all(self) -> None:
        reaches = self.chance.random() < 0.3
        for process in self.processes.values():
            process.reaches_service = reaches

    def _restart(self, process: Process) -> None:
        reaches = process.reaches_service
        process.stop()
        new = self.processes[process.pod_id] = Process(self, process.pod_id)
        new.reaches_service = reaches

    def _newcomer(self) -> None:
        if len(self.processes) < 4:
            self.add_pod()


def live(seed: int, flaws: Flaws | None = None, *, steps: int = 400) -> World:
    """Let a world live; `TwoActError` when two may act for one shard."""
    world = World(seed, flaws or Flaws())
    for _ in range(steps):
        world.step()
    return world


def limited() -> tuple[object, str, float]:
    """What to patch so that the limit of failsafe mode is inside the time that a model lives."""
    return failsafe, "FAILSAFE_LIMIT", LIMIT
