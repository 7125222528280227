-- What a gap repair needs: how far each place was followed, what is being read back, and what could not be.

-- When the last batch was committed: until then the stream was followed.
ALTER TABLE shard ADD COLUMN followed_at INTEGER;

-- `began_at` is the last moment that was followed, `ended_at` the first one that is followed again; `missing` counts skipped numbers.
ALTER TABLE gaps ADD COLUMN kind TEXT NOT NULL DEFAULT 'session' CHECK (kind IN ('session', 'hole', 'silence'));
ALTER TABLE gaps ADD COLUMN next_session_id TEXT;
ALTER TABLE gaps ADD COLUMN next_seq INTEGER;
ALTER TABLE gaps ADD COLUMN missing INTEGER;

-- The newest message applied in a channel or thread; place 0 is the guild's audit log and its newest entry.
-- They stand still while the guild is under repair.
CREATE TABLE marks (
    guild_id    INTEGER NOT NULL,
    place_id    INTEGER NOT NULL,
    last_id     INTEGER NOT NULL,
    PRIMARY KEY (guild_id, place_id)
) STRICT, WITHOUT ROWID;

-- Who is banned, kept when a feature wants ban events; `ban_lists` says of which guilds the list is complete.
CREATE TABLE bans (
    guild_id    INTEGER NOT NULL,
    user_id     INTEGER NOT NULL,
    PRIMARY KEY (guild_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE ban_lists (
    guild_id    INTEGER PRIMARY KEY,
    read_at     INTEGER NOT NULL
) STRICT;

-- What was applied since a guild's repair began, by the stream or by the repair: the one sees what the other did.
CREATE TABLE noted (
    guild_id    INTEGER NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind IN ('message', 'edit', 'entry', 'ban', 'unban')),
    id          INTEGER NOT NULL,
    place_id    INTEGER NOT NULL,
    noted_by    TEXT    NOT NULL CHECK (noted_by IN ('stream', 'repair')),
    noted_at    INTEGER NOT NULL,
    PRIMARY KEY (guild_id, kind, id)
) STRICT, WITHOUT ROWID;

-- One guild in one gap: waiting (for its GUILD_CREATE), open (being read), done, or left (the bot is not there any more).
CREATE TABLE repairs (
    guild_id    INTEGER NOT NULL,
    gap_id      INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('waiting', 'open', 'done', 'left')),
    messages    INTEGER NOT NULL DEFAULT 0,
    entries     INTEGER NOT NULL DEFAULT 0,
    bans        INTEGER NOT NULL DEFAULT 0,
    finished_at INTEGER,
    PRIMARY KEY (guild_id, gap_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX repairs_by_gap ON repairs (gap_id);
CREATE INDEX repairs_unfinished ON repairs (guild_id) WHERE finished_at IS NULL;

-- What an open repair has to read: the list of channels, a channel's messages, the audit log, the bans. `position` is the last id read.
-- `planned` grows with every gap that asks for it: an answer that was under way at that moment may be older than the gap.
CREATE TABLE repair_sources (
    guild_id    INTEGER NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind IN ('places', 'entries', 'bans', 'messages')),
    place_id    INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'unreadable')),
    reason      TEXT,
    attempts    INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL,
    parent_id   INTEGER,
    planned     INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (guild_id, kind, place_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX repair_sources_next ON repair_sources (guild_id, kind, place_id) WHERE state = 'open';
CREATE INDEX repair_sources_due ON repair_sources (due_at) WHERE state = 'open';

-- What a gap took for good (I9). `number` is NULL where nobody can know it.
CREATE TABLE gap_losses (
    guild_id    INTEGER NOT NULL,
    gap_id      INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    place_id    INTEGER NOT NULL DEFAULT 0,
    reason      TEXT,
    number      INTEGER,
    PRIMARY KEY (guild_id, gap_id, kind, place_id)
) STRICT, WITHOUT ROWID;
