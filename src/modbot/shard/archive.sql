-- name: tables
-- The ordinary tables of a schema, with whether they are WITHOUT ROWID.
SELECT name, wr FROM pragma_table_list WHERE schema = ? AND type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name

-- name: columns
-- The stored columns of a table in order, their declared types, and their places in the primary key (0: not in it).
SELECT name, type, pk FROM pragma_table_xinfo(?, ?) WHERE hidden = 0 ORDER BY cid

-- name: foreign_objects
-- What an archive never has: triggers and views could act behind the back of whoever reads it.
SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%'

-- name: schema_of_shard
-- How the tables (or the indexes) of the attached shard file were made.
SELECT sql FROM shard_file.sqlite_schema WHERE type = ? AND sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY name

-- name: identity_of_shard
-- Whose file the attached one is, under which epoch it was written last, and its offset.
SELECT shard_id, epoch, session_id, seq FROM shard_file.shard WHERE id = 1

-- name: copy_versions
-- The versions of the components, so that an older archive can be migrated like a shard file.
INSERT INTO main.migrations SELECT component, version FROM shard_file.migrations

-- name: versions
-- The versions of the components in an archive.
SELECT component, version FROM main.migrations ORDER BY component

-- name: copy_out
-- The rows of one guild, in the order of their key, into the archive.
INSERT INTO main.{table} ({columns}) SELECT {values} FROM shard_file.{table} WHERE guild_id = ? ORDER BY {order}

-- name: rows
-- Every row of a table of an archive in the order of its key: what the checksum is made of.
SELECT {columns} FROM main.{table} ORDER BY {order}

-- name: foreign_rows
-- Rows of another guild have no business in an archive.
SELECT count(*) FROM main.{table} WHERE guild_id <> ?

-- name: count_any
-- Rows of a table whatever their guild.
SELECT count(*) FROM main.{table}

-- name: create_manifest
-- The last thing that is written into an archive: without it the file is half an archive.
CREATE TABLE archive (id INTEGER PRIMARY KEY CHECK (id = 1), manifest TEXT NOT NULL, checksum TEXT NOT NULL) STRICT

-- name: write_manifest
-- What the archive says of itself.
INSERT INTO archive (id, manifest, checksum) VALUES (1, ?, ?)

-- name: read_manifest
-- What the archive says of itself.
SELECT manifest, checksum FROM archive WHERE id = 1

-- name: guild_rows
-- How many rows a guild has in a table of the shard file.
SELECT count(*) FROM main.{table} WHERE guild_id = ?

-- name: delete_rows
-- The rows of a guild make room for those of an archive, or have gone elsewhere.
DELETE FROM main.{table} WHERE guild_id = ?

-- name: copy_in
-- The rows of the attached archive. Integer row ids are left out: they belong to the file, and this one gives new ones, in order.
INSERT INTO main.{table} ({columns}) SELECT {columns} FROM archive_file.{table} ORDER BY {order}

-- name: copy_in_missing
-- The same for a table in which both sides may have a row: what is here already stays.
INSERT INTO main.{table} ({columns}) SELECT {columns} FROM archive_file.{table} WHERE true ORDER BY {order} ON CONFLICT DO NOTHING

-- name: adopt_effects
-- Effects belong to the owner that will carry them out.
UPDATE main.effects SET epoch = ?1 WHERE guild_id = ?2 AND state = 'pending'

-- name: end_effects
-- Effects that were pending when a copy for people was cut: its original has carried them out, a second time would be once too often.
UPDATE main.effects SET state = 'failed', error = 'not carried out: pending in an imported copy', finished_at = ?1
WHERE guild_id = ?2 AND state = 'pending'

-- name: pending_keys
-- Effects of a guild that nobody has carried out yet.
SELECT key FROM main.effects WHERE guild_id = ? AND state = 'pending'

-- name: first_timer
-- When the first timer of a guild is due.
SELECT min(due_at) FROM main.timers WHERE guild_id = ?
