-- Every action of modbot: who asked, what decided, on whom, why, and how it went. Recorded before it is done.
CREATE TABLE actions (
    guild_id     INTEGER NOT NULL,
    action_id    INTEGER NOT NULL,
    target_id    INTEGER NOT NULL,
    target_name  TEXT    NOT NULL,
    actor_id     INTEGER NOT NULL,
    decided_by   TEXT    NOT NULL CHECK (decided_by IN ('moderator', 'vote', 'rule')),
    kind         TEXT    NOT NULL CHECK (kind IN ('kick', 'ban', 'ban_delete', 'timeout')),
    reason       TEXT    NOT NULL,
    seconds      INTEGER,
    state        TEXT    NOT NULL CHECK (state IN ('planned', 'running', 'done', 'failed', 'undone')),
    error        TEXT,
    audit_log_id INTEGER,
    created_at   INTEGER NOT NULL,
    finished_at  INTEGER,
    PRIMARY KEY (guild_id, action_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX actions_by_target ON actions (guild_id, target_id, created_at);
