-- Telethon sessions: what a session file holds, one for each account. adapters/postgres/session_sql.py has the statements.

CREATE TABLE sessions (
    -- Nothing deletes a login: an account that has one cannot be deleted either.
    account bigint PRIMARY KEY REFERENCES accounts,
    dc_id integer NOT NULL,
    address text,
    port integer,
    key bytea NOT NULL CHECK (octet_length(key) IN (0, 256)),
    -- Tells keys apart and reveals nothing else of them; empty without a key.
    login text NOT NULL,
    takeout_id bigint,
    temporary_key bytea NOT NULL DEFAULT '' CHECK (octet_length(temporary_key) IN (0, 256)),
    -- Where the session was taken away to: another program may use it, so nobody connects with it here. Null: it is here.
    taken_to text,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Two accounts with one login would make Telegram destroy it.
CREATE UNIQUE INDEX sessions_by_login ON sessions (login) WHERE login <> '';

-- Whom an account knows. Texts are compared byte by byte; a name can be longer than what an index can have.
CREATE TABLE session_entities (
    account bigint NOT NULL REFERENCES sessions,
    id bigint NOT NULL,
    hash bigint NOT NULL,
    username text COLLATE "C",
    phone text COLLATE "C",
    name text COLLATE "C",
    -- Unix seconds.
    seen bigint,
    PRIMARY KEY (account, id)
);

CREATE INDEX session_entities_by_username ON session_entities (account, left(username, 100)) WHERE username IS NOT NULL;
CREATE INDEX session_entities_by_phone ON session_entities (account, left(phone, 100)) WHERE phone IS NOT NULL;
CREATE INDEX session_entities_by_name ON session_entities (account, left(name, 100)) WHERE name IS NOT NULL;

-- How far updates were handled: 0 is the account's own state, the others are those of channels.
CREATE TABLE session_states (
    account bigint NOT NULL REFERENCES sessions,
    id bigint NOT NULL,
    pts bigint NOT NULL,
    qts bigint NOT NULL,
    -- Unix seconds.
    date double precision NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (account, id)
) WITH (fillfactor = 70);

-- Files that were sent, by what tells them apart.
CREATE TABLE session_files (
    account bigint NOT NULL REFERENCES sessions,
    md5 bytea NOT NULL CHECK (octet_length(md5) <= 64),
    size bigint NOT NULL,
    type integer NOT NULL,
    id bigint NOT NULL,
    hash bigint NOT NULL,
    PRIMARY KEY (account, md5, size, type)
);
