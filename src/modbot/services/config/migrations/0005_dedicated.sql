-- Guilds that have a shard of their own, and the transfers that bring them there and back.

ALTER TABLE shards ADD COLUMN retired boolean NOT NULL DEFAULT false;

-- Which shard a guild belongs to when it is not the one of the formula.
CREATE TABLE dedicated (
    guild_id bigint PRIMARY KEY,
    shard_id text NOT NULL UNIQUE REFERENCES shards (shard_id)
);

-- moving: both sides prepare. moved: the guild is the target's. finished: the target has its rows durably. cleared: the source has
-- removed them. cancelled: it never happened.
CREATE TABLE transfers (
    transfer_id bigserial PRIMARY KEY,
    guild_id bigint NOT NULL,
    source text NOT NULL REFERENCES shards (shard_id),
    target text NOT NULL REFERENCES shards (shard_id),
    state text NOT NULL DEFAULT 'moving' CHECK (state IN ('moving', 'moved', 'finished', 'cleared', 'cancelled')),
    detail text NOT NULL DEFAULT '',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);
CREATE UNIQUE INDEX transfers_under_way ON transfers (guild_id) WHERE state IN ('moving', 'moved', 'finished');

ALTER TABLE inbox ADD COLUMN guild_id bigint;

CREATE TRIGGER transfer_changed AFTER INSERT OR UPDATE ON transfers FOR EACH ROW EXECUTE FUNCTION announce_table();
CREATE TRIGGER inbox_rerouted AFTER UPDATE ON inbox FOR EACH ROW
    WHEN (NEW.shard_id <> OLD.shard_id) EXECUTE FUNCTION announce_inbox();
