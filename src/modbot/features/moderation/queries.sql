-- name: insert_action
-- Recorded before anything is done.
INSERT INTO actions
    (guild_id, action_id, target_id, target_name, actor_id, decided_by, kind, reason, seconds, state, created_at)
VALUES (?, ?, ?, ?, ?, 'moderator', ?, ?, ?, 'planned', ?) ON CONFLICT DO NOTHING

-- name: set_state
-- How it ended.
UPDATE actions SET state = ?3, error = ?4, finished_at = ?5 WHERE guild_id = ?1 AND action_id = ?2

-- name: start_action
-- It is being done.
UPDATE actions SET state = 'running' WHERE guild_id = ? AND action_id = ? AND state = 'planned'

-- name: attach_audit_entry
-- The audit log's entry for the newest action of this kind on this target that has none yet.
UPDATE actions SET audit_log_id = ?1 WHERE guild_id = ?2 AND action_id = (
    SELECT action_id FROM actions
    WHERE guild_id = ?2 AND target_id = ?3 AND kind IN (?4, ?5) AND audit_log_id IS NULL AND state IN ('running', 'done')
    ORDER BY created_at DESC LIMIT 1
)
