-- The permanent thread of a user. `controls_id` is the message with the buttons, once it is posted.
CREATE TABLE user_threads (
    guild_id    INTEGER NOT NULL,
    user_id     INTEGER NOT NULL,
    thread_id   INTEGER NOT NULL,
    controls_id INTEGER,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (guild_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX user_threads_by_thread ON user_threads (guild_id, thread_id);
