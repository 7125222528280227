-- name: facts
-- Whose file this is, the epoch it was written under, and the offset.
SELECT shard_id, epoch, session_id, resume_url, seq FROM shard WHERE id = 1

-- name: holds_shard
-- A file that was just made has no tables yet.
SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'shard'

-- name: knows_arrivals
-- Files of an older version do not say how they came.
SELECT 1 FROM pragma_table_info('shard') WHERE name = 'arrived_by'

-- name: arrived_by
-- The handoff that brought the file.
SELECT arrived_by FROM shard WHERE id = 1

-- name: stamp
-- The grant under which the restored file will be served (I2).
UPDATE shard SET epoch = ? WHERE id = 1

-- name: knows_rollbacks
-- Files of an older version cannot say that they are older than what was replicated.
SELECT 1 FROM pragma_table_info('shard') WHERE name = 'rolled_back'

-- name: note_rollback
-- Told to the guilds when the file is opened.
UPDATE shard SET rolled_back = ? WHERE id = 1

-- name: forget_arrival
-- It came from the store, not by a handoff.
UPDATE shard SET arrived_by = 0 WHERE id = 1
