CREATE TABLE notes (
    note_id        INTEGER PRIMARY KEY AUTOINCREMENT,
    guild_id       INTEGER NOT NULL,
    interaction_id INTEGER NOT NULL
) STRICT;

CREATE TABLE ballast (
    number INTEGER PRIMARY KEY,
    body   BLOB NOT NULL
) STRICT;
