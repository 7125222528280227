-- Guilds that this shard does not simply serve. `recording`: served, and its events are noted for the shard that is to have it. `cut`: no
-- longer served, what comes is held in case the transfer is given up. `away`: another shard's. `holding`: to come here, what comes is held.
-- `seen`: this session has been told of the guild. `broken`: the session was interrupted since the holding began.
CREATE TABLE transfers (
    guild_id    INTEGER PRIMARY KEY,
    state       TEXT    NOT NULL CHECK (state IN ('recording', 'cut', 'away', 'holding')),
    transfer_id INTEGER NOT NULL,
    seen        INTEGER NOT NULL DEFAULT 0,
    broken      INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Content hashes of the last events that were applied for a guild, in order.
CREATE TABLE recorded_events (
    guild_id    INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    hash        INTEGER NOT NULL,
    PRIMARY KEY (guild_id, position)
) STRICT, WITHOUT ROWID;

-- Events that were received for a guild and not handled, in order. No hash: what is sent to one session only.
CREATE TABLE held_events (
    guild_id    INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    cause       TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    hash        INTEGER,
    payload     BLOB    NOT NULL,
    PRIMARY KEY (guild_id, position)
) STRICT, WITHOUT ROWID;
