-- The engine's own tables. Times are milliseconds since 1970 (UTC).

-- One row: whose file this is, under which grant it is written, and how far it has read.
CREATE TABLE shard (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    shard_id    TEXT    NOT NULL,
    epoch       INTEGER NOT NULL,
    bot_id      INTEGER,
    session_id  TEXT,
    resume_url  TEXT,
    seq         INTEGER
) STRICT;

-- What modbot wants from the outside world. (guild_id, key) derives from the cause, so a replay asks for the same row.
CREATE TABLE effects (
    effect_id   INTEGER PRIMARY KEY,
    guild_id    INTEGER NOT NULL,
    key         TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    lane        TEXT    NOT NULL,
    args        TEXT    NOT NULL,
    reply_token TEXT,
    epoch       INTEGER NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'failed')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER,
    error       TEXT
) STRICT;
CREATE UNIQUE INDEX effects_by_key ON effects (guild_id, key);
CREATE INDEX effects_pending ON effects (effect_id) WHERE state = 'pending';
CREATE INDEX effects_finished ON effects (finished_at) WHERE finished_at IS NOT NULL;

-- The journal of an effect: what each step did, so that a second run does not do it again.
CREATE TABLE effect_steps (
    guild_id    INTEGER NOT NULL,
    key         TEXT    NOT NULL,
    step        TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('started', 'done', 'rejected')),
    started_at  INTEGER NOT NULL,
    result      TEXT,
    PRIMARY KEY (guild_id, key, step)
) STRICT, WITHOUT ROWID;

-- What has to happen later.
CREATE TABLE timers (
    guild_id    INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    due_at      INTEGER NOT NULL,
    args        TEXT    NOT NULL,
    PRIMARY KEY (guild_id, name, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX timers_due ON timers (due_at);

-- Interactions that have been applied, with the first response they got. Who pressed is not kept here.
CREATE TABLE interactions (
    guild_id       INTEGER NOT NULL,
    interaction_id INTEGER NOT NULL,
    applied_at     INTEGER NOT NULL,
    response       TEXT    NOT NULL,
    PRIMARY KEY (guild_id, interaction_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX interactions_applied ON interactions (applied_at);

-- Events, timers and interactions whose handler failed: nothing is lost in silence (I9). The payload goes after an hour.
CREATE TABLE dead_letters (
    dead_letter_id INTEGER PRIMARY KEY,
    guild_id       INTEGER NOT NULL,
    cause          TEXT    NOT NULL,
    handler        TEXT    NOT NULL,
    error          TEXT    NOT NULL,
    payload        TEXT,
    failed_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX dead_letters_by_guild ON dead_letters (guild_id, failed_at);

-- Times in which Discord's stream was not followed because a session could not be resumed (I9).
CREATE TABLE gaps (
    gap_id      INTEGER PRIMARY KEY,
    session_id  TEXT    NOT NULL,
    last_seq    INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    began_at    INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT;

-- The guild snapshot: kept here because a RESUME brings no GUILD_CREATE.
CREATE TABLE guilds (
    guild_id    INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL,
    owner_id    INTEGER NOT NULL,
    own_roles   TEXT    NOT NULL,
    joined_at   INTEGER NOT NULL,
    left_at     INTEGER
) STRICT;

CREATE TABLE roles (
    guild_id    INTEGER NOT NULL,
    role_id     INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    position    INTEGER NOT NULL,
    permissions INTEGER NOT NULL,
    managed     INTEGER NOT NULL,
    PRIMARY KEY (guild_id, role_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE channels (
    guild_id    INTEGER NOT NULL,
    channel_id  INTEGER NOT NULL,
    parent_id   INTEGER,
    kind        INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    overwrites  TEXT    NOT NULL,
    PRIMARY KEY (guild_id, channel_id)
) STRICT, WITHOUT ROWID;

-- The settings of a guild and their history: who changed what from which value to which.
CREATE TABLE settings (
    guild_id    INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    value       TEXT    NOT NULL,
    PRIMARY KEY (guild_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings_history (
    guild_id    INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    old_value   TEXT,
    new_value   TEXT,
    changed_by  INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    PRIMARY KEY (guild_id, version)
) STRICT, WITHOUT ROWID;
