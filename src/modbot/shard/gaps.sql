-- name: open_gap
-- The session is gone: what came after `last_seq` is not replayed. The stream was followed until the last commit, or until it fell silent.
INSERT INTO gaps (kind, session_id, last_seq, reason, began_at)
SELECT ?1, ?2, ?3, ?4, min(coalesce(followed_at, ?5), coalesce(?6, ?5)) FROM shard WHERE id = 1 RETURNING gap_id

-- name: record_rollback
-- The file is older than what was replicated: what was asked of modbot since its last batch may be gone, until now. No row when it is not.
INSERT INTO gaps (kind, session_id, last_seq, reason, began_at, ended_at)
SELECT 'rollback', coalesce(session_id, ''), coalesce(seq, 0), rolled_back, coalesce(followed_at, ?1), ?1 FROM shard
WHERE id = 1 AND rolled_back IS NOT NULL RETURNING gap_id, began_at

-- name: note_rollback_everywhere
-- Nothing can be read back, so no guild has to wait.
INSERT INTO repairs (guild_id, gap_id, state, finished_at) SELECT guild_id, ?, 'done', ? FROM guilds WHERE left_at IS NULL RETURNING guild_id

-- name: forget_rollback
-- It is a gap now.
UPDATE shard SET rolled_back = NULL WHERE id = 1

-- name: record_loss_of
-- What one gap took from one guild.
INSERT INTO gap_losses (guild_id, gap_id, kind) VALUES (?, ?, ?)

-- name: record_hole
-- Numbers that never came within a session that went on.
INSERT INTO gaps (kind, session_id, last_seq, reason, began_at, ended_at, next_session_id, next_seq, missing)
SELECT 'hole', ?1, ?2, ?3, coalesce(followed_at, ?4), ?4, ?1, ?5, ?6 FROM shard WHERE id = 1 RETURNING gap_id, began_at

-- name: close_gaps
-- A new session follows the stream again.
UPDATE gaps SET ended_at = ?, next_session_id = ?, next_seq = ? WHERE ended_at IS NULL

-- name: repair_every_guild
-- Every guild that is there may have missed something.
INSERT INTO repairs (guild_id, gap_id, state) SELECT guild_id, ?, ? FROM guilds WHERE left_at IS NULL

-- name: open_all_repairs
-- Nothing more to wait for: the places are asked for.
UPDATE repairs SET state = 'open' WHERE state = 'waiting'

-- name: add_source_everywhere
-- For every guild under repair; a source that was read is read again from where it ended.
INSERT INTO repair_sources (guild_id, kind, place_id, position, due_at)
SELECT DISTINCT r.guild_id, ?1, 0, coalesce((SELECT m.last_id FROM marks AS m WHERE ?1 = 'entries' AND m.guild_id = r.guild_id AND m.place_id = 0), ?2), ?3
FROM repairs AS r WHERE r.finished_at IS NULL
ON CONFLICT (guild_id, kind, place_id) DO UPDATE SET
    state = 'open', position = CASE kind WHEN 'bans' THEN 0 ELSE position END, attempts = 0, planned = planned + 1, due_at = ?3

-- name: leave_absent
-- The bot is not in these guilds any more.
UPDATE repairs SET state = 'left', finished_at = ? WHERE finished_at IS NULL
AND guild_id IN (SELECT guild_id FROM guilds WHERE left_at IS NOT NULL)

-- name: drop_absent_marks
-- A guild that is joined again begins anew.
DELETE FROM marks WHERE guild_id IN (SELECT guild_id FROM guilds WHERE left_at IS NOT NULL)

-- name: drop_absent_notes
-- See above.
DELETE FROM noted WHERE guild_id IN (SELECT guild_id FROM guilds WHERE left_at IS NOT NULL)

-- name: drop_absent_sources
-- See above.
DELETE FROM repair_sources WHERE guild_id IN (SELECT guild_id FROM guilds WHERE left_at IS NOT NULL)

-- name: drop_absent_ban_lists
-- See above.
DELETE FROM ban_lists WHERE guild_id IN (SELECT guild_id FROM guilds WHERE left_at IS NOT NULL)

-- name: unfinished_since
-- Since when this guild's stream was not followed; NULL when it is not under repair.
SELECT min(g.began_at) FROM repairs AS r JOIN gaps AS g USING (gap_id) WHERE r.guild_id = ? AND r.finished_at IS NULL

-- name: open_repairs
-- The guild's channels are known: reading may begin.
UPDATE repairs SET state = 'open' WHERE guild_id = ? AND state = 'waiting'

-- name: marks
-- How far each place of a guild was followed.
SELECT place_id, last_id FROM marks WHERE guild_id = ?

-- name: begin_mark
-- A place that is seen for the first time is followed from here on.
INSERT INTO marks (guild_id, place_id, last_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- name: drop_old_marks
-- Places that are not listed any more and have been silent for long; the third parameter is a JSON list of places.
DELETE FROM marks WHERE guild_id = ?1 AND last_id < ?2 AND place_id NOT IN (SELECT value FROM json_each(?3)) AND place_id != 0

-- name: add_source
-- Something to read back; what was read before is read again from where it ended, the bans from their beginning.
INSERT INTO repair_sources (guild_id, kind, place_id, position, due_at, parent_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (guild_id, kind, place_id) DO UPDATE SET
    state = 'open', position = CASE kind WHEN 'bans' THEN 0 ELSE position END, attempts = 0, planned = planned + 1, due_at = ?5

-- name: unread_sources
-- What a guild's repair still waits for.
SELECT (SELECT count(*) FROM repair_sources WHERE guild_id = ?1 AND state = 'open') + (SELECT count(*) FROM repairs WHERE guild_id = ?1 AND state = 'waiting')

-- name: move_marks_to_notes
-- All before the newest note of the stream is applied by now.
INSERT INTO marks (guild_id, place_id, last_id)
SELECT guild_id, place_id, max(id) FROM noted WHERE guild_id = ? AND noted_by = 'stream' AND kind IN ('message', 'entry') GROUP BY guild_id, place_id
ON CONFLICT (guild_id, place_id) DO UPDATE SET last_id = excluded.last_id WHERE last_id < excluded.last_id

-- name: drop_stream_notes
-- Only the stream may still meet what the repair applied.
DELETE FROM noted WHERE guild_id = ? AND noted_by = 'stream'

-- name: record_loss
-- For every gap that ends here.
INSERT INTO gap_losses (guild_id, gap_id, kind) SELECT guild_id, gap_id, ?2 FROM repairs WHERE guild_id = ?1 AND state = 'open'
ON CONFLICT DO NOTHING

-- name: record_unreadable
-- Places that could not be read, each as a loss of one, for every gap that ends here. Bans and audit log have kinds of their own.
INSERT INTO gap_losses (guild_id, gap_id, kind, place_id, reason, number)
SELECT r.guild_id, r.gap_id, CASE s.kind WHEN 'entries' THEN 'audit log' WHEN 'bans' THEN 'bans' ELSE 'unreadable channels' END,
       s.place_id, s.reason, CASE s.kind WHEN 'messages' THEN 1 END
FROM repairs AS r JOIN repair_sources AS s USING (guild_id)
WHERE r.guild_id = ? AND r.state = 'open' AND s.state = 'unreadable' ON CONFLICT DO NOTHING

-- name: told
-- The gaps that end here, as one.
SELECT max(g.kind), min(g.began_at), max(g.ended_at), sum(r.messages), sum(r.entries), sum(r.bans), min(g.gap_id)
FROM repairs AS r JOIN gaps AS g USING (gap_id) WHERE r.guild_id = ? AND r.state = 'open'

-- name: losses_told
-- Kinds of loss of the gaps that end here, with how many of each where that is known.
SELECT kind, count(number) FROM gap_losses
WHERE guild_id = ?1 AND gap_id = (SELECT min(gap_id) FROM repairs WHERE guild_id = ?1 AND state = 'open') GROUP BY kind

-- name: finish_repairs
-- Everything is read or known to be unreadable.
UPDATE repairs SET state = 'done', finished_at = ?2 WHERE guild_id = ?1 AND state = 'open'

-- name: drop_sources
-- After the end of a repair.
DELETE FROM repair_sources WHERE guild_id = ?

-- name: forget_notes
-- The stream has long passed what repairs applied.
DELETE FROM noted WHERE noted_by = 'repair' AND noted_at < ? AND guild_id NOT IN (SELECT guild_id FROM repairs WHERE finished_at IS NULL)

-- name: summaries
-- The newest gaps of the file, with what became of them.
SELECT g.gap_id, g.kind, g.reason, g.session_id, g.last_seq, g.next_session_id, g.next_seq, g.missing, g.began_at, g.ended_at,
       count(r.guild_id), coalesce(sum(r.finished_at IS NOT NULL), 0),
       coalesce(sum(r.messages), 0), coalesce(sum(r.entries), 0), coalesce(sum(r.bans), 0),
       (SELECT count(*) FROM gap_losses AS l WHERE l.gap_id = g.gap_id AND l.number IS NOT NULL)
FROM (SELECT * FROM gaps ORDER BY gap_id DESC LIMIT ?) AS g LEFT JOIN repairs AS r USING (gap_id) GROUP BY g.gap_id ORDER BY g.gap_id
