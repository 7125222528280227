-- name: read_setting
-- One setting of a guild.
SELECT value FROM settings WHERE guild_id = ? AND name = ?

-- name: write_setting
-- Set one setting of a guild.
INSERT INTO settings (guild_id, name, value) VALUES (?1, ?2, ?3)
ON CONFLICT (guild_id, name) DO UPDATE SET value = ?3

-- name: clear_setting
-- Forget one setting of a guild.
DELETE FROM settings WHERE guild_id = ? AND name = ?

-- name: record_change
-- Versions count per guild.
INSERT INTO settings_history (guild_id, version, name, old_value, new_value, changed_by, changed_at)
SELECT ?1, coalesce(max(version), 0) + 1, ?2, ?3, ?4, ?5, ?6 FROM settings_history WHERE guild_id = ?1
