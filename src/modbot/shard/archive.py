"""A guild archive: one guild's rows as a SQLite file that says what it is and proves that it is whole.

It has the schema of the shard file it was cut from and the rows of one guild. Last of all a manifest is written into it: whose rows,
from which shard, epoch and seq, under which versions of the components, how many rows each table has and their checksum. The file gets
its name only then, so a half-written one is never found under it, and is refused if somebody looks at it all the same.

`check` recomputes everything that the manifest says. What is damaged, half-written, another guild's, or newer than this modbot is
refused before anybody has changed anything. The checksums show damage, not forgery: whoever may import may write any row.

Two purposes: a *transfer* holds everything that the next owner needs, tokens of interactions included, and lives for the time of the
move. A copy *for people* leaves out what features declare as `withheld`: secrets, and what is kept for a short time only, which would
otherwise be kept in the copy for ever.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import apsw
import msgspec

from modbot.domain.errors import ModbotError
from modbot.domain.ids import Epoch, GuildId, ShardId
from modbot.ops import statements
from modbot.shard import guild_tables
from modbot.shard.guild_tables import GuildTable

_SQL = statements.load("modbot.shard", "archive.sql")
FORMAT = 1
APPLICATION_ID = (
    0x6D6F6462  # "modb", in the file's header: `file(1)` and we can tell an archive from any other database
)
_CHUNK = 1000
# Tables of an archive whose rows are not the guild's.
_OWN = frozenset({"archive", "migrations"})


class ArchiveDamagedError(ModbotError):
    """The file is not a whole guild archive; nothing was changed."""

    code = "archive_damaged"
    status = 422
    hint = "Export the guild again, or take another copy; `modbot guild show` tells whether a file is whole."


class ArchiveNewerError(ModbotError):
    """The archive was written by a newer modbot than this one; nothing was changed."""

    code = "archive_newer"
    status = 422
    hint = "Import it with the version that its manifest names, or a newer one."


class ForeignArchiveError(ModbotError):
    """The archive holds another guild than the one that was asked for; nothing was changed."""

    code = "archive_of_another_guild"
    status = 422
    hint = "`modbot guild show` says which guild an archive holds."


class Purpose(StrEnum):
    """What an archive was cut for."""

    PEOPLE = "people"
    TRANSFER = "transfer"


class TableSum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the manifest says of a table: SHA-256 over the msgpack form of each row, in the order of the key."""

    name: str
    rows: int
    checksum: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an archive says of itself. It was cut behind event `seq` of `session_id`, in the shard's file of `epoch`."""

    format: int
    modbot_version: str
    purpose: Purpose
    guild_id: str
    shard_id: ShardId
    epoch: Epoch
    session_id: str | None
    seq: int | None
    cut_at: datetime
    components: dict[str, int]
    tables: list[TableSum]

    @property
    def guild(self) -> GuildId:
        """Return the id of the guild."""
        return GuildId(int(self.guild_id))

    @property
    def rows(self) -> int:
        """Return how many rows there are in all."""
        return sum(table.rows for table in self.tables)


def check(path: Path, *, guild_id: GuildId | None = None, versions: Mapping[str, int] | None = None) -> Manifest:
    """Return the manifest of an archive that is whole; reads every row once.

    `guild_id`: whose it must be. `versions`: the components of this modbot, which must be as new as the archive's.

    Raises:
        ArchiveDamagedError: not an archive, half-written, or not what its manifest says.
        ForeignArchiveError: another guild's.
        ArchiveNewerError: of a newer format or with newer components.
    """
    with _damage_named(path), closing(_connect(path)) as connection:
        manifest = _read_manifest(connection, path)
        if guild_id is not None and manifest.guild != guild_id:
            raise ForeignArchiveError(f"{path.name} holds guild {manifest.guild_id}, not {guild_id}.")
        if versions is not None:
            check_versions(manifest, versions)
        _check_structure(connection, manifest, path)
        _check_rows(connection, manifest, path)
        return manifest


def check_versions(manifest: Manifest, versions: Mapping[str, int]) -> None:
    """Refuse an archive with components that this modbot does not know or knows in older versions only."""
    newer = [name for name, version in manifest.components.items() if version > versions.get(name, -1)]
    if newer:
        raise ArchiveNewerError(
            f"The archive was cut by modbot {manifest.modbot_version}; its {', '.join(newer)} is newer than here."
        )


def table_sums(connection: apsw.Connection) -> list[TableSum]:
    """Count and sum the rows of every guild table of an archive; streams, so the size of the guild does not matter."""
    return [_sum_up(connection, table) for table in guild_tables.find(guild_tables.reader(connection))]


def encode(manifest: Manifest) -> tuple[str, str]:
    """Return the manifest as text, and its checksum."""
    text = msgspec.json.encode(manifest).decode()
    return text, _checksum(text)


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """SQLite's own complaints about a file mean one thing here."""
    try:
        yield
    except (apsw.FullError, apsw.NoMemError):
        raise
    except (apsw.Error, UnicodeDecodeError) as error:
        raise ArchiveDamagedError(f"{path.name} is not a whole archive: {error}.") from error


def _read_manifest(connection: apsw.Connection, path: Path) -> Manifest:
    if connection.pragma("application_id") != APPLICATION_ID:
        raise ArchiveDamagedError(f"{path.name} is no guild archive.")
    if "archive" not in {name for name, _ in guild_tables.tables(guild_tables.reader(connection))}:
        raise ArchiveDamagedError(f"{path.name} is half an archive: it was never finished.")
    row = connection.execute(_SQL["read_manifest"]).fetchone()
    if row is None or _checksum(row[0]) != row[1]:
        raise ArchiveDamagedError(f"{path.name} has lost its manifest.")
    stated = msgspec.json.decode(row[0])
    if not isinstance(stated, dict) or stated.get("format") != FORMAT:
        raise ArchiveNewerError(f"{path.name} has a format that this modbot does not read; it reads {FORMAT}.")
    try:
        return msgspec.convert(stated, Manifest)
    except msgspec.ValidationError as error:
        raise ArchiveDamagedError(f"{path.name} has a manifest that cannot be read: {error}.") from error


def _check_structure(connection: apsw.Connection, manifest: Manifest, path: Path) -> None:
    problem = connection.execute("PRAGMA integrity_check(1)").fetchall()[0][0]
    if problem != "ok":
        raise ArchiveDamagedError(f"{path.name} is damaged: {problem}.")
    if connection.execute(_SQL["foreign_objects"]).fetchall() != [(0,)]:
        raise ArchiveDamagedError(f"{path.name} holds triggers or views, which no export makes.")
    if dict(connection.execute(_SQL["versions"])) != manifest.components:
        raise ArchiveDamagedError(f"{path.name} states other versions than it has.")
    stray = [
        name
        for name in guild_tables.others(guild_tables.reader(connection))
        if name not in _OWN
        and connection.execute(_SQL["count_any"].format(table=guild_tables.quoted(name))).fetchall() != [(0,)]
    ]
    if stray:
        raise ArchiveDamagedError(f"{path.name} holds rows that belong to no guild: {', '.join(stray)}.")


def _check_rows(connection: apsw.Connection, manifest: Manifest, path: Path) -> None:
    found = table_sums(connection)
    if found != manifest.tables:
        wrong = {table.name for table in found} ^ {table.name for table in manifest.tables}
        wrong |= {here.name for here, there in zip(found, manifest.tables, strict=False) if here != there}
        raise ArchiveDamagedError(f"{path.name} differs from its manifest in {', '.join(sorted(wrong))}.")
    for table in guild_tables.find(guild_tables.reader(connection)):
        if connection.execute(table.sql(_SQL["foreign_rows"]), (manifest.guild,)).fetchall() != [(0,)]:
            raise ArchiveDamagedError(f"{path.name} holds rows of another guild in {table.name}.")


def _sum_up(connection: apsw.Connection, table: GuildTable) -> TableSum:
    digest, count, pack = hashlib.sha256(), 0, msgspec.msgpack.Encoder().encode
    cursor = iter(connection.execute(table.sql(_SQL["rows"], columns=table.columns)))
    while chunk := list(itertools.islice(cursor, _CHUNK)):
        digest.update(b"".join(map(pack, chunk)))
        count += len(chunk)
    return TableSum(table.name, count, digest.hexdigest())


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
