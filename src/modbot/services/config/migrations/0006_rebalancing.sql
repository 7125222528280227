-- The rebalancer: what people decided about pods and rounds, slow means of the load, and why shards moved.

ALTER TABLE settings ADD COLUMN rebalance_asked boolean NOT NULL DEFAULT false;

-- `draining` belongs to an incarnation that is about to stop; this is an operator's word and outlives restarts.
ALTER TABLE pods ADD COLUMN cordoned boolean NOT NULL DEFAULT false;

-- The slow mean of events_per_second. It outlives owners, so that a restart does not look like an idle shard.
ALTER TABLE shard_load ADD COLUMN usual_events double precision NOT NULL DEFAULT 0;
UPDATE shard_load SET usual_events = events_per_second;

ALTER TABLE moves ADD COLUMN cause text NOT NULL DEFAULT 'operator';
CREATE INDEX moves_by_end ON moves (finished_at);
CREATE INDEX moves_by_beginning ON moves (started_at);

DROP TRIGGER pod_changed ON pods;
CREATE TRIGGER pod_changed AFTER UPDATE ON pods FOR EACH ROW
    WHEN ((OLD.incarnation, OLD.state, OLD.address, OLD.draining, OLD.cordoned)
          IS DISTINCT FROM (NEW.incarnation, NEW.state, NEW.address, NEW.draining, NEW.cordoned))
    EXECUTE FUNCTION announce_table();
