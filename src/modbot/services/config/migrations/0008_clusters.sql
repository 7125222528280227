-- Which database this is: what a replica store that is in its service is marked with. Another database is another cluster.
ALTER TABLE settings ADD COLUMN cluster_id uuid NOT NULL DEFAULT gen_random_uuid();
