-- name: is_repairing
-- Whether the stream and a repair may meet anywhere in this file.
SELECT EXISTS (SELECT 1 FROM repairs WHERE finished_at IS NULL) OR EXISTS (SELECT 1 FROM noted)

-- name: repair_state
-- Whether a guild is under repair, and whether anything is noted about it.
SELECT EXISTS (SELECT 1 FROM repairs WHERE guild_id = ?1 AND finished_at IS NULL), EXISTS (SELECT 1 FROM noted WHERE guild_id = ?1)

-- name: move_mark
-- Forward only.
INSERT INTO marks (guild_id, place_id, last_id) VALUES (?1, ?2, ?3)
ON CONFLICT (guild_id, place_id) DO UPDATE SET last_id = ?3 WHERE last_id < ?3

-- name: newest_places
-- Where somebody spoke last, unless a repair is under way: then marks stand still.
SELECT guild_id, place_id, last_id FROM marks
WHERE place_id != 0 AND NOT EXISTS (SELECT 1 FROM repairs WHERE finished_at IS NULL) ORDER BY last_id DESC LIMIT ?

-- name: noted_by
-- Who applied something since the repair began.
SELECT noted_by FROM noted WHERE guild_id = ? AND kind = ? AND id = ?

-- name: note
-- Nothing changes when it is noted already.
INSERT INTO noted (guild_id, kind, id, place_id, noted_by, noted_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (guild_id, kind, id) DO NOTHING

-- name: forget_note
-- A ban and its lifting cancel each other.
DELETE FROM noted WHERE guild_id = ? AND kind = ? AND id = ?

-- name: put_ban
-- Somebody is banned.
INSERT INTO bans (guild_id, user_id) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: drop_ban
-- Somebody is not banned any more.
DELETE FROM bans WHERE guild_id = ? AND user_id = ?
