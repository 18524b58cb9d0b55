-- The journal of the whole fleet: every account's records, snapshots and lives. adapters/postgres/journal_statements.py
-- fills these tables, adapters/postgres/journal_reader.py reads them.

-- Accounts, states, events and rules, which rows refer to by number. No name is ever deleted.
CREATE TABLE names (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);

-- By a digest of the policy, which records name.
CREATE TABLE policies (
    key text COLLATE "C" PRIMARY KEY,
    policy text NOT NULL
);

CREATE TABLE lives (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account integer NOT NULL,
    life bigint NOT NULL,
    at double precision NOT NULL,
    policy text COLLATE "C" NOT NULL,
    snapshot text NOT NULL,
    -- The last record that retention has deleted, and the snapshot after it: see adapters/sqlite/schema.py.
    pruned_to bigint NOT NULL DEFAULT 0,
    base text,
    UNIQUE (account, life)
);

-- seq names a record, and is its place among those of its account. Sequences commit out of order: a record of one
-- writer may become visible after a later one of another. So the order of all is (tx, seq), and a follower reads only
-- below the oldest transaction that is not over yet, behind which nothing can appear any more.
--
-- A database that was restored from a dump counts its transactions anew: there tx must be set to 0.
CREATE SEQUENCE journal_seq CACHE 1;
CREATE TABLE journal (
    seq bigint PRIMARY KEY DEFAULT nextval('journal_seq'),
    tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at double precision NOT NULL,
    account integer NOT NULL,
    -- Counts the account's records without a gap, from 1.
    number bigint NOT NULL,
    life bigint NOT NULL,
    dwell double precision NOT NULL,
    source integer NOT NULL,
    event integer NOT NULL,
    target integer NOT NULL,
    rule integer NOT NULL,
    -- attempt, failures, delay, draw and deadline as a JSON array: nothing asks for them without the whole record.
    counts text NOT NULL,
    body text NOT NULL
);
ALTER SEQUENCE journal_seq OWNED BY journal.seq;
CREATE UNIQUE INDEX journal_by_account ON journal (account, number);
CREATE INDEX journal_in_order ON journal (tx, seq);

-- The first record that each life of a node wrote with a time in an hour (of Unix time): where to look for a time on. An
-- index of all times would be dear, one of blocks wide once retention has freed some, and one row for all a queue.
CREATE TABLE journal_hours (
    hour bigint NOT NULL,
    node bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (hour, node)
);

-- seq and number are those of the account's last record, 0 if it has none.
CREATE TABLE snapshots (
    account integer PRIMARY KEY,
    seq bigint NOT NULL,
    number bigint NOT NULL,
    at double precision NOT NULL,
    snapshot text NOT NULL
) WITH (fillfactor = 50);  -- room on the page: nearly every write changes rows of it, and no index

-- Which engine lives each account's life.
CREATE TABLE present (
    account integer PRIMARY KEY,
    life bigint NOT NULL,
    engine text NOT NULL
);

CREATE TABLE logins (
    account integer PRIMARY KEY,
    login text NOT NULL,
    "user" bigint
);

CREATE TABLE renames (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at double precision NOT NULL,
    former text NOT NULL,
    name text NOT NULL
);

-- The last batch of each life of a node. A batch whose answer was lost is sent again, and is taken once.
CREATE TABLE journal_batches (
    node bigint PRIMARY KEY,
    batch bigint NOT NULL
) WITH (fillfactor = 50);
