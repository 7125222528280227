"""Which copy of a shard counts: rules about files and epochs, without looking at either.

A file on a pod's volume counts only within the unbroken ownership that wrote it. Between two ownerships somebody else served the
shard, and the file is a past that has gone on elsewhere (I8). A restored file counts only if it is what its path says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from modbot.domain.ids import Epoch, MoveId, ShardId
from modbot.domain.offsets import Offset


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a shard file says about itself. `arrived_by`: the handoff that brought it, or 0."""

    shard_id: ShardId
    epoch: Epoch
    arrived_by: MoveId
    offset: Offset | None

    @property
    def seq(self) -> int:
        """The number of the last event in it; 0 before the first session."""
        return 0 if self.offset is None else self.offset.seq


@dataclass(frozen=True, slots=True)
class Ownership:
    """What a grant says: since when the owner has owned the shard without a break, and by which handoff it came (0: another way).

    `born_epoch` is the first epoch of the shard's present life.
    """

    shard_id: ShardId
    epoch: Epoch
    since_epoch: Epoch
    since_move: MoveId
    served: bool
    born_epoch: Epoch


def why_not_ours(facts: FileFacts, owned: Ownership) -> str:
    """Say why a file on the volume does not count under this grant; empty when it does.

    A file with a newer epoch than the grant's counts as ours here: opening it is refused, and nothing may replace it.
    """
    if facts.shard_id != owned.shard_id:
        return f"it is the file of shard {facts.shard_id}"
    if facts.epoch >= owned.since_epoch:
        return ""
    if owned.since_move and facts.arrived_by == owned.since_move:
        return ""
    return f"it was written under epoch {facts.epoch}, and others have owned the shard before epoch {owned.since_epoch}"


def why_not_sound(facts: FileFacts, owned: Ownership, *, path_epoch: Epoch) -> str:
    """Say why a restored file is not what its path says; empty when it is.

    Its epoch may be later than that of its path: a restarted owner stamps its file before the sidecar has turned to the new path. It
    can be neither earlier than the path nor later than the grant.
    """
    if facts.shard_id != owned.shard_id:
        return f"it holds shard {facts.shard_id}"
    if not path_epoch <= facts.epoch <= owned.epoch:
        return f"it holds epoch {facts.epoch}, in the path of epoch {path_epoch}, under a grant of epoch {owned.epoch}"
    if facts.offset is not None and facts.offset.seq < 0:
        return f"it holds the number {facts.offset.seq}"
    return ""


def why_rolled_back(facts: FileFacts, *, path_epoch: Epoch, newest: Epoch, reported_seq: int) -> str:
    """Say why a sound file is older than what was replicated; empty when it is not known to be.

    `newest`: the newest epoch that has a beginning. `reported_seq`: the highest number of which the last owner knew that its replica
    holds it; numbers of another session are not comparable, and then this errs on the side of telling.
    """
    if path_epoch < newest:
        return f"the replica of epoch {newest} is not sound, and that of epoch {path_epoch} took its place"
    if facts.seq < reported_seq:
        return f"the replica of epoch {path_epoch} ends at {facts.seq}, and {reported_seq} had been replicated"
    return ""


class Proof(StrEnum):
    """What a drill found: `proven`, or what is wrong with the newest replica of a shard."""

    PROVEN = "proven"
    MISSING = "missing"
    DAMAGED = "damaged"
    WRONG = "wrong"
    AHEAD = "ahead"
    BEHIND = "behind"


def decide_proof(
    facts: FileFacts, shard_id: ShardId, *, path_epoch: Epoch, granted: Epoch, reported_seq: int
) -> tuple[Proof, str]:
    """Judge a restored file by its name, the epoch of its path, the shard's epoch now, and the number that was reported as replicated.

    Returns the finding and a sentence about it, which is empty for a proven one.
    """
    if path_epoch > granted:
        return Proof.AHEAD, f"the store has epoch {path_epoch}, the config service grants {granted}; see modbot adopt"
    life = Ownership(shard_id, granted, Epoch(0), MoveId(0), served=True, born_epoch=Epoch(0))
    fault = why_not_sound(facts, life, path_epoch=path_epoch)
    if fault:
        return Proof.WRONG, fault
    if facts.seq < reported_seq:
        return Proof.BEHIND, f"it ends at number {facts.seq}; its owner reported {reported_seq} as replicated"
    return Proof.PROVEN, ""


def decide_forgotten(
    written: Mapping[Epoch, datetime | None], *, own: Epoch, keep: int, before: datetime
) -> Sequence[Epoch]:
    """Return the epochs whose replicas may go, once that of `own` is complete.

    `written`: when each was last written to, None for one of which nothing is left but its name. Kept are the `keep` newest up to `own`,
    it included, and everything that was written to since `before`. Epochs after `own` belong to a later owner and are never touched.
    """
    there = {epoch: moment for epoch, moment in written.items() if moment is not None and epoch < own}
    return [epoch for epoch in sorted(there, reverse=True)[max(0, keep - 1) :] if there[epoch] < before]
