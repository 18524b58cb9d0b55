"""The tables of the nodes that share one ``engine.db``: the workers of one machine.

They are those of ``adapters/postgres/schema``: one row of ``nodes`` is one life, from its registration to its end, and
an account has one owner. An engine that has the file for itself leaves them empty, and ends what it finds there.
"""

from typing import Final

FIRST_VERSION: Final = 11
"""The schema that has them first."""
NAMES: Final = frozenset({"nodes", "node_accounts", "node_server", "job_places", "incident_ranges"})

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS nodes (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, host TEXT NOT NULL, epoch INTEGER NOT NULL,
        beat INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'alive' CHECK (state IN ('alive', 'draining', 'dead')), lease REAL NOT NULL,
        accounts_at_most INTEGER, details TEXT NOT NULL DEFAULT '{}', began REAL, ended REAL, ended_why TEXT,
        freed INTEGER NOT NULL DEFAULT 0)""",
    "CREATE UNIQUE INDEX IF NOT EXISTS nodes_living ON nodes (name) WHERE state <> 'dead'",
    "CREATE INDEX IF NOT EXISTS nodes_not_freed ON nodes (id) WHERE state = 'dead' AND freed = 0",
    """CREATE TABLE IF NOT EXISTS node_accounts (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, owner INTEGER, epoch INTEGER NOT NULL DEFAULT 0,
        hosts TEXT NOT NULL DEFAULT '*', move_to TEXT, last_host TEXT, withheld_until REAL)""",
    "CREATE INDEX IF NOT EXISTS node_accounts_by_owner ON node_accounts (owner, epoch)",
    "CREATE INDEX IF NOT EXISTS node_accounts_free ON node_accounts (hosts, id) WHERE owner IS NULL",
    "CREATE TABLE IF NOT EXISTS node_server (id INTEGER PRIMARY KEY CHECK (id = 1), token TEXT NOT NULL)",
    "ALTER TABLE jobs ADD COLUMN node INTEGER",
    "ALTER TABLE jobs ADD COLUMN clock TEXT",
    "ALTER TABLE job_charges ADD COLUMN clock TEXT",
    "CREATE INDEX IF NOT EXISTS jobs_by_node ON jobs (node) WHERE node IS NOT NULL AND state IN ('queued', 'running')",
    "CREATE INDEX IF NOT EXISTS jobs_waiting_of ON jobs (account, due) WHERE state = 'queued' AND due IS NOT NULL",
    "ALTER TABLE incidents ADD COLUMN node INTEGER",
    """CREATE TABLE IF NOT EXISTS incident_ranges (
        node TEXT PRIMARY KEY, range INTEGER NOT NULL UNIQUE, last INTEGER NOT NULL)""",
    """CREATE TRIGGER IF NOT EXISTS incident_numbered AFTER INSERT ON incidents BEGIN
        UPDATE incident_ranges SET last = NEW.id WHERE range = NEW.id / 1000000 AND last < NEW.id; END""",
    "CREATE TABLE IF NOT EXISTS job_places (job INTEGER PRIMARY KEY, kind TEXT NOT NULL, node INTEGER NOT NULL)",
)
"""``nodes.beat`` counts; no decision depends on ``began`` and ``ended`` (Unix seconds), which are for people.

``node_accounts.withheld_until`` (Unix seconds) is until when no worker may have the account: its owner gives it up.
``node_server.token`` is drawn whenever one process has the file for itself: see ``node_file.py``. ``jobs.node`` is the
life that has a job, ``job_places`` those that run under a limit of all nodes together. ``clock`` is the node that has
computed when a wait ends: each notices by itself that the clock was set, and moves what is its own."""
