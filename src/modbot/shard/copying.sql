-- What a copy of a shard file is checked by.

-- name: page_counts
-- The size of a page in bytes and the number of pages, as the reader's snapshot sees it.
SELECT page_size, page_count FROM pragma_page_size, pragma_page_count

-- name: identity
-- Whose file this is, under which grant it was written, and how far it has read.
SELECT shard_id, epoch, session_id, seq FROM shard WHERE id = 1

-- name: mark_arrived
-- This copy came to its pod by a handoff.
UPDATE shard SET arrived_by = ?1 WHERE id = 1
