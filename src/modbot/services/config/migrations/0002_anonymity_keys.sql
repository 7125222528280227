-- The key of the day, under which http pods replace who is anonymous. Only today's exists: without yesterday's key, yesterday's
-- numbers say nothing about anybody.
CREATE TABLE anonymity_keys (
    day date PRIMARY KEY,
    key text NOT NULL CHECK (key ~ '^[0-9a-f]{64}$')
);
