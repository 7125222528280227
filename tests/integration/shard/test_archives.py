"""Archives from file to file: what is exported is what arrives, all of it or nothing, and what is not whole is refused."""

import os
import shutil
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import apsw
import archivekit
import pytest
from archivekit import EPOCH, HERE, THERE, THINGS, File, registry
from hypothesis import given, settings
from hypothesis import strategies as st

from modbot.domain.errors import ModbotError, NotFoundError, StaleEpochError
from modbot.shard import archive, exporting, importing
from modbot.shard.archive import ArchiveDamagedError, ArchiveNewerError, ForeignArchiveError, Purpose
from modbot.shard.importing import GuildHasRowsError

_INTEGER = st.integers(-(2**63), 2**63 - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_ANY = st.one_of(st.none(), _INTEGER, _TEXT, st.binary(max_size=30), st.floats(allow_nan=False))
_THING = st.tuples(
    st.none() | _INTEGER, st.none() | st.floats(allow_nan=False), st.none() | st.binary(max_size=50), _ANY
)


@pytest.fixture
def make(tmp_path):
    files = []

    def open_file(**options):
        files.append(File(tmp_path / f"{len(files)}.sqlite3", **options))
        return files[-1]

    yield open_file
    for file in files:
        file.close()


@pytest.fixture
def source(make):
    source = make()
    source.add_rows(HERE)
    source.add_rows(THERE)
    return source


@pytest.fixture
def cut(source, tmp_path):
    path = tmp_path / "cut.sqlite3"
    source.export(HERE, path)
    return path


@settings(max_examples=60, deadline=None)
@given(things=st.dictionaries(_TEXT, _THING), notes=st.lists(st.none() | _TEXT), others=st.dictionaries(_TEXT, _THING))
def test_any_rows_arrive_as_they_were(things, notes, others):
    with tempfile.TemporaryDirectory() as folder:
        a, b = File(Path(folder) / "a.sqlite3"), File(Path(folder) / "b.sqlite3")
        with closing(a), closing(b):
            for guild_id, rows in ((HERE, things), (THERE, others)):
                a.connection.executemany(
                    "INSERT INTO things VALUES (?, ?, ?, ?, ?, ?)",
                    [(guild_id, name, *row) for name, row in rows.items()],
                )
            a.connection.executemany(
                "INSERT INTO notes (guild_id, text) VALUES (?, ?)", [(HERE, each) for each in notes]
            )
            a.execute("INSERT INTO settings VALUES (?, 'x', 'y')", (HERE,))
            b.add_rows(THERE)
            before = b.contents(THERE)
            manifest = a.export(HERE, Path(folder) / "cut")
            done = b.bring_in(Path(folder) / "cut")
            assert b.contents(HERE) == a.contents(HERE)
            assert b.contents(THERE) == before
            assert done.rows == manifest.rows == len(things) + len(notes) + 1


def test_every_table_of_every_feature_goes_along(source, make, cut):
    target = make(shard="guild-1")
    target.bring_in(cut)
    assert target.contents(HERE) == source.contents(HERE)
    assert set(source.contents(HERE)) == {"activity", "dead_letters", "effects", "notes", "settings", "timers"}
    assert target.contents(THERE) == {}
    assert target.execute("SELECT DISTINCT epoch FROM effects") == [(EPOCH,)]


def test_the_manifest_says_where_it_was_cut(source, cut):
    manifest = source.check(cut, HERE)
    assert (manifest.guild_id, manifest.shard_id, manifest.epoch) == (str(HERE), "3-of-16", EPOCH)
    assert (manifest.session_id, manifest.seq, manifest.cut_at) == ("s", 41, archivekit.NOW)
    assert {table.name: table.rows for table in manifest.tables if table.rows} == dict.fromkeys(
        source.contents(HERE), 3
    )
    assert manifest.components == source.registry.versions


def test_a_copy_for_people_holds_no_secret_and_acts_no_second_time(source, make, tmp_path):
    source.execute(
        "INSERT INTO reported_messages VALUES (?, 1, 1, 1, 'n', 'what they wrote', 1, NULL, NULL, NULL)", (HERE,)
    )
    source.execute("INSERT INTO reports VALUES (?, 1, 1, 1, 'report', NULL, 77, NULL, NULL, 1)", (HERE,))
    path = tmp_path / "people.sqlite3"
    source.export(HERE, path, purpose=Purpose.PEOPLE)
    assert b"secret-token" not in path.read_bytes()
    assert b"what they wrote" not in path.read_bytes()
    target = make()
    done = target.bring_in(path)
    assert done.ended_effects == 3
    assert target.execute("SELECT DISTINCT state, reply_token FROM effects") == [("failed", None)]
    assert target.execute("SELECT payload FROM dead_letters") == [(None,)] * 3
    assert target.execute("SELECT evidence FROM reported_messages") == [(None,)]
    assert target.execute("SELECT reporter FROM reports") == [(None,)]
    assert len(target.execute("SELECT 1 FROM timers")) == 3


def test_row_ids_are_new_and_keep_their_order(source, make, cut):
    target = make()
    target.add_rows(THERE, 5)
    target.bring_in(cut)
    ids = target.execute("SELECT effect_id, key FROM effects WHERE guild_id = ? ORDER BY effect_id", (HERE,))
    assert [key for _, key in ids] == ["k0", "k1", "k2"]
    assert min(number for number, _ in ids) > 5


def test_a_guild_with_rows_is_replaced_only_when_asked(make, cut):
    target = make()
    target.add_rows(HERE, 5)
    target.add_rows(THERE, 2)
    before = target.contents(HERE), target.contents(THERE)
    with pytest.raises(GuildHasRowsError):
        target.bring_in(cut)
    assert (target.contents(HERE), target.contents(THERE)) == before
    done = target.bring_in(cut, replace=True)
    assert (done.rows, done.replaced, done.dropped_effects) == (18, 30, 5)
    assert target.contents(THERE) == before[1]
    assert {len(rows) for rows in target.contents(HERE).values()} == {3}


def test_what_discord_said_last_is_not_replaced_by_what_it_said_once(source, make, tmp_path):
    source.execute("INSERT INTO guilds VALUES (?, 'old name', 1, '[]', 1, NULL)", (HERE,))
    source.execute("INSERT INTO roles VALUES (?, 5, 'old role', 1, 0, 0)", (HERE,))
    source.export(HERE, tmp_path / "cut")
    knows, new = make(), make()
    knows.execute("INSERT INTO guilds VALUES (?, 'new name', 1, '[]', 1, NULL)", (HERE,))
    for target in (knows, new):
        shutil.copy(tmp_path / "cut", tmp_path / "copy")
        target.bring_in(tmp_path / "copy")
    assert knows.execute("SELECT name FROM guilds") == [("new name",)]
    assert knows.execute("SELECT name FROM roles") == []
    assert new.execute("SELECT name FROM guilds") == [("old name",)]
    assert new.execute("SELECT name FROM roles") == [("old role",)]


def test_interactions_that_were_applied_stay_applied(source, make, tmp_path):
    source.execute("INSERT INTO interactions VALUES (?, 1, 5, 'there'), (?, 2, 5, 'both')", (HERE, HERE))
    source.export(HERE, tmp_path / "cut")
    target = make()
    target.execute("INSERT INTO interactions VALUES (?, 2, 5, 'here'), (?, 3, 5, 'here')", (HERE, HERE))
    target.bring_in(tmp_path / "cut")
    assert target.execute("SELECT interaction_id, response FROM interactions") == [
        (1, "there"),
        (2, "here"),
        (3, "here"),
    ]


def test_an_older_archive_is_migrated_like_a_shard_file(make, tmp_path):
    more = (THINGS, "ALTER TABLE notes ADD COLUMN stars INTEGER; UPDATE notes SET stars = length(text)")
    old, new = make(), make(known=registry(*more))
    old.add_rows(HERE)
    old.export(HERE, tmp_path / "cut")
    new.bring_in(tmp_path / "cut")
    assert new.execute("SELECT stars FROM notes") == [(6,)] * 3
    new.export(HERE, tmp_path / "newer")
    with pytest.raises(ArchiveNewerError):
        old.bring_in(tmp_path / "newer", replace=True)
    assert old.execute("SELECT count(*) FROM notes") == [(3,)]


def test_an_archive_with_an_unknown_component_is_refused(make, cut):
    without = registry()
    without.series.pop()
    target = make(known=without)
    with pytest.raises(ArchiveNewerError, match="things"):
        target.bring_in(cut)


def _edit(sql, *bindings):
    def damage(path):
        with closing(apsw.Connection(str(path))) as connection:
            connection.execute(sql, bindings)

    return damage


def _truncate(path):
    os.truncate(path, path.stat().st_size - 4096)


def _flip_a_note(path):
    content = path.read_bytes()
    assert content.count(b"note 1") == 1
    path.write_bytes(content.replace(b"note 1", b"note 9"))


def _flip_the_manifest(path):
    content = path.read_bytes()
    place = content.index(b'"seq":41')
    path.write_bytes(content[:place] + b'"seq":42' + content[place + 8 :])


DAMAGES = {
    "truncated": _truncate,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a database " * 500),
    "gone": lambda path: path.unlink(),
    "another database": _edit("PRAGMA application_id = 5"),
    "half-written": _edit("DROP TABLE archive"),
    "no manifest": _edit("DELETE FROM archive"),
    "changed manifest": _flip_the_manifest,
    "changed byte": _flip_a_note,
    "row less": _edit("DELETE FROM notes WHERE text = 'note 1'"),
    "row more": _edit("INSERT INTO settings VALUES (?, 'a', 'b')", HERE),
    "changed row": _edit("UPDATE settings SET value = 'other'"),
    "table more": _edit("CREATE TABLE more (guild_id INTEGER)"),
    "table less": _edit("DROP TABLE settings"),
    "trigger": _edit("CREATE TRIGGER t AFTER DELETE ON settings BEGIN SELECT 1; END"),
    "view": _edit("CREATE VIEW v AS SELECT 1"),
    "versions": _edit("UPDATE migrations SET version = version + 1"),
    "rows of nobody": _edit("INSERT INTO gaps (session_id, last_seq, reason, began_at) VALUES ('s', 1, 'r', 1)"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_not_whole_is_refused_before_anything_changes(make, cut, name):
    target = make()
    target.add_rows(HERE)
    before = target.contents(HERE)
    DAMAGES[name](cut)
    with pytest.raises(ArchiveDamagedError):
        target.bring_in(cut, replace=True)
    assert target.contents(HERE) == before


def test_rows_of_another_guild_are_refused_although_the_sums_are_right(make, cut):
    _edit("UPDATE settings SET guild_id = ?", THERE)(cut)
    with closing(apsw.Connection(str(cut))) as connection:
        text = connection.execute("SELECT manifest FROM archive").fetchall()[0][0]
        stated = archive.msgspec.json.decode(text, type=archive.Manifest)
        forged = archive.msgspec.structs.replace(stated, tables=archive.table_sums(connection))
        connection.execute("UPDATE archive SET manifest = ?, checksum = ?", archive.encode(forged))
    with pytest.raises(ArchiveDamagedError, match="another guild"):
        make().bring_in(cut)


def test_a_newer_format_and_another_guild_are_told_apart_from_damage(source, cut):
    with pytest.raises(ForeignArchiveError):
        source.check(cut, THERE)
    text = '{"format":2,"anything":"else"}'
    _edit("UPDATE archive SET manifest = ?, checksum = ?", text, archive._checksum(text))(cut)
    with pytest.raises(ArchiveNewerError):
        source.check(cut)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 2**32), bit=st.integers(0, 7))
def test_no_flipped_byte_changes_what_arrives(place, bit, whole):
    """Bytes that SQLite does not use may change; whatever is accepted must bring the same rows."""
    content, expected = whole
    damaged = bytearray(content)
    damaged[place % len(content)] ^= 1 << bit
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cut"
        path.write_bytes(damaged)
        with closing(File(Path(folder) / "target.sqlite3")) as target:
            try:
                target.bring_in(path)
            except ModbotError:
                assert target.contents(HERE) == {}
            else:
                assert target.contents(HERE) == expected


@pytest.fixture(scope="module")
def whole():
    with tempfile.TemporaryDirectory() as folder, closing(File(Path(folder) / "a.sqlite3")) as source:
        source.add_rows(HERE, 20)
        source.export(HERE, Path(folder) / "cut")
        yield (Path(folder) / "cut").read_bytes(), source.contents(HERE)


def test_a_guild_without_rows_and_an_old_owner_export_nothing(source, tmp_path):
    with pytest.raises(NotFoundError):
        source.export(5, tmp_path / "x")
    with pytest.raises(StaleEpochError):
        source.export(HERE, tmp_path / "x", epoch=EPOCH - 1)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("x")] == []


def test_the_archive_is_one_moment_although_the_writer_goes_on(source, tmp_path, monkeypatch):
    """Between two tables the writer commits into both; neither change may be seen."""
    before = source.contents(HERE)
    reached, go_on = threading.Event(), threading.Event()
    copy = exporting._copy

    def slow(connection, table, order):
        copy(connection, table, order)
        if table.name == "dead_letters":
            reached.set()
            assert go_on.wait(10)

    monkeypatch.setattr(exporting, "_copy", slow)
    thread = threading.Thread(target=source.export, args=(HERE, tmp_path / "cut"))
    thread.start()
    assert reached.wait(10)
    source.execute("DELETE FROM activity")
    source.execute("DELETE FROM timers")
    source.execute("UPDATE shard SET seq = 42")
    go_on.set()
    thread.join()
    with closing(File(tmp_path / "target.sqlite3")) as target:
        assert target.check(tmp_path / "cut").seq == 41
        target.bring_in(tmp_path / "cut")
        assert target.contents(HERE) == before


def _die_in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)  # only when it did not die where it should
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _dying(function, at):
    calls = iter(range(1, 100))

    def dies(*arguments, **options):
        if next(calls) == at:
            os._exit(0)
        return function(*arguments, **options)

    return dies


@pytest.mark.parametrize("at", [1, 2, 5, 9])
def test_an_import_that_dies_has_done_nothing(make, cut, at):
    target = make()
    target.add_rows(HERE, 7)
    before = target.contents(HERE)
    path = target.path
    target.close()

    def work():
        importing._copy = _dying(importing._copy, at)
        child = File.__new__(File)
        child.registry, child.connection = registry(), archivekit.database.connect(path)
        child.bring_in(cut, replace=True)

    _die_in_child(work)
    target.connection = archivekit.database.connect(path)
    assert target.contents(HERE) == before
    assert target.execute("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("function", ["_copy", "_run_schema", "name_when_complete"])
def test_an_export_that_dies_leaves_nothing_that_looks_like_an_archive(source, tmp_path, function):
    path = tmp_path / "cut"

    def work():
        setattr(exporting, function, _dying(getattr(exporting, function), 2 if function == "_run_schema" else 1))
        source.export(HERE, path)

    _die_in_child(work)
    assert not path.exists()
    source.export(HERE, path)
    assert source.check(path).rows == 18
