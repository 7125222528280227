"""The replay buffer of one session: what a RESUME may still ask for.

Invariant: everything above `floor` is here, in order, without gaps. Refuses to know time: moments are given.
"""

import itertools
from collections import deque
from typing import NamedTuple

_KNOTS = ((1, 100), (10, 750), (47, 3500))


class Entry(NamedTuple):
    """One dispatch of a session; `at` in monotonic seconds, `data` is encoded and shared between sessions."""

    seq: int
    at: float
    name: str
    data: bytes


def size_for(guild_count: int) -> int:
    """Return how many events Discord keeps for a session with so many guilds, between the known points linearly."""
    if guild_count <= _KNOTS[0][0]:
        return _KNOTS[0][1]
    for (low, least), (high, most) in itertools.pairwise(_KNOTS):
        if guild_count <= high:
            return least + (most - least) * (guild_count - low) // (high - low)
    return _KNOTS[-1][1]


class ReplayBuffer:
    """Entries in order; `floor` is the highest sequence number that is gone."""

    def __init__(self) -> None:
        self.floor = 0
        self._entries: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry, *, limit: int) -> None:
        """Keep an entry and let the oldest go above `limit`."""
        self._entries.append(entry)
        while len(self._entries) > limit:
            self.floor = self._entries.popleft().seq

    def drop_through(self, seq: int) -> None:
        """Forget everything up to and including `seq`."""
        while self._entries and self._entries[0].seq <= seq:
            self.floor = self._entries.popleft().seq

    def drop_before(self, moment: float) -> None:
        """Forget everything older than `moment`."""
        while self._entries and self._entries[0].at < moment:
            self.floor = self._entries.popleft().seq

    def after(self, seq: int) -> list[Entry] | None:
        """Return what came after `seq`, or None when part of it is gone."""
        if seq < self.floor:
            return None
        return [entry for entry in self._entries if entry.seq > seq]
