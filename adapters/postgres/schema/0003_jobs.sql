-- Durable work of the whole fleet: jobs, their results, charges, places under a limit, and what they have read.
--
-- jobs.node is the life of a node that has claimed the job or runs it. Whoever finds that life dead puts the job back.
-- jobs.clock is the node by whose clock ``due`` was computed: that wait moves with this clock.

CREATE TABLE job_numbers (
    one boolean PRIMARY KEY DEFAULT true CHECK (one), last bigint NOT NULL);
INSERT INTO job_numbers (last) VALUES (0);
-- A row and no sequence: numbers become visible in their order, and a command tells the first and the last of many.

CREATE TABLE jobs (
    id bigint PRIMARY KEY, kind text COLLATE "C" NOT NULL, account text COLLATE "C" NOT NULL DEFAULT '',
    data text NOT NULL, priority bigint NOT NULL DEFAULT 0, state text COLLATE "C" NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    due float8, wait float8, attempts bigint NOT NULL DEFAULT 0, losses bigint NOT NULL DEFAULT 0,
    paid bigint NOT NULL DEFAULT 0, worker text, checkpoint text, result text, detail text NOT NULL DEFAULT '',
    error text NOT NULL DEFAULT '[]', results bigint NOT NULL DEFAULT 0, done float8, total float8,
    added float8 NOT NULL, began float8, since float8, since_done float8, seen float8, ended float8,
    held boolean NOT NULL DEFAULT false, node bigint, clock text) WITH (fillfactor = 70);
CREATE INDEX jobs_ready ON jobs (kind, account, priority DESC, id) WHERE state = 'queued' AND due IS NULL;
CREATE INDEX jobs_waiting ON jobs (account, due) WHERE state = 'queued' AND due IS NOT NULL;
CREATE INDEX jobs_by_state ON jobs (state, id);
CREATE INDEX jobs_ended ON jobs (ended) WHERE state IN ('done', 'cancelled');
CREATE INDEX jobs_held ON jobs (account) WHERE held AND state = 'queued';
CREATE INDEX jobs_of_nobody ON jobs (id) WHERE state = 'running' AND node IS NULL;
CREATE INDEX jobs_of_node ON jobs (node) WHERE node IS NOT NULL AND state IN ('queued', 'running');

-- How many jobs there are, as differences: a row that all nodes count in would make them wait for each other.
CREATE TABLE job_counts (kind text COLLATE "C" NOT NULL, state text COLLATE "C" NOT NULL, jobs bigint NOT NULL);
CREATE FUNCTION count_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO job_counts SELECT kind, state, count(*) FROM arrived GROUP BY kind, state;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO job_counts SELECT kind, state, -count(*) FROM gone GROUP BY kind, state;
    ELSE
        INSERT INTO job_counts SELECT kind, state, sum(jobs) FROM (
            SELECT kind, state, count(*) AS jobs FROM arrived GROUP BY kind, state
            UNION ALL SELECT kind, state, -count(*) FROM gone GROUP BY kind, state) AS moved
        GROUP BY kind, state HAVING sum(jobs) <> 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER job_added AFTER INSERT ON jobs REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION count_jobs();
CREATE TRIGGER job_moved AFTER UPDATE ON jobs REFERENCING NEW TABLE AS arrived OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION count_jobs();
CREATE TRIGGER job_removed AFTER DELETE ON jobs REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION count_jobs();

CREATE TABLE job_results (
    job bigint NOT NULL, number bigint NOT NULL, value text NOT NULL,
    PRIMARY KEY (job, number));
CREATE TABLE job_traces (job bigint PRIMARY KEY, trace text NOT NULL);
CREATE TABLE job_charges (
    job bigint NOT NULL, until float8 NOT NULL, kind text NOT NULL, account text NOT NULL, length float8, clock text,
    PRIMARY KEY (job, until));
CREATE INDEX job_charges_by_time ON job_charges (until);

-- A limit of the whole fleet: whoever begins a job of such a kind locks the kind's row, and counts.
CREATE TABLE job_limits (kind text COLLATE "C" PRIMARY KEY);
CREATE TABLE job_places (
    job bigint PRIMARY KEY, kind text COLLATE "C" NOT NULL, node bigint NOT NULL);
CREATE INDEX job_places_by_kind ON job_places (kind);

-- Which movements of a clock were made already: one that is sent again after a lost connection must not be made twice.
CREATE TABLE job_moves (node bigint NOT NULL, number bigint NOT NULL, PRIMARY KEY (node, number));

CREATE TABLE messages (
    owner text COLLATE "C" NOT NULL, chat bigint NOT NULL, id bigint NOT NULL, at float8 NOT NULL, sender bigint,
    text text NOT NULL, job bigint NOT NULL, edited float8, deleted float8, reply_to bigint, media text,
    media_id bigint, media_size bigint, media_name text, raw text, version bigint, PRIMARY KEY (owner, chat, id));
CREATE TABLE message_deletions (
    chat bigint NOT NULL, id bigint NOT NULL, at float8 NOT NULL, PRIMARY KEY (chat, id));

-- What a transaction of a node's life begins with: an error, so that all that was sent after it is not executed.
-- A death of the life waits for the end of the transaction, and a beat does not.
CREATE FUNCTION fence(life bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM nodes WHERE id = life AND state <> 'dead' FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the life % of this node has ended', life USING ERRCODE = 'HF001';
    END IF;
END $$;

-- What was handled of each box, and what is known to be missed: see adapters/sqlite/ledger_schema.py.
CREATE TABLE ledger (
    user_id bigint NOT NULL, box bigint NOT NULL, login text COLLATE "C" NOT NULL, after bigint NOT NULL,
    upto bigint NOT NULL, since float8 NOT NULL, until float8 NOT NULL, first_id bigint, last_id bigint,
    PRIMARY KEY (user_id, box, login, after));
CREATE INDEX ledger_by_box ON ledger (box);
CREATE TABLE ledger_holes (
    user_id bigint NOT NULL, box bigint NOT NULL, after bigint NOT NULL, cause text COLLATE "C" NOT NULL,
    upto bigint NOT NULL, since float8 NOT NULL, until float8 NOT NULL, PRIMARY KEY (user_id, box, after, cause));
CREATE TABLE ledger_fills (
    user_id bigint NOT NULL, chat bigint NOT NULL, source text COLLATE "C" NOT NULL, after_id bigint NOT NULL,
    upto_id bigint, at float8 NOT NULL, from_at float8, PRIMARY KEY (user_id, chat, source));
