CREATE TABLE guildledger (entry_id INTEGER PRIMARY KEY AUTOINCREMENT, guild_id INTEGER NOT NULL, cause TEXT NOT NULL) STRICT;
CREATE INDEX guildledger_by_guild ON guildledger (guild_id);
