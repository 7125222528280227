"""Shard files without an engine, for the tests of archives: a schema, some rows, and an import in one hand-made transaction."""

from datetime import UTC, datetime
from pathlib import Path

from modbot.domain.ids import Epoch, GuildId, ShardId
from modbot.features import all_features
from modbot.shard import archive, database, exporting, guild_tables, importing, migrations
from modbot.shard.archive import Purpose
from modbot.shard.registry import Registry
from modbot.shard.transaction import Transaction

NOW = datetime(2026, 5, 1, tzinfo=UTC)
HERE, THERE = GuildId(1 << 40), GuildId(1 << 41)
EPOCH = Epoch(3)
THINGS = (
    "CREATE TABLE things (guild_id INTEGER NOT NULL, name TEXT NOT NULL, number INTEGER, size REAL, raw BLOB, any_thing ANY, "
    "PRIMARY KEY (guild_id, name)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE notes (note_id INTEGER PRIMARY KEY, guild_id INTEGER NOT NULL, text TEXT) STRICT;"
    "CREATE INDEX notes_by_guild ON notes (guild_id)"
)


def registry(*scripts):
    """Return all features and a component `things` with tables of its own."""
    made = Registry(all_features())
    made.series.append(migrations.Series("things", scripts or (THINGS,)))
    return made


class File:
    """A shard file."""

    def __init__(self, path: Path, shard="3-of-16", known=None):
        self.path = path
        self.registry = known or registry()
        self.connection = database.connect(path)
        migrations.migrate(self.connection, self.registry.series)
        self.connection.execute(
            "INSERT INTO shard (id, shard_id, epoch, session_id, resume_url, seq) VALUES (1, ?, ?, 's', 'wss://x', 41)",
            (ShardId(shard), EPOCH),
        )

    def close(self):
        self.connection.close()

    def execute(self, sql, bindings=()):
        return self.connection.execute(sql, bindings).fetchall()

    def add_rows(self, guild_id, count=3):
        """Rows in tables of every shape."""
        for number in range(count):
            self.execute("INSERT INTO settings VALUES (?, ?, ?)", (guild_id, f"name{number}", f"värde {number}"))
            self.execute(
                "INSERT INTO activity VALUES (?, ?, 1, 2, 3, 4, 5, NULL, NULL, 0, NULL, 0)", (guild_id, number)
            )
            self.execute("INSERT INTO notes (guild_id, text) VALUES (?, ?)", (guild_id, f"note {number}"))
            self.execute(
                "INSERT INTO timers (guild_id, name, key, due_at, args) VALUES (?, 't', ?, ?, '{}')",
                (guild_id, str(number), 1000 + number),
            )
            self.execute(
                "INSERT INTO effects (guild_id, key, name, lane, args, reply_token, epoch, due_at, created_at) "
                "VALUES (?, ?, 'x.y', 'l', '{}', 'secret-token', 1, 5, 5)",
                (guild_id, f"k{number}"),
            )
            self.execute(
                "INSERT INTO dead_letters (guild_id, cause, handler, error, payload, failed_at) VALUES (?, 'c', 'h', 'e', 'text', ?)",
                (guild_id, number),
            )

    def export(self, guild_id, target, *, purpose=Purpose.TRANSFER, epoch=EPOCH):
        order = exporting.Order(
            source=self.path,
            epoch=epoch,
            guild_id=guild_id,
            purpose=purpose,
            withheld=self.registry.withheld,
            now=NOW,
        )
        return exporting.export(order, target)

    def check(self, path, guild_id=None):
        return archive.check(path, guild_id=guild_id, versions=self.registry.versions)

    def bring_in(self, path, *, replace=False):
        """Check, migrate and import like `archives.import_guild`, in one transaction."""
        manifest = self.check(path)
        importing.migrate(path, self.registry.series)
        self.connection.execute("BEGIN IMMEDIATE")
        tx = Transaction(self.connection, now=NOW, epoch=EPOCH)
        try:
            done = importing.bring_in(tx, path, manifest, replace=replace)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        else:
            self.connection.execute("COMMIT")
        finally:
            for schema in tx.attached:
                self.connection.execute("DETACH " + schema)
        return done

    def contents(self, guild_id, *, without=("epoch",)):
        """Return the rows of a guild by table, without what belongs to the file."""
        found = {}
        for table in guild_tables.find(guild_tables.reader(self.connection)):
            columns = ", ".join(guild_tables.quoted(each) for each in table.movable if each not in without)
            order = ", ".join(guild_tables.quoted(each) for each in table.order)
            rows = self.execute(f"SELECT {columns} FROM {table.name} WHERE guild_id = ? ORDER BY {order}", (guild_id,))
            if rows:
                found[table.name] = rows
        return found
