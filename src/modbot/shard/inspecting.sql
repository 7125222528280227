-- name: look
-- One line about the whole file.
SELECT shard_id, epoch, session_id, resume_url, seq,
       (SELECT count(*) FROM effects WHERE state = 'pending'),
       (SELECT count(*) FROM effects WHERE state = 'failed'),
       (SELECT count(*) FROM dead_letters),
       (SELECT count(*) FROM gaps)
FROM shard WHERE id = 1
