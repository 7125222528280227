-- The handoff by which this copy of the file came to its pod; 0 for a file that was made or restored here.
ALTER TABLE shard ADD COLUMN arrived_by INTEGER NOT NULL DEFAULT 0;
