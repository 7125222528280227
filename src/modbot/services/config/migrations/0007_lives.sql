-- A dedicated shard that was retired and opened again begins a new life with nothing. Replicas of an earlier life are not its past.
ALTER TABLE shards ADD COLUMN born_epoch bigint NOT NULL DEFAULT 0;
