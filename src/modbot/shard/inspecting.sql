-- name: look
-- One line about the whole file.
SELECT shard_id, epoch, session_id, resume_url, seq,
       (SELECT count(*) FROM effects WHERE state = 'pending'),
       (SELECT count(*) FROM effects WHERE state = 'failed'),
       (SELECT count(*) FROM dead_letters),
       (SELECT count(*) FROM gaps)
FROM shard WHERE id = 1

-- name: gaps
-- What each guild's repair of each gap came to, oldest first.
SELECT r.gap_id, g.kind, g.began_at, g.ended_at, g.missing, r.guild_id, r.state, r.messages, r.entries, r.bans
FROM repairs AS r JOIN gaps AS g USING (gap_id) ORDER BY r.gap_id, r.guild_id

-- name: losses
-- What gaps took for good; the number is NULL where nobody can know it.
SELECT gap_id, guild_id, kind, place_id, reason, number FROM gap_losses ORDER BY gap_id, guild_id, kind, place_id

-- name: whereabouts
-- Where a guild is, if the file does not simply serve it.
SELECT state, transfer_id FROM transfers WHERE guild_id = ?

-- name: rows
-- The rows of one table.
SELECT count(*) FROM {table}
