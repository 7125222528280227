-- name: put_guild
-- Everything that GUILD_CREATE says of the guild itself; a guild that came back is not left any more.
INSERT INTO guilds (guild_id, name, owner_id, own_roles, joined_at) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (guild_id) DO UPDATE SET name = ?2, owner_id = ?3, own_roles = ?4, left_at = NULL

-- name: rename_guild
-- Name and owner.
UPDATE guilds SET name = ?, owner_id = ? WHERE guild_id = ?

-- name: leave_guild
-- The bot was removed.
UPDATE guilds SET left_at = ? WHERE guild_id = ? AND left_at IS NULL

-- name: leave_unlisted
-- The second parameter is a JSON list of the guilds that are there.
UPDATE guilds SET left_at = ? WHERE left_at IS NULL AND guild_id NOT IN (SELECT value FROM json_each(?))

-- name: drop_roles
-- Before the roles of a GUILD_CREATE are put.
DELETE FROM roles WHERE guild_id = ?

-- name: drop_channels
-- Before the channels of a GUILD_CREATE are put.
DELETE FROM channels WHERE guild_id = ?

-- name: put_role
-- A role as it is now.
INSERT INTO roles (guild_id, role_id, name, position, permissions, managed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (guild_id, role_id) DO UPDATE SET name = ?3, position = ?4, permissions = ?5, managed = ?6

-- name: drop_role
-- A deleted role.
DELETE FROM roles WHERE guild_id = ? AND role_id = ?

-- name: put_channel
-- A channel as it is now.
INSERT INTO channels (guild_id, channel_id, parent_id, kind, name, overwrites) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (guild_id, channel_id) DO UPDATE SET parent_id = ?3, kind = ?4, name = ?5, overwrites = ?6

-- name: drop_channel
-- A deleted channel.
DELETE FROM channels WHERE guild_id = ? AND channel_id = ?

-- name: set_own_roles
-- The roles of the bot in the guild, a JSON list.
UPDATE guilds SET own_roles = ? WHERE guild_id = ?

-- name: bot_user
-- Our own user id.
SELECT bot_id FROM shard WHERE id = 1

-- name: owner
-- The owner of a guild.
SELECT owner_id FROM guilds WHERE guild_id = ?

-- name: roles
-- What permissions need to know of the roles.
SELECT role_id, position, permissions FROM roles WHERE guild_id = ?

-- name: own_roles
-- The roles of the bot in the guild, a JSON list.
SELECT own_roles FROM guilds WHERE guild_id = ?

-- name: overwrites
-- A channel's exceptions, a JSON list as Discord sends them.
SELECT overwrites FROM channels WHERE guild_id = ? AND channel_id = ?

-- name: channel_kind
-- Discord's number for the type of a channel.
SELECT kind FROM channels WHERE guild_id = ? AND channel_id = ?
