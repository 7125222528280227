"""Where two sessions' views of one guild's events meet: pure decisions about content hashes.

The shard that gives a guild away knows the hashes of the last events that it applied, in order (`applied`). The shard that takes it has
kept, in order, what its own session brought meanwhile (`held`). Both are parts of the same sequence, so there is one place in `held` behind
the last applied event. The same content may come twice (a reaction that is set, removed and set), so a single hash decides nothing: the
longest common run that ends with the last applied event does.

When no run is found either the guild was quiet, or one of the sessions missed something. Then what was applied is left out by its
content, and the caller counts that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Meeting(StrEnum):
    """How the place was found. `quiet`: nothing in common and nothing to leave out."""

    ALIGNED = "aligned"
    QUIET = "quiet"
    DEDUPLICATED = "deduplicated"


@dataclass(frozen=True, slots=True)
class Alignment:
    """Which of the held events are still to be applied, by their index, and how that was found."""

    rest: tuple[int, ...]
    meeting: Meeting


def overlaps(applied: Sequence[int], held: Sequence[int | None]) -> bool:
    """Tell whether the giver has applied anything that the taker holds: then it has applied everything before it, too."""
    return not set(applied).isdisjoint(held)


def find_end(applied: Sequence[int], held: Sequence[int | None]) -> int | None:
    """Return the index in `held` of the last applied event, or None; events without a hash (None) are passed over.

    A run counts when it reaches back to the first held or the first applied event; of those that do the longest is taken, and of
    equally long ones the one that reaches the first held event.
    """
    if not applied:
        return None
    places = [(index, value) for index, value in enumerate(held) if value is not None]
    hashes = [value for _, value in places]
    best: tuple[int, bool, int] | None = None
    for end, value in enumerate(hashes):
        if value != applied[-1]:
            continue
        length = _common(applied, hashes[: end + 1])
        if length < min(len(applied), end + 1):
            continue
        found = (length, length == end + 1, places[end][0])
        best = found if best is None or found[:2] > best[:2] else best
    return None if best is None else best[2]


def decide(applied: Sequence[int], held: Sequence[int | None]) -> Alignment:
    """Say what is still to be applied of the held events."""
    end = find_end(applied, held)
    if end is not None:
        return Alignment(tuple(range(end + 1, len(held))), Meeting.ALIGNED)
    known = Counter(applied)
    rest = []
    for index, value in enumerate(held):
        if value is not None and known[value] > 0:
            known[value] -= 1
            continue
        rest.append(index)
    return Alignment(tuple(rest), Meeting.QUIET if len(rest) == len(held) else Meeting.DEDUPLICATED)


def _common(applied: Sequence[int], hashes: Sequence[int]) -> int:
    """Return how long the common end of both is."""
    length = 0
    for one, other in zip(reversed(applied), reversed(hashes), strict=False):
        if one != other:
            break
        length += 1
    return length
