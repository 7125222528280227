CREATE TABLE ledger (
    entry_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    cause      TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    message_id INTEGER NOT NULL,
    channel_id INTEGER NOT NULL
) STRICT;
