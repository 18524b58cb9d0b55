-- Nodes and the accounts that they own. adapters/postgres/nodes.py has the statements and why they are as they are.

-- One row is one life of a node: from its registration to its end. Whether it lives and when it was last heard of stand
-- in one row, so that neither can be decided without the other.
CREATE TABLE nodes (
    -- Drawn at random by the node, not counted: a server that has failed over may have forgotten how far it counted.
    id bigint PRIMARY KEY,
    name text NOT NULL,
    host text NOT NULL,
    -- The number of this life among those with its name, from 1.
    epoch bigint NOT NULL,
    beat bigint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'alive' CHECK (state IN ('alive', 'draining', 'dead')),
    -- Seconds without a beat after which others declare it dead.
    lease double precision NOT NULL,
    -- How many accounts it takes at most; null: as many as its share.
    accounts_at_most integer,
    -- What else the others may know: version, process id, a digest of its accounts section.
    details jsonb NOT NULL DEFAULT '{}',
    -- For people; no decision depends on a wall clock.
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    ended_why text,
    -- Whether the accounts of a dead life have been freed.
    freed boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);  -- room on the page, so that a beat touches no index

CREATE UNIQUE INDEX nodes_living ON nodes (name) WHERE state <> 'dead';
CREATE INDEX nodes_by_name ON nodes (name, epoch);
CREATE INDEX nodes_not_freed ON nodes (id) WHERE state = 'dead' AND NOT freed;

CREATE TABLE accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    owner bigint REFERENCES nodes,
    -- Counts the owners, so that an answer of an earlier one can be told from one of the present.
    epoch bigint NOT NULL DEFAULT 0,
    -- The hosts that may own it: '*' and '?' as in file names. The second is the same for LIKE.
    hosts text NOT NULL DEFAULT '*',
    hosts_like text NOT NULL GENERATED ALWAYS AS (
        replace(replace(replace(replace(replace(hosts, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%'), '?', '_')) STORED,
    -- The node that a person wants to own it next; null: any.
    move_to text,
    -- Where it was last connected, which its next owner should know: another address is a risk.
    last_host text
) WITH (fillfactor = 80);

-- With the epoch, so that a beat counts and sums without reading the table.
CREATE INDEX accounts_by_owner ON accounts (owner) INCLUDE (epoch);
CREATE INDEX accounts_moving ON accounts (owner) WHERE move_to IS NOT NULL;
CREATE INDEX accounts_free ON accounts (hosts, id) WHERE owner IS NULL;

-- The server that has been watched for a lease, in which of its starts and on which timeline: see states/lease.py.
CREATE TABLE settled_servers (server text PRIMARY KEY);
