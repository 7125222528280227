-- name: states
-- The guilds that this shard does not simply serve.
SELECT guild_id, state FROM transfers

-- name: read
-- What this file knows of the whereabouts of a guild.
SELECT state, transfer_id, seen, broken FROM transfers WHERE guild_id = ?

-- name: unsettled
-- Guilds in the middle of a transfer.
SELECT guild_id, state, transfer_id FROM transfers WHERE state <> 'away'

-- name: unrepaired
-- Whether a gap of the guild is still being repaired.
SELECT EXISTS (SELECT 1 FROM repairs WHERE guild_id = ? AND finished_at IS NULL)

-- name: put
-- Set the state of a guild under a transfer.
INSERT INTO transfers (guild_id, state, transfer_id) VALUES (?1, ?2, ?3)
ON CONFLICT (guild_id) DO UPDATE SET state = ?2, transfer_id = ?3, broken = 0

-- name: forget
-- The guild is served here like any other.
DELETE FROM transfers WHERE guild_id = ?

-- name: see
-- The session has been told of the guild, so it brings its events.
UPDATE transfers SET seen = 1 WHERE guild_id = ? AND NOT seen

-- name: see_anew
-- A new session begins: it has been told of nobody yet, and what was held before is not followed by what it brings.
UPDATE transfers SET seen = 0, broken = (state = 'holding')

-- name: break_all
-- The stream was interrupted.
UPDATE transfers SET broken = 1 WHERE state = 'holding'

-- name: record
-- Note an applied event.
INSERT INTO recorded_events (guild_id, position, hash)
SELECT ?1, coalesce(max(position), 0) + 1, ?2 FROM recorded_events WHERE guild_id = ?1

-- name: trim
-- Keep the last thousand.
DELETE FROM recorded_events WHERE guild_id = ?1
AND position <= (SELECT max(position) - 1000 FROM recorded_events WHERE guild_id = ?1)

-- name: recorded
-- The noted events in order.
SELECT hash FROM recorded_events WHERE guild_id = ? ORDER BY position

-- name: forget_recorded
-- A transfer begins or is over.
DELETE FROM recorded_events WHERE guild_id = ?

-- name: hold
-- Keep an event instead of handling it.
INSERT INTO held_events (guild_id, position, cause, name, hash, payload)
SELECT ?1, coalesce(max(position), 0) + 1, ?2, ?3, ?4, ?5 FROM held_events WHERE guild_id = ?1

-- name: held
-- The held events in order.
SELECT cause, name, payload FROM held_events WHERE guild_id = ? ORDER BY position

-- name: held_hashes
-- The same without what they say.
SELECT hash FROM held_events WHERE guild_id = ? ORDER BY position

-- name: forget_held
-- They have been applied, or belong to somebody else.
DELETE FROM held_events WHERE guild_id = ?
