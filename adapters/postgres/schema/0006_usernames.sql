-- What is known of usernames, which is the same for all accounts, and what other programs have still to be told of each
-- account. The tables of the ledger of completeness are in 0003_jobs.sql.

-- The peer that a name in small letters belonged to at that time, with the mark of its kind, or null and what Telegram
-- said.
CREATE TABLE usernames (
    name text COLLATE "C" PRIMARY KEY, peer bigint, refusal text NOT NULL, at float8 NOT NULL);
CREATE INDEX usernames_by_time ON usernames (at);

-- When an account has asked for a username in the last 24 hours, as JSON. Telegram counts for the account, so its next
-- owner goes on with it. An account that was never logged in is deleted with what it has here.
CREATE TABLE username_lookups (
    account bigint PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    times text NOT NULL) WITH (fillfactor = 50);

-- Updates that wait for other programs, see adapters/sqlite/remote_schema.py. The owner of an account numbers them.
CREATE TABLE remote_updates (
    account bigint NOT NULL REFERENCES accounts ON DELETE CASCADE, number bigint NOT NULL, at float8 NOT NULL,
    place bigint NOT NULL, mark text NOT NULL, body bytea NOT NULL, PRIMARY KEY (account, number));

-- How far each program has acknowledged them.
CREATE TABLE remote_cursors (
    account bigint NOT NULL REFERENCES accounts ON DELETE CASCADE, program text COLLATE "C" NOT NULL,
    feed text NOT NULL, acknowledged bigint NOT NULL, at float8 NOT NULL,
    PRIMARY KEY (account, program)) WITH (fillfactor = 70);
