-- name: next_source
-- What to read next: one guild after the other (the plus keeps SQLite from sorting all that is due).
SELECT guild_id, kind, place_id, position, attempts, parent_id, planned FROM repair_sources WHERE state = 'open' AND +due_at <= ?
ORDER BY guild_id, kind, place_id LIMIT 1

-- name: next_due
-- When a postponed source may be tried again.
SELECT min(due_at) FROM repair_sources WHERE state = 'open'

-- name: unfinished
-- How many guilds are under repair.
SELECT count(DISTINCT guild_id) FROM repairs WHERE finished_at IS NULL

-- name: still
-- A source may have been planned anew or dropped while it was read.
SELECT 1 FROM repair_sources WHERE guild_id = ?1 AND kind = ?2 AND place_id = ?3 AND position = ?4 AND planned = ?5 AND state = 'open'

-- name: advance
-- What was read is applied; nothing is left to read when the state says so.
UPDATE repair_sources SET position = ?4, state = ?5, attempts = 0 WHERE guild_id = ?1 AND kind = ?2 AND place_id = ?3

-- name: settle
-- Nothing more will be read here, and why.
UPDATE repair_sources SET state = ?4, reason = ?5 WHERE guild_id = ?1 AND kind = ?2 AND place_id = ?3

-- name: postpone
-- Try again later.
UPDATE repair_sources SET attempts = ?4, due_at = ?5, reason = ?6 WHERE guild_id = ?1 AND kind = ?2 AND place_id = ?3 AND state = 'open'

-- name: count_recovered
-- For the oldest gap that the guild's repair fills.
UPDATE repairs SET messages = messages + ?2, entries = entries + ?3, bans = bans + ?4
WHERE guild_id = ?1 AND gap_id = (SELECT min(gap_id) FROM repairs WHERE guild_id = ?1 AND finished_at IS NULL)

-- name: take_edits
-- Messages of a page that were edited after it was asked for: the second parameter is a JSON list.
DELETE FROM noted WHERE guild_id = ? AND kind = 'edit' AND id IN (SELECT value FROM json_each(?))

-- name: bans_are_known
-- Whether the file has a complete list of bans.
SELECT 1 FROM ban_lists WHERE guild_id = ?

-- name: remember_ban_list
-- From now on differences are changes.
INSERT INTO ban_lists (guild_id, read_at) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: bans_between
-- Known bans of a range of user ids, both ends excluded and included.
SELECT user_id FROM bans WHERE guild_id = ? AND user_id > ? AND user_id <= ?
