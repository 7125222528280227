"""Failsafe mode: going on after the lease when, and only when, nobody can have been given what one owns.

**Why.** While PostgreSQL is away nobody can renew, and nobody can be granted anything either. A pod that knows the second half may go on
acting. It cannot know it alone: from one pod, "PostgreSQL is away" and "I am cut off" look the same. So it asks the others.

**The protocol.** With every grant the config service names the *members*: all pods that may be acting. A pod R whose renewals fail asks
every one of them. A peer P answers with its *silence*, the seconds since it last received an answer from the config service, and makes a
*promise*: for one lease from now it opens no shard that was taken from somebody who may still be acting (a *contested* one), even when it reaches the
service again. R may then act for one lease, counted from the moment before it asked, if every member confirmed. It asks again every quarter of that.

**What R checks.** Let s be when R sent its last successful renewal, T its lease, r when it has the answers, q a peer's silence:

    (r - s) - q < T          for every member, else nothing is extended

**Why that is safe.** P looked at its clock at some moment t <= r, and the last answer came to it at y = t - q. So y <= r - q < s + T. R's
lease row runs for T from after s, so nobody is granted a shard of R before s + T, and an answer that tells P of such a grant comes to P
after that. Hence at t P had not been told. What it is told after t it does not open before t + T, by the promise. R asked at a <= t, and its
right ends at a + T <= t + T. So while R may act, no member acts for a shard of R. Only durations measured on one clock are used, and a
slow network makes r later and so the check stricter: P cannot decide this alone, because it does not know how long the question took.

*Who is not a member* was given nothing either: the config service bars such pods from the shards of a lost pod until a member has received
a later answer for one lease (its confirmations are over then: q is too small from that answer on), or until the limit is over, where R
stops by itself (`services/config/outages.py`). Who is a member is compared by the number of the last answer that R acknowledged, so an
answer that was lost on its way counts for nobody.

*A peer that died* took its promises with it, so a process opens nothing contested for its first lease; and R meant the process before
it, so a new incarnation does not confirm. *A handoff* needs no waiting: its source had opened the shard, so nobody else has a right to it. A
shard stays contested until somebody has reported that it opened it, however often it was given on before that. *A stall* of R makes r - s unreliable: it ends failsafe mode until the next renewal. A stall of P only makes q smaller and
the promise longer.

Besides, a peer refuses while its own silence is short: then it is R that is cut off, and a promise would only delay the takeover.

This module measures no time and sends nothing; `confirming.py` beside it asks, `leases.py` tells it of renewals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modbot.cluster import protocol
from modbot.domain.ids import Incarnation, PodId
from modbot.domain.outages import FAILSAFE_LIMIT, FAILSAFE_MARGIN

_NEVER = float("-inf")
_QUIET = 1 / 3
"""A peer that was answered within this part of a lease is in touch: it renews every quarter."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The last grant as a basis for going on: when its request was sent, for how long it holds, and who must be asked."""

    sent_at: float
    seconds: float
    peers: tuple[protocol.Pod, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """One round of questions, begun at `asked_at` on the ground of `standing`."""

    asked_at: float
    standing: Standing
    questions: Mapping[Incarnation, protocol.FailsafeRequest]


def counts(*, silent_for: float, silence: float, seconds: float) -> bool:
    """Say whether a peer's silence proves that it was told nothing after our lease: the inequality of this module.

    `silent_for`: seconds since we sent our last successful renewal, measured when the peer's answer is here.
    """
    return silent_for - silence < seconds


class Failsafe:
    """Both sides of one incarnation: its right to act after the lease, and its promises. `now` is monotonic seconds."""

    def __init__(self, pod_id: PodId, incarnation: Incarnation, *, now: Callable[[], float]) -> None:
        self._pod_id = pod_id
        self._incarnation = incarnation
        self._now = now
        self._started_at = now()
        self._standing: Standing | None = None
        self._until = _NEVER
        self._answered_at = _NEVER
        self._promised_until = _NEVER
        self._seconds = 0.0
        self._ended = False
        self.refusal = ""

    @property
    def until(self) -> float:
        """Until when failsafe mode allows to act; in the past when it does not. From any thread."""
        return self._until

    @property
    def active(self) -> bool:
        """Whether it is failsafe mode that allows to act now: the lease itself is over."""
        standing = self._standing
        return standing is not None and standing.sent_at + standing.seconds <= self._now() < self._until

    def renewed(self, sent_at: float, grant: protocol.Grant) -> None:
        """A grant is believed: from now on it is the basis, and what peers said before is of no use any more."""
        self.answered()
        self._until = _NEVER
        self._seconds = grant.lease_seconds
        self.refusal = ""
        members = grant.members
        self._standing = None
        if members is not None:
            peers = tuple(member for member in members if member.incarnation != self._incarnation)
            self._standing = Standing(sent_at, grant.lease_seconds, peers)

    def answered(self) -> None:
        """The config service has answered just now, whatever it said."""
        self._answered_at = self._now()

    def void(self) -> None:
        """The process stood still, so no clock is to be trusted: no failsafe mode before the next grant."""
        self._standing = None
        self._until = _NEVER
        self.refusal = "the process stood still"

    def end(self) -> None:
        """This incarnation is over: it neither acts nor confirms."""
        self.void()
        self._ended = True
        self.refusal = "this incarnation has ended"

    def begin(self) -> Round | None:
        """Begin a round of questions; None while the last renewal is fresh, and when failsafe mode is out of the question."""
        standing, now = self._standing, self._now()
        if standing is None or now - standing.sent_at <= standing.seconds * _QUIET:
            return None
        if now >= self._limit(standing):
            self.refusal = "the limit of failsafe mode is over"
            return None
        questions = {
            peer.incarnation: protocol.FailsafeRequest(
                pod_id=self._pod_id,
                incarnation=self._incarnation,
                peer=peer.incarnation,
                silent_for=now - standing.sent_at,
                seconds=standing.seconds,
            )
            for peer in standing.peers
        }
        return Round(now, standing, questions)

    def conclude(self, done: Round, answers: Mapping[Incarnation, protocol.FailsafeAnswer]) -> bool:
        """Take the answers of a round, right after the last of them came; True when we may go on."""
        standing = self._standing
        if standing is not done.standing:
            return False
        silent_for = self._now() - standing.sent_at
        for peer in standing.peers:
            answer = answers.get(peer.incarnation)
            if answer is None:
                self.refusal = f"{peer.pod_id} does not answer"
                return False
            if not answer.confirmed:
                self.refusal = f"{peer.pod_id} does not confirm: {answer.reason}"
                return False
            if not counts(silent_for=silent_for, silence=answer.silence, seconds=standing.seconds):
                self.refusal = f"{peer.pod_id} may have been told of a new owner"
                return False
        self.refusal = ""
        self._until = max(self._until, min(done.asked_at + standing.seconds, self._limit(standing)))
        return True

    def answer(self, question: protocol.FailsafeRequest) -> protocol.FailsafeAnswer:
        """Answer a peer. A confirmation is a promise, made in this very moment."""
        now = self._now()
        silence = now - self._answered_at
        reason = self._objection(question, silence)
        if reason:
            return protocol.FailsafeAnswer(confirmed=False, reason=reason)
        self._promised_until = max(self._promised_until, now + question.seconds)
        return protocol.FailsafeAnswer(confirmed=True, silence=silence)

    def opens_in(self, shard: protocol.Shard) -> float:
        """Return for how many seconds a granted shard must not be opened yet, because its last owner may still be acting."""
        if not shard.contested:
            return 0.0
        return max(0.0, self._started_at + self._seconds - self._now(), self._promised_until - self._now())

    def _objection(self, question: protocol.FailsafeRequest, silence: float) -> str:
        if question.peer != self._incarnation:
            return "this is another incarnation"
        if self._ended or self._answered_at == _NEVER:
            return "this incarnation has no lease"
        if question.seconds > self._seconds:
            return "leases differ in length"
        if silence <= question.seconds * _QUIET:
            return "the config service answers here"
        if not counts(silent_for=question.silent_for, silence=silence, seconds=question.seconds):
            return "the config service answered here later"
        return ""

    @staticmethod
    def _limit(standing: Standing) -> float:
        return standing.sent_at + standing.seconds + FAILSAFE_LIMIT - FAILSAFE_MARGIN
