-- A message that somebody reported or tracked. `evidence` (its text and what hung on it, as JSON) is kept for 60 minutes; the entry
-- in the thread stays.
CREATE TABLE reported_messages (
    guild_id       INTEGER NOT NULL,
    message_id     INTEGER NOT NULL,
    channel_id     INTEGER NOT NULL,
    author_id      INTEGER NOT NULL,
    author_name    TEXT    NOT NULL,
    evidence       TEXT,
    kept_at        INTEGER NOT NULL,
    thread_id      INTEGER,
    log_message_id INTEGER,
    deleted_at     INTEGER,
    PRIMARY KEY (guild_id, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX reported_messages_by_author ON reported_messages (guild_id, author_id);

-- Who found it worth a report. A moderator's tracking has `staff_id`; a member's report has `reporter`, a hash that is forgotten.
CREATE TABLE reports (
    guild_id    INTEGER NOT NULL,
    report_id   INTEGER NOT NULL,
    message_id  INTEGER NOT NULL,
    author_id   INTEGER NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind IN ('report', 'track')),
    staff_id    INTEGER,
    reporter    INTEGER,
    category    TEXT,
    words       TEXT,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (guild_id, report_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX reports_once ON reports (guild_id, message_id, kind, coalesce(staff_id, reporter)) WHERE coalesce(staff_id, reporter) IS NOT NULL;
CREATE INDEX reports_by_author ON reports (guild_id, author_id, created_at);
CREATE INDEX reports_by_reporter ON reports (guild_id, reporter, created_at) WHERE reporter IS NOT NULL;
