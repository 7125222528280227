-- name: read_thread
-- A user's thread and whether its controls are posted.
SELECT thread_id, controls_id FROM user_threads WHERE guild_id = ? AND user_id = ?

-- name: remember_thread
-- A replaced thread keeps its history in Discord; new entries go to the new one.
INSERT INTO user_threads (guild_id, user_id, thread_id, created_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (guild_id, user_id) DO UPDATE SET thread_id = ?3, controls_id = NULL, created_at = ?4

-- name: remember_controls
-- The controls are posted.
UPDATE user_threads SET controls_id = ? WHERE guild_id = ? AND user_id = ? AND thread_id = ?

-- name: forget_thread
-- The thread is gone.
DELETE FROM user_threads WHERE guild_id = ? AND thread_id = ?
