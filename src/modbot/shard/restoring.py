"""Shard files before they are opened: what a file says about itself, and putting a restored one in its place.

A restored file comes into being in a folder of its own and gets its name by one rename, when it is complete and checked. A kill at any
line leaves either the file that was there, or none, or the new one; what else is left over is found and deleted at the next start.
Nothing here decides whether a file counts (`domain/replicas.py`), and nothing here knows of stores.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from pathlib import Path

import apsw

from modbot.domain.ids import Epoch, MoveId, ShardId
from modbot.domain.offsets import Offset
from modbot.domain.replicas import FileFacts
from modbot.ops import statements
from modbot.shard import database

_SQL = statements.load("modbot.shard", "restoring.sql")
_FOLDER = ".restoring-"


def read_facts(path: Path) -> FileFacts | None:
    """Read what a file says about itself; None when it is not there or was never stamped.

    Raises:
        apsw.Error: it cannot be read.
    """
    if not path.exists():
        return None
    with contextlib.closing(database.connect_existing(path)) as connection:
        if connection.execute(_SQL["holds_shard"]).fetchone() is None:
            return None
        row = connection.execute(_SQL["facts"]).fetchone()
        if row is None:
            return None
        arrived = 0
        if connection.execute(_SQL["knows_arrivals"]).fetchone() is not None:
            arrived = next(connection.execute(_SQL["arrived_by"]))[0]
    shard_id, epoch, session_id, resume_url, seq = row
    offset = None
    if session_id is not None and resume_url is not None and seq is not None:
        offset = Offset(session_id=session_id, resume_url=resume_url, seq=seq)
    return FileFacts(ShardId(shard_id), Epoch(epoch), MoveId(arrived), offset)


def try_facts(path: Path) -> tuple[FileFacts | None, str]:
    """Read the facts of a file that may be damaged: the facts and an empty string, or None and what is wrong with it."""
    try:
        facts = read_facts(path)
    except apsw.Error as error:
        return None, f"it cannot be read ({type(error).__name__}: {error})"
    return facts, "" if facts is not None else "it is not there or holds nothing"


def workplace(data_dir: Path, shard_id: ShardId) -> Path:
    """Make a folder for one attempt to restore a shard; each has its own, so that a program that outlived its pod is in nobody's way."""
    folder = data_dir / f"{_FOLDER}{shard_id}-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    return folder


def forget_workplaces(data_dir: Path) -> None:
    """Delete what an earlier process has left; the caller holds the lock of the volume."""
    for folder in data_dir.glob(f"{_FOLDER}*"):
        shutil.rmtree(folder, ignore_errors=True)


def place(restored: Path, path: Path, epoch: Epoch, *, rolled_back: str = "") -> None:
    """Stamp a restored file, which nobody has open, with the grant, and put it in the place of whatever is there.

    `rolled_back` says why it is older than what was replicated, if it is: that is in the file before the file is in its place, so that
    no death keeps it from being told (I9).

    It has the grant's epoch before it has the shard's name: a process that dies in between leaves nothing that looks like a file of an
    older ownership, which a sidecar might take for one.
    """
    with contextlib.closing(database.connect_existing(restored)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_SQL["stamp"], (epoch,))
        if connection.execute(_SQL["knows_arrivals"]).fetchone() is not None:
            connection.execute(_SQL["forget_arrival"])
        if rolled_back and connection.execute(_SQL["knows_rollbacks"]).fetchone() is not None:
            connection.execute(_SQL["note_rollback"], (rolled_back,))
        connection.execute("COMMIT")
    if database.log_bytes(restored):
        raise OSError(f"{restored.name} could not be closed completely.")
    _sync(restored)
    database.discard(path)
    restored.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
