-- After an outage nobody is punished, and nobody is given what a pod in failsafe mode may still be acting for.

CREATE TABLE sweeps (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- The last sweep that could conclude something from a pod's silence.
    last_at timestamptz NOT NULL,
    -- When the PostgreSQL server started that this sweep ran on: another start means a restart or a failover, and maybe another clock.
    server timestamptz NOT NULL,
    -- When the last outage ended. Null: there was none.
    resumed_at timestamptz
);

-- Numbers every answer to a pod, so that what was said before and after can be told apart without any clock.
CREATE SEQUENCE answers;

ALTER TABLE pods
    ADD COLUMN lease_seconds double precision NOT NULL DEFAULT 0,
    ADD COLUMN heard_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN failsafe boolean NOT NULL DEFAULT false,
    -- The number of the answer to this incarnation's first registration, and of the last answer that it is known to have received.
    ADD COLUMN joined_no bigint NOT NULL DEFAULT 0,
    ADD COLUMN acked_no bigint NOT NULL DEFAULT 0;

-- Shards whose owner was lost while it may go on in failsafe mode. A row counts until a later owner
-- has opened the shard, and is deleted when who lost it has surely stopped.
CREATE TABLE losses (
    shard_id text PRIMARY KEY REFERENCES shards (shard_id),
    epoch bigint NOT NULL,
    -- Who lost it; null: several, one after the other, and nobody opened it in between.
    pod_id text,
    lease_until timestamptz NOT NULL,
    lease_seconds double precision NOT NULL,
    -- Taken after the lease had run out: a later answer was given later.
    number bigint NOT NULL,
    -- Who lost it knows every pod that joined before this number.
    knew bigint NOT NULL,
    -- When it was known that one of those pods has received an answer later than `number`.
    witnessed_at timestamptz
);

CREATE VIEW open_losses AS
SELECT * FROM losses AS l
WHERE NOT EXISTS (SELECT FROM shard_load AS opened WHERE opened.shard_id = l.shard_id AND opened.epoch > l.epoch);
