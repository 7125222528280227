-- name: insert_message
-- A message that is told twice (a repeat, a gap repair) stays one row.
INSERT INTO activity (guild_id, message_id, channel_id, author_id, sent_at, chars, words, code, hosts, attachments, reply_to)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (guild_id, message_id) DO NOTHING

-- name: measure_again
-- After an edit; the reactions stay.
UPDATE activity SET chars = ?, words = ?, code = ?, hosts = ? WHERE guild_id = ? AND message_id = ?

-- name: set_attachments
-- After an edit that removed files.
UPDATE activity SET attachments = ? WHERE guild_id = ? AND message_id = ?

-- name: delete_message
-- The message is gone.
DELETE FROM activity WHERE guild_id = ? AND message_id = ?

-- name: delete_reactions
-- All reactions of a message.
DELETE FROM activity_reactions WHERE guild_id = ? AND message_id = ?

-- name: delete_reactions_with
-- All reactions of a message with one emoji.
DELETE FROM activity_reactions WHERE guild_id = ? AND message_id = ? AND emoji = ?

-- name: add_reaction
-- Once per person and emoji, for messages that have a row.
INSERT INTO activity_reactions (guild_id, message_id, emoji, user_id)
SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM activity WHERE guild_id = ?1 AND message_id = ?2)
ON CONFLICT DO NOTHING

-- name: remove_reaction
-- One person takes one emoji back.
DELETE FROM activity_reactions WHERE guild_id = ? AND message_id = ? AND emoji = ? AND user_id = ?

-- name: count_reactions
-- The number beside the message is the size of the set.
UPDATE activity SET reactions =
    (SELECT count(*) FROM activity_reactions AS r WHERE r.guild_id = ?1 AND r.message_id = ?2)
WHERE guild_id = ?1 AND message_id = ?2
