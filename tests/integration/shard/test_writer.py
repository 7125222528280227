"""The writer thread: what commits together, what is undone alone, what fails as a whole."""

import apsw
import pytest
import shardkit

from modbot.domain.errors import StaleEpochError
from modbot.domain.ids import Epoch, ShardId
from modbot.shard import database, migrations
from modbot.shard.writer import ShardFile, Writer

_TABLE = "CREATE TABLE things (name TEXT PRIMARY KEY, body TEXT) STRICT"
_SHARD = "CREATE TABLE shard (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL) STRICT"


@pytest.fixture
async def writer():
    writer = Writer(now=shardkit.Clock().now)
    yield writer
    await writer.close()


@pytest.fixture
def open_file(tmp_path):
    opened = []

    def make(name, epoch=1):
        connection = database.connect(tmp_path / name)
        migrations.migrate(connection, [migrations.Series("test", (_TABLE, _SHARD))])
        connection.execute("INSERT INTO shard VALUES (1, ?)", (epoch,))
        opened.append(connection)
        return ShardFile(ShardId(name), Epoch(epoch), connection, lambda _committed: None)

    yield make
    for connection in opened:
        connection.close()


def put(name, body="x"):
    return lambda tx: tx.execute("INSERT INTO things VALUES (?, ?)", (name, body))


def names(file):
    return [row[0] for row in file.connection.execute("SELECT name FROM things ORDER BY rowid")]


def hold(writer, file):
    """Occupy the thread so that what is submitted next is taken as one group; call the result to let go."""
    import threading

    gate, entered = threading.Event(), threading.Event()

    def wait(_tx):
        entered.set()
        gate.wait(5)

    future = writer.submit(file, wait)
    entered.wait(5)
    return future, gate.set


def trace(file):
    seen = []
    file.connection.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: seen.append(event["sql"]))
    return seen


async def test_what_waits_is_committed_once_per_shard_in_order(writer, open_file):
    first, second = open_file("a"), open_file("b")
    held, let_go = hold(writer, first)
    seen = [trace(first), trace(second)]
    futures = [writer.submit(file, put(f"{n}")) for n in range(5) for file in (first, second)]
    let_go()
    await held
    for future in futures:
        assert await future == 1
    assert names(first) == names(second) == ["0", "1", "2", "3", "4"]
    assert [sum(sql == "BEGIN IMMEDIATE" for sql in each) for each in seen] == [1, 1]


async def test_a_piece_of_work_that_fails_is_undone_alone(writer, open_file):
    file = open_file("a")
    held, let_go = hold(writer, file)

    def half(tx):
        tx.execute("INSERT INTO things VALUES ('half', 'x')")
        raise ValueError("in the middle")

    before, broken, after = (writer.submit(file, work) for work in (put("before"), half, put("after")))
    let_go()
    await held
    await before
    with pytest.raises(ValueError, match="in the middle"):
        await broken
    await after
    assert names(file) == ["before", "after"]


async def test_a_constraint_is_the_fault_of_the_work_and_not_of_the_file(writer, open_file):
    file = open_file("a")
    await writer.submit(file, put("one"))
    held, let_go = hold(writer, file)
    again, other = writer.submit(file, put("one")), writer.submit(file, put("two"))
    let_go()
    await held
    with pytest.raises(apsw.ConstraintError):
        await again
    await other
    assert names(file) == ["one", "two"]


async def test_a_stale_epoch_fails_the_whole_group_and_no_other_shard(writer, open_file):
    stale, fine = open_file("a"), open_file("b")
    held, let_go = hold(writer, fine)
    stale.connection.execute("UPDATE shard SET epoch = 2")
    futures = [writer.submit(stale, put("1")), writer.submit(stale, put("2"))]
    other = writer.submit(fine, put("3"))
    let_go()
    await held
    for future in futures:
        with pytest.raises(StaleEpochError):
            await future
    await other
    assert (names(stale), names(fine)) == ([], ["3"])


async def test_a_full_disk_fails_the_whole_group_and_leaves_nothing_of_it(writer, open_file):
    file = open_file("a")
    pages = file.connection.execute("PRAGMA page_count").fetchone()[0]
    file.connection.execute(f"PRAGMA max_page_count = {pages}")
    held, let_go = hold(writer, file)
    futures = [
        writer.submit(file, put("small")),
        writer.submit(file, put("large", "x" * 200_000)),
        writer.submit(file, put("later")),
    ]
    let_go()
    await held
    for future in futures:
        with pytest.raises(apsw.FullError):
            await future
    assert names(file) == []
    file.connection.execute("PRAGMA max_page_count = 100000")
    await writer.submit(file, put("after"))
    assert names(file) == ["after"]


@pytest.mark.parametrize("durable", [False, True])
async def test_durable_work_is_synced_and_only_that(writer, open_file, durable):
    file = open_file("a")

    def level(tx):
        return tx.value("PRAGMA synchronous")

    assert await writer.submit(file, level, durable=durable) == (2 if durable else 1)
    assert await writer.submit(file, level) == 1


async def test_one_durable_piece_makes_its_group_durable_even_when_another_fails(writer, open_file):
    file = open_file("a")
    held, let_go = hold(writer, file)

    def fail(_tx):
        raise KeyError("no")

    plain = writer.submit(file, lambda tx: tx.value("PRAGMA synchronous"))
    broken = writer.submit(file, fail, durable=True)
    let_go()
    await held
    assert await plain == 2
    with pytest.raises(KeyError):
        await broken
    assert file.connection.execute("PRAGMA synchronous").fetchone()[0] == 1


async def test_closing_commits_what_waits(open_file):
    writer = Writer(now=shardkit.Clock().now)
    file = open_file("a")
    future = writer.submit(file, put("last"))
    await writer.close()
    assert await future == 1
    assert names(file) == ["last"]
