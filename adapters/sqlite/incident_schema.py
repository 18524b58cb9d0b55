"""The tables of incidents in ``engine.db``, and the statements that fill them.

The engine numbers its incidents, so that writing one again changes nothing: after a crash it goes on from what is here.
``AUTOINCREMENT`` remembers the greatest number, also when retention has deleted its row. What is in an incident stands
apart from it: thousands of accounts may join one after the other.
"""

from typing import Final

from adapters.sqlite.queue import Statement, cell

FIRST_VERSION: Final = 8
"""The first schema with incidents."""

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS incidents (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, cause TEXT NOT NULL, fleet INTEGER NOT NULL,
        severity TEXT NOT NULL, since REAL NOT NULL, opened REAL NOT NULL, closed REAL, acked REAL,
        detail TEXT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS incidents_open ON incidents (id) WHERE closed IS NULL",
    "CREATE INDEX IF NOT EXISTS incidents_closed ON incidents (closed) WHERE closed IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS incident_members (
        incident INTEGER NOT NULL, slot TEXT NOT NULL, name TEXT NOT NULL, until REAL,
        PRIMARY KEY (incident, slot, name)) WITHOUT ROWID""",
    """CREATE TRIGGER IF NOT EXISTS incident_removed AFTER DELETE ON incidents BEGIN
        DELETE FROM incident_members WHERE incident = OLD.id; END""",
)
"""``incident_members``: an account (or a part of the engine) in one of its slots, and when it left; NULL if it is in
the incident still."""

COLUMNS: Final = ("id", "kind", "cause", "fleet", "severity", "since", "opened", "closed", "acked", "detail")

INCIDENT = Statement(
    "incident",
    f"""INSERT INTO incidents ({", ".join(COLUMNS)}) SELECT {", ".join(map(cell, range(len(COLUMNS))))}
    FROM rows WHERE true
    ON CONFLICT (id) DO UPDATE SET cause = excluded.cause, fleet = excluded.fleet, severity = excluded.severity,
        since = excluded.since, opened = excluded.opened, closed = excluded.closed,
        acked = coalesce(incidents.acked, excluded.acked)""",
    width=len(COLUMNS),
    order=22,
)
"""(id, kind, cause, fleet, severity, since, opened, closed, acked, detail); what a command acknowledged stays so."""

MEMBER = Statement(
    "incident member",
    f"""INSERT INTO incident_members SELECT {", ".join(map(cell, range(4)))} FROM rows WHERE true
    ON CONFLICT (incident, slot, name) DO UPDATE SET until = excluded.until""",
    width=4,
    order=23,
)
"""(incident, slot, name, when it left or None)"""

PRUNE_INCIDENTS = Statement(
    "prune incidents",
    f"""DELETE FROM incidents WHERE id IN (SELECT id FROM incidents INDEXED BY incidents_closed
    WHERE closed IS NOT NULL AND closed < (SELECT max({cell(0)}) FROM rows) ORDER BY closed LIMIT 256)""",
    width=1,
    order=24,
)
"""(before): deletes the first 256 incidents that were over before then. Open ones stay."""
COUNT_OLD: Final = """SELECT count(*) FROM (SELECT 1 FROM incidents INDEXED BY incidents_closed
    WHERE closed IS NOT NULL AND closed < ? LIMIT 256)"""

SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM incidents"
ACCOUNTS: Final = (
    "SELECT incident, name FROM incident_members WHERE slot IN ('connection', 'person', 'file', 'limit', 'updates')"
    " AND incident"
)
"""The accounts that were ever in the incidents that follow, each with the incident."""
LEFT: Final = """SELECT name, until FROM incident_members
    WHERE incident = ? AND slot IN ('connection', 'person', 'file', 'limit', 'updates')"""
"""When each account left an incident."""
INSIDE: Final = """SELECT incident, slot, name FROM incident_members
    WHERE until IS NULL AND incident IN (SELECT id FROM incidents INDEXED BY incidents_open WHERE closed IS NULL)"""
"""What is in the open incidents now."""
LAST_NUMBER: Final = """SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'incidents'), 0),
    coalesce((SELECT max(id) FROM incidents), 0))"""
ACKNOWLEDGE: Final = "UPDATE incidents SET acked = ? WHERE id = ? AND acked IS NULL AND closed IS NULL"
ACKED: Final = "SELECT id FROM incidents INDEXED BY incidents_open WHERE closed IS NULL AND acked IS NOT NULL"
