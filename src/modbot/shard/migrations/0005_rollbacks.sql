-- Why a restored file is older than what was known to be replicated; NULL once the guilds have been told.
ALTER TABLE shard ADD COLUMN rolled_back TEXT;

-- Falling back to an older replica is one more kind of gap.
CREATE TABLE gaps_of_all_kinds (
    gap_id          INTEGER PRIMARY KEY,
    session_id      TEXT    NOT NULL,
    last_seq        INTEGER NOT NULL,
    reason          TEXT    NOT NULL,
    began_at        INTEGER NOT NULL,
    ended_at        INTEGER,
    kind            TEXT    NOT NULL DEFAULT 'session' CHECK (kind IN ('session', 'hole', 'silence', 'rollback')),
    next_session_id TEXT,
    next_seq        INTEGER,
    missing         INTEGER
) STRICT;
INSERT INTO gaps_of_all_kinds SELECT gap_id, session_id, last_seq, reason, began_at, ended_at, kind, next_session_id, next_seq, missing FROM gaps;
DROP TABLE gaps;
ALTER TABLE gaps_of_all_kinds RENAME TO gaps;
