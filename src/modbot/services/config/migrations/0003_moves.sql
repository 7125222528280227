-- Shards move: who a shard is handed to, since when its owner has its data, and what pods are like.

ALTER TABLE settings ADD COLUMN moves_paused boolean NOT NULL DEFAULT false;

ALTER TABLE pods
    ADD COLUMN labels jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN draining boolean NOT NULL DEFAULT false,
    ADD COLUMN first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp();

ALTER TABLE shards
    -- The first epoch of the last owner's unbroken ownership, and the handoff that it began with (0: another way).
    ADD COLUMN since_epoch bigint NOT NULL DEFAULT 0,
    ADD COLUMN since_move bigint NOT NULL DEFAULT 0,
    -- A handoff under way. It ends by one guarded update, which either makes the target the owner or clears these.
    ADD COLUMN target text REFERENCES pods (pod_id),
    ADD COLUMN target_incarnation uuid,
    ADD COLUMN move_id bigint,
    -- Where people want it: a pod's name, or a label such as zone=a. Null: anywhere.
    ADD COLUMN pin text,
    ADD CHECK ((target IS NULL) = (move_id IS NULL)),
    ADD CHECK ((target IS NULL) = (target_incarnation IS NULL)),
    ADD CHECK (target IS NULL OR owner IS NOT NULL);

ALTER TABLE shard_load
    ADD COLUMN rows bigint NOT NULL DEFAULT 0,
    ADD COLUMN file_bytes bigint NOT NULL DEFAULT 0,
    ADD COLUMN replica_lag double precision,
    ADD COLUMN replicated_seq bigint NOT NULL DEFAULT 0;

-- Every handoff, for people and for the budget of moves.
CREATE TABLE moves (
    move_id bigserial PRIMARY KEY,
    shard_id text NOT NULL REFERENCES shards (shard_id),
    source text NOT NULL,
    target text NOT NULL,
    epoch bigint NOT NULL,
    reason text NOT NULL,
    state text NOT NULL DEFAULT 'moving' CHECK (state IN ('moving', 'done', 'cancelled')),
    detail text NOT NULL DEFAULT '',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);
CREATE INDEX moves_under_way ON moves (shard_id) WHERE state = 'moving';

DROP TRIGGER shard_changed ON shards;
CREATE TRIGGER shard_changed AFTER UPDATE ON shards FOR EACH ROW
    WHEN ((OLD.owner, OLD.incarnation, OLD.epoch, OLD.move_id) IS DISTINCT FROM (NEW.owner, NEW.incarnation, NEW.epoch, NEW.move_id))
    EXECUTE FUNCTION announce_table();
DROP TRIGGER pod_changed ON pods;
CREATE TRIGGER pod_changed AFTER UPDATE ON pods FOR EACH ROW
    WHEN ((OLD.incarnation, OLD.state, OLD.address, OLD.draining)
          IS DISTINCT FROM (NEW.incarnation, NEW.state, NEW.address, NEW.draining))
    EXECUTE FUNCTION announce_table();
