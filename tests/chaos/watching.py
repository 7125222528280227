"""How long shards stand still, seen from outside: a thread that looks at the seq of every shard file, again and again.

A shard *moves* when the newest of its files (highest epoch, then highest seq) has a higher seq than at the last look: an event was
committed. Its *standstill* is the time between two moves. People write all the time, so a standstill is a pause of the shard, with
up to one look (`_EVERY`) of error and the pause between two events.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import apsw

from modbot.shard import database

_EVERY = 0.01
_NEW_FILES_EVERY = 0.1
_WHERE = "SELECT epoch, session_id, seq FROM shard"


@dataclass(slots=True)
class Track:
    """The moves of one shard: when, in which epoch, to which seq, in which volume."""

    at: list[float] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)

    def standstill(self, since: float, until: float) -> float:
        """Return the longest time without a move between two moments."""
        before, after = self.longest(since, until)
        return after - before

    def longest(self, since: float, until: float) -> tuple[float, float]:
        """Return from when to when that was."""
        moves = [since, *(at for at in self.at if since < at < until), until]
        return max(itertools.pairwise(moves), key=lambda pair: pair[1] - pair[0])

    def change(self, since: float, until: float) -> tuple[float, float]:
        """Return the last event of one owner and the first one of the next, for the last change of owner between two moments."""
        moves = [(at, epoch) for at, epoch in zip(self.at, self.epochs, strict=True) if since < at < until]
        return next(
            (before, after) for (before, old), (after, new) in reversed(list(itertools.pairwise(moves))) if new > old
        )

    def first_beyond(self, seq: int, since: float) -> float | None:
        """Return when a seq was passed after a moment."""
        found = (at for at, each in zip(self.at, self.seqs, strict=True) if at > since and each > seq)
        return next(found, None)


@dataclass(slots=True)
class _Reader:
    inode: int
    connection: apsw.Connection


class Watcher:
    """Use as a context manager."""

    def __init__(self, state: Path) -> None:
        self.tracks: dict[str, Track] = {}
        self._state = state
        self._readers: dict[Path, _Reader] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._trouble: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._trouble is not None:
            raise self._trouble

    def _run(self) -> None:
        looked_for_files = 0.0
        try:
            while not self._stopping.wait(_EVERY):
                now = time.time()
                if now - looked_for_files > _NEW_FILES_EVERY:
                    self._find()
                    looked_for_files = now
                self._look()
        except BaseException as error:  # noqa: BLE001 - raised again by the one who waits for this thread
            self._trouble = error
        finally:
            for reader in self._readers.values():
                reader.connection.close()

    def _find(self) -> None:
        there = {path: path.stat().st_ino for path in self._state.glob("gateway-*/*.sqlite3") if path.exists()}
        for path, reader in list(self._readers.items()):
            if there.get(path) != reader.inode:
                reader.connection.close()
                del self._readers[path]
        for path, inode in there.items():
            if path not in self._readers:
                with contextlib.suppress(apsw.Error):  # it is being made just now; the next look finds it
                    self._readers[path] = _Reader(inode, database.connect_reader(path))

    def _look(self) -> None:
        best: dict[str, tuple[int, int, str]] = {}
        for path, reader in self._readers.items():
            with contextlib.suppress(apsw.Error):  # gone, or being recovered by its owner
                row = reader.connection.execute(_WHERE).fetchone()
                if row is not None and row[2] is not None:
                    best[path.stem] = max(best.get(path.stem, (0, 0, "")), (row[0], row[2], path.parent.name))
        now = time.time()
        for shard_id, (epoch, seq, volume) in best.items():
            track = self.tracks.setdefault(shard_id, Track())
            if not track.at or seq > track.seqs[-1] or (epoch > track.epochs[-1] and seq != track.seqs[-1]):
                track.at.append(now)
                track.epochs.append(epoch)
                track.seqs.append(seq)
                track.volumes.append(volume)
