-- name: keep_message
-- What is already kept stays; only text that was forgotten is kept again.
INSERT INTO reported_messages (guild_id, message_id, channel_id, author_id, author_name, evidence, kept_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (guild_id, message_id) DO UPDATE SET evidence = ?6, kept_at = ?7 WHERE evidence IS NULL

-- name: forget_evidence
-- After 60 minutes the text goes.
UPDATE reported_messages SET evidence = NULL WHERE guild_id = ? AND message_id = ?

-- name: forget_unreported
-- The form was opened and never sent.
DELETE FROM reported_messages WHERE guild_id = ?1 AND message_id = ?2
AND NOT EXISTS (SELECT 1 FROM reports AS r WHERE r.guild_id = ?1 AND r.message_id = ?2)

-- name: insert_report
-- Nothing changes when the same person reported the message before.
INSERT INTO reports (guild_id, report_id, message_id, author_id, kind, staff_id, reporter, category, words, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: forget_reporter
-- After two days the hash goes.
UPDATE reports SET reporter = NULL WHERE guild_id = ? AND report_id = ?

-- name: count_recent_of_reporter
-- How much the same (hashed) member reported lately.
SELECT count(*) FROM reports WHERE guild_id = ? AND reporter = ? AND created_at > ?

-- name: read_message
-- A reported message with its evidence and its entry.
SELECT message_id, channel_id, author_id, author_name, evidence, thread_id, log_message_id
FROM reported_messages WHERE guild_id = ? AND message_id = ?

-- name: read_reports
-- Oldest first; nothing that could tell who reported.
SELECT kind, staff_id, category, words, created_at FROM reports
WHERE guild_id = ? AND message_id = ? ORDER BY created_at, report_id

-- name: remember_entry
-- Where the entry stands.
UPDATE reported_messages SET thread_id = ?, log_message_id = ? WHERE guild_id = ? AND message_id = ?

-- name: statistics
-- All reports about an author, those since a time, and the channels they came from.
SELECT count(*), coalesce(sum(r.created_at > ?3), 0), count(DISTINCT m.channel_id)
FROM reports AS r JOIN reported_messages AS m USING (guild_id, message_id)
WHERE r.guild_id = ?1 AND r.author_id = ?2

-- name: mark_deleted
-- The message is gone, whoever deleted it.
UPDATE reported_messages SET deleted_at = ? WHERE guild_id = ? AND message_id = ? AND deleted_at IS NULL

-- name: undeleted_of_author
-- The reported messages of an author that still exist.
SELECT m.channel_id, m.message_id FROM reported_messages AS m
WHERE m.guild_id = ?1 AND m.author_id = ?2 AND m.deleted_at IS NULL
AND EXISTS (SELECT 1 FROM reports AS r WHERE r.guild_id = m.guild_id AND r.message_id = m.message_id)
ORDER BY m.message_id
