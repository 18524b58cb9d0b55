"""The tables of durable work in ``engine.db``: jobs, their results, and their charges.

Each frequent question has an index of its own, so that a million queued jobs cost no more than a thousand: which jobs
could begin now (``jobs_ready``, in the order in which they begin), which wait for a time (``jobs_waiting``), and which
are in a state. Queries name their index: by itself SQLite takes that of the states, and reads every queued job.
Triggers keep the count of each kind and state.
"""

from typing import Final

from adapters.sqlite.queue import Statement, cell
from states.clock import NOTICED_WITHIN
from states.job import FLOOD_WAIT

TABLES: Final = (
    """CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, account TEXT NOT NULL DEFAULT '',
        data TEXT NOT NULL, priority INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'queued'
            CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
        due REAL, attempts INTEGER NOT NULL DEFAULT 0, losses INTEGER NOT NULL DEFAULT 0,
        paid INTEGER NOT NULL DEFAULT 0, worker TEXT, checkpoint TEXT, result TEXT, detail TEXT NOT NULL DEFAULT '',
        error TEXT NOT NULL DEFAULT '[]', results INTEGER NOT NULL DEFAULT 0, done REAL,
        total REAL, added REAL NOT NULL, began REAL, since REAL, since_done REAL, seen REAL, ended REAL)""",
    "CREATE INDEX jobs_ready ON jobs (kind, account, priority DESC, id) WHERE state = 'queued' AND due IS NULL",
    "CREATE INDEX jobs_waiting ON jobs (due) WHERE state = 'queued' AND due IS NOT NULL",
    "CREATE INDEX jobs_by_state ON jobs (state, id)",
    "CREATE INDEX jobs_ended ON jobs (ended) WHERE state IN ('done', 'cancelled')",
    """CREATE TABLE job_counts (
        kind TEXT NOT NULL, state TEXT NOT NULL, jobs INTEGER NOT NULL, PRIMARY KEY (kind, state)) WITHOUT ROWID""",
    """CREATE TRIGGER job_added AFTER INSERT ON jobs BEGIN
        INSERT INTO job_counts VALUES (NEW.kind, NEW.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1; END""",
    """CREATE TRIGGER job_moved AFTER UPDATE OF state ON jobs WHEN OLD.state <> NEW.state BEGIN
        UPDATE job_counts SET jobs = jobs - 1 WHERE kind = OLD.kind AND state = OLD.state;
        INSERT INTO job_counts VALUES (NEW.kind, NEW.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1; END""",
    """CREATE TRIGGER job_removed AFTER DELETE ON jobs BEGIN
        UPDATE job_counts SET jobs = jobs - 1 WHERE kind = OLD.kind AND state = OLD.state;
        DELETE FROM job_results WHERE job = OLD.id; END""",
    """CREATE TABLE job_charges (
        job INTEGER NOT NULL, until REAL NOT NULL, kind TEXT NOT NULL, account TEXT NOT NULL,
        PRIMARY KEY (job, until)) WITHOUT ROWID""",
    "CREATE INDEX job_charges_by_time ON job_charges (until)",
    """CREATE TABLE job_results (
        job INTEGER NOT NULL, number INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (job, number)) WITHOUT ROWID""",
    """CREATE TABLE messages (
        owner TEXT NOT NULL, chat INTEGER NOT NULL, id INTEGER NOT NULL, at REAL NOT NULL, sender INTEGER,
        text TEXT NOT NULL, job INTEGER NOT NULL, PRIMARY KEY (owner, chat, id)) WITHOUT ROWID""",
)
"""``messages.owner`` is empty where all members see a message under one number (channels, supergroups), and the account
where each account has its own (private chats, small groups). So each message is stored once, whichever account
collected it."""


LENGTHS: Final = ("ALTER TABLE jobs ADD COLUMN wait REAL", "ALTER TABLE job_charges ADD COLUMN length REAL")
"""The length of each wait beside its end; NULL where the end is a time that was chosen, or was stored before."""

HELD: Final = (
    "ALTER TABLE jobs ADD COLUMN held INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX IF NOT EXISTS jobs_held ON jobs (account) WHERE held = 1 AND state = 'queued'",
)
"""``jobs.held``: the job stays with its account only because of a limit there, and may go to another when that account
is of no use."""

CHANGING: Final = (
    "account", "held", "state", "due", "wait", "attempts", "losses", "paid", "worker", "checkpoint", "result", "detail",
    "error", "results", "done", "total", "began", "since", "since_done", "seen", "ended",
)  # fmt: skip

JOB = Statement(
    "job",
    f"UPDATE jobs SET {', '.join(f'{name} = {cell(number)}' for number, name in enumerate(CHANGING, 1))} "
    f"FROM rows WHERE jobs.id = {cell(0)} AND jobs.state IN ('queued', 'running')",
    width=1 + len(CHANGING),
    order=10,
    latest=True,
)
"""(id, account, held, state, …, ended): all columns that change. A job that the operator has cancelled stays so."""

_CHARGE: Final = "job, until, kind, account, length"
CHARGE = Statement(
    "charge",
    f"INSERT OR IGNORE INTO job_charges ({_CHARGE}) SELECT {', '.join(map(cell, range(5)))} FROM rows",
    width=5,
    order=11,
)
"""(job, until, kind, account, length): each start is charged, also with another account or after a retry."""

FORGIVE = Statement(
    "forgive",
    f"DELETE FROM job_charges WHERE until < (SELECT max({cell(0)}) FROM rows)",
    width=1,
    order=12,
)
"""(now): deletes the charges that are over."""

RESULT = Statement(
    "result",
    f"INSERT OR REPLACE INTO job_results SELECT {', '.join(map(cell, range(3)))} FROM rows",
    width=3,
    order=13,
)
"""(job, number, value as JSON)"""

DUE = Statement(
    "due",
    f"""UPDATE jobs SET due = NULL, wait = NULL WHERE id IN (SELECT id FROM jobs INDEXED BY jobs_waiting
    WHERE state = 'queued' AND due <= (SELECT max({cell(0)}) FROM rows) ORDER BY due LIMIT 1000)""",
    width=1,
    order=15,
)
"""(now): makes the first thousand jobs ready whose time has come."""

BEGAN_BEFORE: Final = f"NOT ({{end}} - {{length}} BETWEEN {cell(1)} - {NOTICED_WITHIN} AND {cell(1)})"
MOVE_JOBS = Statement(
    "move jobs",
    f"""UPDATE jobs INDEXED BY jobs_waiting SET due = min(due + {cell(0)}, {cell(1)} + wait) FROM rows
    WHERE state = 'queued' AND due IS NOT NULL AND wait IS NOT NULL
    AND ({cell(0)} = 0 OR {BEGAN_BEFORE.format(end="due", length="wait")})""",
    width=2,
    order=17,
)
"""(shift, now): moves the waits of jobs with a clock that was set; see ``states.clock``."""
MOVE_CHARGES = Statement(
    "move charges",
    f"""UPDATE OR REPLACE job_charges SET until = min(until + {cell(0)}, {cell(1)} + length) FROM rows
    WHERE length IS NOT NULL AND ({cell(0)} = 0 OR {BEGAN_BEFORE.format(end="until", length="length")})""",
    width=2,
    order=18,
)
"""(shift, now): moves the places that are taken in budgets likewise."""

RECOVER = Statement(
    "recover",
    f"""UPDATE jobs SET state = 'queued', losses = losses + 1, detail = {cell(0)}
    FROM rows WHERE state = 'running'""",
    width=1,
    order=9,
)
"""(why): puts the jobs back into the queue that ran when an engine died; each counts that as a lost connection."""
TRACES: Final = (
    "CREATE TABLE IF NOT EXISTS job_traces (job INTEGER PRIMARY KEY, trace TEXT NOT NULL)",
    """CREATE TRIGGER IF NOT EXISTS job_trace_removed AFTER DELETE ON jobs BEGIN
        DELETE FROM job_traces WHERE job = OLD.id; END""",
)
"""The traceback of each job's last failure: apart, because only ``jobs show`` reads it."""
TRACE = Statement(
    "trace",
    f"INSERT OR REPLACE INTO job_traces SELECT {cell(0)}, {cell(1)} FROM rows",
    width=2,
    order=20,
)
"""(job, trace)"""

UNREADABLE = Statement(
    "unreadable job",
    f"""UPDATE jobs SET state = 'failed', due = NULL, detail = {cell(1)}, ended = {cell(2)}
    FROM rows WHERE jobs.id = {cell(0)} AND state = 'queued'""",
    width=3,
    order=19,
)
"""(job, why, now): ends a job whose row cannot be read, so that the jobs behind it can begin. Its data stay."""
RELEASE_HELD = Statement(
    "release held jobs",
    f"""UPDATE jobs INDEXED BY jobs_held SET account = '', held = 0 FROM rows
    WHERE held = 1 AND state = 'queued' AND account = {cell(0)} AND (due IS NULL OR due <= {cell(1)})""",
    width=2,
    order=60,
)
"""(account, now): lets any account do the jobs whose wait is over and that were held by one that is of no use now."""
RELEASE_WAITING = Statement(
    "release waiting jobs",
    f"""UPDATE jobs INDEXED BY jobs_waiting SET due = NULL, wait = NULL FROM rows
    WHERE state = 'queued' AND due IS NOT NULL AND account = {cell(0)} AND detail IN ({cell(1)}, {cell(2)})""",
    width=3,
    order=61,
)
"""(account, detail, detail): makes the jobs ready that waited for the end of a limit of this account."""
SELECT_HELD: Final = "SELECT DISTINCT account FROM jobs INDEXED BY jobs_held WHERE held = 1 AND state = 'queued'"
PRUNE_JOBS = Statement(
    "prune jobs",
    f"""DELETE FROM jobs WHERE id IN (SELECT id FROM jobs INDEXED BY jobs_ended
    WHERE state IN ('done', 'cancelled') AND ended < (SELECT max({cell(0)}) FROM rows) ORDER BY ended LIMIT 256)""",
    width=1,
    order=16,
)
"""(before): deletes the first 256 jobs that ended before then, with their results. Failed jobs stay."""
COUNT_OLD: Final = """SELECT count(*) FROM (SELECT 1 FROM jobs INDEXED BY jobs_ended
    WHERE state IN ('done', 'cancelled') AND ended < ? LIMIT 256)"""

ADD: Final = "INSERT INTO jobs (kind, account, data, priority, due, added, wait, clock) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
SELECT_JOB: Final = f"SELECT id, kind, data, priority, added, {', '.join(CHANGING)} FROM jobs"
SELECT_JOB_WITHOUT_HELD: Final = SELECT_JOB.replace(" held,", " 0,")
"""The same from a file that no engine has opened since it has ``HELD``."""
SELECT_JOB_WITHOUT_LENGTHS: Final = SELECT_JOB_WITHOUT_HELD.replace(" wait,", " NULL,")
"""The same from a file that no engine has opened since it has ``LENGTHS``."""
SELECT_WAITING_HELD: Final = (
    f"{SELECT_JOB} INDEXED BY jobs_waiting WHERE state = 'queued' AND due > ? AND account <> '' "
    f"AND detail GLOB '{FLOOD_WAIT}*' ORDER BY due DESC LIMIT 10000"
)
SELECT_READY: Final = (
    f"{SELECT_JOB} INDEXED BY jobs_ready WHERE state = 'queued' AND due IS NULL AND kind = ? AND account = ? "
    "ORDER BY priority DESC, id LIMIT ?"
)
_READY = "SELECT kind, account FROM jobs INDEXED BY jobs_ready WHERE state = 'queued' AND due IS NULL"
NEXT_ACCOUNT: Final = f"{_READY} AND kind = ? AND account > ? ORDER BY account LIMIT 1"
NEXT_KIND: Final = f"{_READY} AND kind > ? ORDER BY kind, account LIMIT 1"
"""From one (kind, account) with ready jobs to the next: one query for each of them, not for each job.

``(kind, account) > (?, ?)`` would need one query only, and SQLite would walk over all jobs that are equal in both.
"""
NEXT_DUE: Final = "SELECT min(due) FROM jobs INDEXED BY jobs_waiting WHERE state = 'queued' AND due IS NOT NULL"
OLDEST_READY: Final = """SELECT added FROM (SELECT id, added, due FROM jobs INDEXED BY jobs_by_state
    WHERE state = 'queued' ORDER BY id LIMIT 1000) WHERE due IS NULL ORDER BY id LIMIT 1"""
"""Among the first thousand only: those before it may all wait for a time, and there may be a million of them."""
COUNTS: Final = "SELECT kind, state, jobs FROM job_counts WHERE jobs > 0"
