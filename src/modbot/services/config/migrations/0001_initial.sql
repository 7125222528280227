-- Who lives (pods), who owns (shards), who may (permits, budgets), what waits (inbox).
-- Every time here is read by PostgreSQL's own clock_timestamp(); no member's clock is ever stored.

CREATE TABLE settings (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    shard_count integer NOT NULL CHECK (shard_count > 0),
    set_up_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE pods (
    pod_id text PRIMARY KEY,
    incarnation uuid NOT NULL UNIQUE,
    address text NOT NULL,
    capacity integer NOT NULL CHECK (capacity > 0),
    egress text NOT NULL,
    replica_store text,
    state text NOT NULL CHECK (state IN ('live', 'lost', 'left')),
    joined_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    rest_demand double precision NOT NULL DEFAULT 0 CHECK (rest_demand >= 0),
    -- The most that the pod may be using until it is heard of again: the larger of its old and its new share.
    rest_reserved double precision NOT NULL DEFAULT 0 CHECK (rest_reserved >= 0)
);

-- Every incarnation that ever was, so that an ended one can never come back.
CREATE TABLE incarnations (
    incarnation uuid PRIMARY KEY,
    pod_id text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
);

CREATE TABLE shards (
    shard_id text PRIMARY KEY,
    number integer NOT NULL CHECK (number >= 0),
    epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    owner text REFERENCES pods (pod_id),
    incarnation uuid,
    -- Who has the file: set at every grant and kept when the owner goes. Null: never served.
    last_owner text,
    replica_store text,
    freed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Not null: the last owner may have it back at once; until then nobody else is given it.
    reserved_until timestamptz,
    CHECK ((owner IS NULL) = (incarnation IS NULL)),
    CHECK ((epoch = 0) = (last_owner IS NULL))
);
CREATE INDEX shards_by_owner ON shards (owner);

CREATE TABLE shard_load (
    shard_id text PRIMARY KEY REFERENCES shards (shard_id),
    epoch bigint NOT NULL,
    guilds bigint NOT NULL,
    events_per_second double precision NOT NULL,
    lag_seconds double precision NOT NULL,
    connected boolean NOT NULL,
    reported_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE identify_keys (
    key bigint PRIMARY KEY,
    next_at timestamptz NOT NULL
);

CREATE TABLE identify_budget (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    window_ends timestamptz NOT NULL,
    remaining bigint NOT NULL,
    max_concurrency bigint NOT NULL,
    told_at timestamptz,
    asked_at timestamptz
);

CREATE TABLE invalid_requests (
    egress text NOT NULL,
    bucket timestamptz NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (egress, bucket)
);

CREATE TABLE inbox (
    position bigserial PRIMARY KEY,
    shard_id text NOT NULL REFERENCES shards (shard_id),
    interaction_id bigint NOT NULL UNIQUE,
    payload text NOT NULL,
    deferred boolean NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL DEFAULT clock_timestamp() + interval '14 minutes'
);
CREATE INDEX inbox_by_shard ON inbox (shard_id, position);
CREATE INDEX inbox_by_expiry ON inbox (expires_at);

-- Members hear of every change that matters to routing, never of a plain renewal.
CREATE FUNCTION announce_table() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('modbot_config', 'table');
    RETURN NULL;
END
$$;

CREATE FUNCTION announce_inbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('modbot_config', 'inbox:' || NEW.shard_id);
    RETURN NULL;
END
$$;

CREATE TRIGGER pod_joined AFTER INSERT ON pods FOR EACH ROW EXECUTE FUNCTION announce_table();
CREATE TRIGGER pod_changed AFTER UPDATE ON pods FOR EACH ROW
    WHEN ((OLD.incarnation, OLD.state, OLD.address) IS DISTINCT FROM (NEW.incarnation, NEW.state, NEW.address))
    EXECUTE FUNCTION announce_table();
CREATE TRIGGER shard_changed AFTER UPDATE ON shards FOR EACH ROW
    WHEN ((OLD.owner, OLD.incarnation, OLD.epoch) IS DISTINCT FROM (NEW.owner, NEW.incarnation, NEW.epoch))
    EXECUTE FUNCTION announce_table();
CREATE TRIGGER inbox_deferred_at_once AFTER INSERT ON inbox FOR EACH ROW
    WHEN (NEW.deferred) EXECUTE FUNCTION announce_inbox();
CREATE TRIGGER inbox_deferred_later AFTER UPDATE ON inbox FOR EACH ROW
    WHEN (NEW.deferred AND NOT OLD.deferred) EXECUTE FUNCTION announce_inbox();
