-- name: has_shard
-- A new file has no tables yet.
SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'shard'

-- name: read_shard
-- Whose file this is, the epoch it is written under, and the offset.
SELECT shard_id, epoch, session_id, resume_url, seq FROM shard WHERE id = 1

-- name: create_shard
-- First row of a new file.
INSERT INTO shard (id, shard_id, epoch) VALUES (1, ?, ?)

-- name: await_guild
-- A new dedicated shard passes its guild's events over until a transfer brings it.
INSERT INTO transfers (guild_id, state, transfer_id) VALUES (?, 'away', 0) ON CONFLICT DO NOTHING

-- name: claim
-- Stamp a newer grant; changes nothing when the file has seen a newer one already (I2).
UPDATE shard SET epoch = ?1 WHERE id = 1 AND epoch <= ?1

-- name: read_epoch
-- Compared in every write transaction (I2).
SELECT epoch FROM shard WHERE id = 1

-- name: read_session
-- The session whose dispatches come first in a batch.
SELECT session_id FROM shard WHERE id = 1

-- name: store_offset
-- The offset rule: in the same transaction as the effects of the events (I3).
UPDATE shard SET session_id = ?, resume_url = ?, seq = ?, followed_at = ? WHERE id = 1

-- name: store_bot
-- Our own user id, as READY says it.
UPDATE shard SET bot_id = ? WHERE id = 1

-- name: forget_session
-- Discord has refused the session; there is nothing to resume.
UPDATE shard SET session_id = NULL, resume_url = NULL, seq = NULL WHERE id = 1

-- name: insert_effect
-- Nothing is returned when the same key was asked for before.
INSERT INTO effects (guild_id, key, name, lane, args, reply_token, epoch, due_at, created_at, trace)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (guild_id, key) DO NOTHING RETURNING effect_id

-- name: pending_effects
-- What a new owner finds to do, in order.
SELECT effect_id, guild_id, key, name, lane, args, reply_token, attempts, due_at, created_at, trace FROM effects
WHERE state = 'pending' AND guild_id NOT IN (SELECT guild_id FROM transfers WHERE state <> 'recording')
ORDER BY effect_id

-- name: pending_of_guild
-- What there is to do for one guild, in order.
SELECT effect_id, guild_id, key, name, lane, args, reply_token, attempts, due_at, created_at, trace FROM effects
WHERE guild_id = ? AND state = 'pending' AND guild_id NOT IN (SELECT guild_id FROM transfers WHERE state <> 'recording')
ORDER BY effect_id

-- name: finish_effect
-- Done or failed, once.
UPDATE effects SET state = ?, error = ?, finished_at = ?, reply_token = NULL, trace = NULL WHERE effect_id = ? AND state = 'pending'

-- name: postpone_effect
-- Try again later.
UPDATE effects SET attempts = ?, due_at = ?, error = ? WHERE effect_id = ? AND state = 'pending'

-- name: read_steps
-- What the journal knows about an effect.
SELECT step, state, started_at, result FROM effect_steps WHERE guild_id = ? AND key = ?

-- name: start_step
-- The intent, before the call.
INSERT INTO effect_steps (guild_id, key, step, state, started_at) VALUES (?, ?, ?, 'started', ?)
ON CONFLICT (guild_id, key, step) DO NOTHING

-- name: finish_step
-- The result, after the call.
INSERT INTO effect_steps (guild_id, key, step, state, started_at, result) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (guild_id, key, step) DO UPDATE SET state = ?4, result = ?6

-- name: forget_steps
-- The journal of effects that finished long ago.
DELETE FROM effect_steps WHERE (guild_id, key) IN (SELECT guild_id, key FROM effects WHERE finished_at < ?)

-- name: forget_effects
-- Effects that finished long ago. Until then a replay of their cause finds the row and asks for nothing.
DELETE FROM effects WHERE finished_at < ?

-- name: set_timer
-- One timer per key.
INSERT INTO timers (guild_id, name, key, due_at, args) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (guild_id, name, key) DO UPDATE SET due_at = ?4, args = ?5

-- name: cancel_timer
-- Whoever set it does not want it any more, or it has fired.
DELETE FROM timers WHERE guild_id = ? AND name = ? AND key = ?

-- name: take_timer
-- A timer fires as it was when it was found due.
DELETE FROM timers WHERE guild_id = ? AND name = ? AND key = ? AND due_at = ?

-- name: due_timers
-- The next timers to fire, the oldest first; those of a guild that is being transferred wait.
SELECT guild_id, name, key, due_at, args FROM timers
WHERE due_at <= ? AND guild_id NOT IN (SELECT guild_id FROM transfers WHERE state <> 'recording')
ORDER BY due_at LIMIT 200

-- name: next_timer
-- When to look again.
SELECT min(due_at) FROM timers WHERE guild_id NOT IN (SELECT guild_id FROM transfers WHERE state <> 'recording')

-- name: read_interaction
-- The response that was given before, if this interaction was applied.
SELECT response FROM interactions WHERE guild_id = ? AND interaction_id = ?

-- name: insert_interaction
-- Together with everything that its handler wrote.
INSERT INTO interactions (guild_id, interaction_id, applied_at, response) VALUES (?, ?, ?, ?)

-- name: forget_interactions
-- A token lives 15 minutes; nobody sends the interaction again after that.
DELETE FROM interactions WHERE applied_at < ?

-- name: insert_dead_letter
-- What a handler could not do (I9).
INSERT INTO dead_letters (guild_id, cause, handler, error, payload, failed_at) VALUES (?, ?, ?, ?, ?, ?)

-- name: forget_dead_payloads
-- Message text is kept for an hour at most.
UPDATE dead_letters SET payload = NULL WHERE payload IS NOT NULL AND failed_at < ?

-- name: counts
-- What the pod reports about the shard.
SELECT (SELECT count(*) FROM guilds WHERE left_at IS NULL), (SELECT count(*) FROM effects WHERE state = 'pending'),
       (SELECT count(*) FROM dead_letters), (SELECT count(*) FROM gaps)
