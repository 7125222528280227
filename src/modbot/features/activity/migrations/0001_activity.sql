-- One row per message of a person. `code` is a JSON list of (language, blocks, chars, words, lines), `hosts` a JSON list.
CREATE TABLE activity (
    guild_id    INTEGER NOT NULL,
    message_id  INTEGER NOT NULL,
    channel_id  INTEGER NOT NULL,
    author_id   INTEGER NOT NULL,
    sent_at     INTEGER NOT NULL,
    chars       INTEGER NOT NULL,
    words       INTEGER NOT NULL,
    code        TEXT,
    hosts       TEXT,
    attachments INTEGER NOT NULL,
    reply_to    INTEGER,
    reactions   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (guild_id, message_id)
) STRICT, WITHOUT ROWID;

-- Who reacted with what: reactions may toggle and repeat, a set cannot be counted twice.
CREATE TABLE activity_reactions (
    guild_id    INTEGER NOT NULL,
    message_id  INTEGER NOT NULL,
    emoji       TEXT    NOT NULL,
    user_id     INTEGER NOT NULL,
    PRIMARY KEY (guild_id, message_id, emoji, user_id)
) STRICT, WITHOUT ROWID;
