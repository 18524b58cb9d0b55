-- The keys of sessions may be encrypted: see adapters/postgres/session_keys.py. key_id is the fingerprint of the session
-- key, empty where a row is not encrypted. An encrypted key belongs to the number of its account: a row must never get
-- the number of another one.
ALTER TABLE sessions
    ADD COLUMN key_id text COLLATE "C" NOT NULL DEFAULT '',
    DROP CONSTRAINT sessions_key_check,
    DROP CONSTRAINT sessions_temporary_key_check,
    ADD CONSTRAINT sessions_key_lengths CHECK (
        octet_length(key) IN (0, CASE key_id WHEN '' THEN 256 ELSE 284 END)
        AND octet_length(temporary_key) IN (0, CASE key_id WHEN '' THEN 256 ELSE 284 END));
ALTER TABLE replaced_logins ADD COLUMN key_id text COLLATE "C" NOT NULL DEFAULT '';
