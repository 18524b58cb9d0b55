"""What is written to and asked of the jobs in PostgreSQL. The tables are in ``schema/0003_jobs.sql``.

``%s`` stands for the life that writes or asks (a row of ``nodes``) where its comment says so. A job that a life has
claimed (``jobs.node``) is changed by no other while that life is not dead.
"""

from typing import Final

from adapters.postgres.statements import RowStatement
from adapters.sqlite.follow_schema import COLUMNS as MESSAGE_COLUMNS
from adapters.sqlite.job_schema import CHANGING
from states.clock import NOTICED_WITHIN
from states.job import FLOOD_WAIT

LIFE: Final = "life"
"""The constant for which a store puts the number of its life."""
CLOCK: Final = "clock"
"""The constant for which a store puts the name of its node."""

_TYPES: Final = {
    "account": "text", "held": "boolean", "state": "text", "due": "float8", "wait": "float8", "attempts": "bigint",
    "losses": "bigint", "paid": "bigint", "worker": "text", "checkpoint": "text", "result": "text", "detail": "text",
    "error": "text", "results": "bigint", "done": "float8", "total": "float8", "began": "float8", "since": "float8",
    "since_done": "float8", "seen": "float8", "ended": "float8",
}  # fmt: skip
CHANGING_TYPES: Final = tuple(_TYPES[name] for name in CHANGING)
"""The types of ``job_schema.CHANGING``."""

JOB: Final = RowStatement(
    "job",
    f"""UPDATE jobs SET ({", ".join(CHANGING)}) = ROW ({", ".join(f"c{number}" for number in range(1, 22))}),
        node = CASE WHEN c3 = 'running' OR (c3 = 'queued' AND c4 IS NULL AND c1 = '') THEN %s::bigint END,
        clock = CASE WHEN c4 IS NOT NULL THEN %s::text END
    FROM rows WHERE jobs.id = c0 AND jobs.state IN ('queued', 'running')
        AND (jobs.node IS NULL OR jobs.node = %s OR NOT EXISTS
            (SELECT FROM nodes WHERE nodes.id = jobs.node AND nodes.state <> 'dead'))""",
    types=("bigint", *CHANGING_TYPES),
    order=10,
    latest=True,
    constants=(LIFE, CLOCK, LIFE),
)
"""(id, account, held, state, …, ended): all columns that change. A job that the operator has cancelled stays so.

One that could begin again at once stays claimed, because the dispatcher may have it in memory: see ``GIVE_BACK``.
"""

CHANGE: Final = RowStatement(
    "change",
    f"""UPDATE jobs SET ({", ".join(CHANGING)}) = ROW ({", ".join(f"c{number}" for number in range(1, 22))}),
        clock = CASE WHEN c4 IS NOT NULL THEN clock END FROM rows WHERE jobs.id = c0""",
    types=("bigint", *CHANGING_TYPES),
    latest=True,
)
"""The same by a command, which has locked the jobs. A node that has a job keeps it until it has noticed."""

FREE_PLACE: Final = RowStatement(
    "free place", "DELETE FROM job_places USING rows WHERE job = c0", types=("bigint",), order=10
)
"""(job): its place under the fleet's limit of its kind is free again."""

CHARGE: Final = RowStatement(
    "charge",
    """INSERT INTO job_charges (job, until, kind, account, length, clock) SELECT c0, c1, c2, c3, c4, %s FROM rows
    ON CONFLICT DO NOTHING""",
    types=("bigint", "float8", "text", "text", "float8"),
    order=11,
    key=(0, 1),
    constants=(CLOCK,),
)
"""(job, until, kind, account, length): each start is charged, also with another account or after a retry."""

FORGIVE: Final = RowStatement(
    "forgive",
    """DELETE FROM job_charges WHERE until < (SELECT max(c0) FROM rows)
    AND until < extract(epoch FROM clock_timestamp())""",
    types=("float8",),
    order=12,
    key=(),
    latest=True,
)
"""(now): deletes the charges that are over, also by the store's clock: that of one node may be fast."""

RESULT: Final = RowStatement(
    "result",
    """INSERT INTO job_results (job, number, value) SELECT c0, c1, c2 FROM rows
    ON CONFLICT (job, number) DO UPDATE SET value = excluded.value""",
    types=("bigint", "bigint", "text"),
    order=13,
    key=(0, 1),
    latest=True,
)
"""(job, number, value as JSON)"""

MINE: Final = "(SELECT '' AS name UNION ALL SELECT name FROM accounts WHERE owner = %s)"
"""The accounts of a life, and none: whose jobs it may do."""

DUE: Final = RowStatement(
    "due",
    f"""UPDATE jobs SET due = NULL, wait = NULL, clock = NULL WHERE id IN (
        SELECT found.id FROM {MINE} AS mine, LATERAL (SELECT id FROM jobs
            WHERE state = 'queued' AND due IS NOT NULL AND account = mine.name AND due <= (SELECT max(c0) FROM rows)
            ORDER BY due LIMIT 1000 FOR UPDATE SKIP LOCKED) AS found LIMIT 1000)""",
    types=("float8",),
    order=15,
    key=(),
    latest=True,
    constants=(LIFE,),
)
"""(now): makes the first thousand of its jobs ready whose time has come."""

PRUNE_JOBS: Final = RowStatement(
    "prune jobs",
    """, old AS (DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE state IN ('done', 'cancelled')
            AND ended < (SELECT max(c0) FROM rows) ORDER BY ended LIMIT 256 FOR UPDATE SKIP LOCKED) RETURNING id),
        traces AS (DELETE FROM job_traces USING old WHERE job = old.id),
        places AS (DELETE FROM job_places USING old WHERE job = old.id)
    DELETE FROM job_results USING old WHERE job = old.id""",
    types=("float8",),
    order=16,
    key=(),
    latest=True,
)
"""(before): deletes the first 256 jobs that ended before then, with their results. Failed jobs stay."""
COUNT_OLD: Final = """SELECT count(*) FROM (SELECT 1 FROM jobs
    WHERE state IN ('done', 'cancelled') AND ended < %s LIMIT 256) AS old"""

_BEGAN_BEFORE: Final = f"NOT ({{end}} - {{length}} BETWEEN c2 - {NOTICED_WITHIN} AND c2)"
_END_AT_MOST: Final = "greatest(c2, CASE WHEN c1 = 0 THEN extract(epoch FROM clock_timestamp()) ELSE c2 END)"
_MADE_ONCE: Final = ", made AS (INSERT INTO job_moves SELECT %s, c0 FROM rows ON CONFLICT DO NOTHING RETURNING number)"
_MOVED: Final = "c0 IN (SELECT number FROM made) AND {length} IS NOT NULL AND (c1 = 0 OR (clock = %s AND {began}))"
MOVE_WAITS: Final = RowStatement(
    "move waits",
    f"""{_MADE_ONCE},
    charges AS (UPDATE job_charges SET until = least(until + c1, {_END_AT_MOST} + length) FROM rows
        WHERE {_MOVED.format(length="length", began=_BEGAN_BEFORE.format(end="until", length="length"))})
    UPDATE jobs SET due = least(due + c1, {_END_AT_MOST} + wait) FROM rows
    WHERE state = 'queued' AND due IS NOT NULL
        AND {_MOVED.format(length="wait", began=_BEGAN_BEFORE.format(end="due", length="wait"))}""",
    types=("bigint", "float8", "float8"),
    order=17,
    constants=(LIFE, CLOCK, CLOCK),
)
"""(number, shift, now): moves the waits that were computed by this node's clock, which was set; see ``states.clock``.

With a shift of 0 it only lets none last longer than its length, whosever it is, by the later of this clock and the
store's: a clock that is slow must not end the flood waits of others.
"""

UNREADABLE: Final = RowStatement(
    "unreadable job",
    """UPDATE jobs SET state = 'failed', due = NULL, detail = c1, ended = c2, node = NULL
    FROM rows WHERE jobs.id = c0 AND state = 'queued'""",
    types=("bigint", "text", "float8"),
    order=19,
    latest=True,
)
"""(job, why, now): ends a job whose row cannot be read, so that the jobs behind it can begin. Its data stay."""

TRACE: Final = RowStatement(
    "trace",
    """INSERT INTO job_traces (job, trace) SELECT c0, c1 FROM rows
    ON CONFLICT (job) DO UPDATE SET trace = excluded.trace""",
    types=("bigint", "text"),
    order=20,
    latest=True,
)
"""(job, trace)"""

_DELETED: Final = "(SELECT gone.at FROM message_deletions AS gone WHERE c0 = '' AND gone.chat = c1 AND gone.id = c2)"
_REPLACED: Final = ("text", "edited", "reply_to", "media", "media_id", "media_size", "media_name")
MESSAGE: Final = RowStatement(
    "message",
    f"""INSERT INTO messages ({", ".join(MESSAGE_COLUMNS)}, deleted)
    SELECT {", ".join(f"c{number}" for number in range(len(MESSAGE_COLUMNS)))}, {_DELETED} FROM rows
    ON CONFLICT (owner, chat, id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _REPLACED)},
        sender = coalesce(excluded.sender, messages.sender), raw = coalesce(excluded.raw, messages.raw),
        version = greatest(coalesce(excluded.version, 0), coalesce(messages.version, 0))
    WHERE coalesce(excluded.edited, 0) >= coalesce(messages.edited, 0) AND (
        coalesce(excluded.edited, 0) > coalesce(messages.edited, 0)
        OR coalesce(excluded.version, 0) > coalesce(messages.version, 0))""",
    types=(
        "text", "bigint", "bigint", "float8", "bigint", "text", "bigint", "float8", "bigint", "text", "bigint",
        "bigint", "text", "text", "bigint",
    ),
    order=40,
    key=(0, 1, 2),
)  # fmt: skip
"""(``MESSAGE_COLUMNS``): stores a message, or what is newer of one that is stored. A deleted one stays deleted."""

BURY: Final = RowStatement(
    "bury",
    "INSERT INTO message_deletions (chat, id, at) SELECT c0, c1, c2 FROM rows ON CONFLICT DO NOTHING",
    types=("bigint", "bigint", "float8"),
    order=41,
    key=(0, 1),
)
"""(chat, id, at): notes a deletion where all members see the same numbers."""

DELETE: Final = RowStatement(
    "delete message",
    """UPDATE messages SET deleted = c3 FROM rows
    WHERE owner = c0 AND chat = c1 AND messages.id = c2 AND deleted IS NULL""",
    types=("text", "bigint", "bigint", "float8"),
    order=42,
    key=(0, 1, 2),
)
"""(owner, chat, id, at): notes when a stored message was deleted; its text stays."""

RELEASE_HELD: Final = RowStatement(
    "release held jobs",
    """UPDATE jobs SET account = '', held = false, node = NULL FROM rows
    WHERE held AND state = 'queued' AND account = c0 AND (due IS NULL OR due <= c1)""",
    types=("text", "float8"),
    order=60,
    latest=True,
)
"""(account, now): lets any account do the jobs whose wait is over and that were held by one that is of no use now."""
RELEASE_WAITING: Final = RowStatement(
    "release waiting jobs",
    """UPDATE jobs SET due = NULL, wait = NULL, clock = NULL FROM rows
    WHERE state = 'queued' AND due IS NOT NULL AND account = c0 AND detail IN (c1, c2)""",
    types=("text", "text", "text"),
    order=61,
    key=(0, 1, 2),
)
"""(account, detail, detail): makes the jobs ready that waited for the end of a limit of this account."""

# --- statements with an answer ---------------------------------------------------------------------------------------

DEAD: Final = "NOT EXISTS (SELECT FROM nodes WHERE nodes.id = {node} AND nodes.state <> 'dead')"
_OPEN: Final = "state IN ('queued', 'running')"
RECOVER: Final = f"""WITH RECURSIVE lives AS (
        (SELECT node FROM jobs WHERE node IS NOT NULL AND {_OPEN} ORDER BY node LIMIT 1)
        UNION ALL SELECT next.node FROM lives, LATERAL (SELECT node FROM jobs
            WHERE node > lives.node AND {_OPEN} ORDER BY node LIMIT 1) AS next),
    dead AS (SELECT node FROM lives WHERE {DEAD.format(node="lives.node")}),
    orphans AS (SELECT id FROM jobs WHERE id IN (
            SELECT jobs.id FROM dead JOIN jobs ON jobs.node = dead.node WHERE {_OPEN}
            UNION ALL SELECT id FROM jobs WHERE state = 'running' AND node IS NULL) FOR UPDATE SKIP LOCKED),
    places AS (DELETE FROM job_places WHERE {DEAD.format(node="job_places.node")})
    UPDATE jobs SET node = NULL, state = 'queued', losses = losses + (state = 'running')::int,
        detail = CASE state WHEN 'running' THEN %s ELSE detail END
    FROM orphans WHERE jobs.id = orphans.id RETURNING jobs.id"""
"""(why): puts back what dead lives had, and what came running from another store.

A job that ran counts that as a lost connection, one that was only claimed does not. Every node asks this all the time,
so it looks at each life that has jobs, and not at each of their jobs.
"""
GIVE_BACK: Final = """UPDATE jobs SET node = NULL
    WHERE node = %s AND state = 'queued' AND due IS NULL AND account = '' AND NOT id = ANY(%s::bigint[])"""
"""(life, busy): lets others have the jobs that this life has claimed, except those that it has begun."""
FREE_PLACES: Final = "DELETE FROM job_places WHERE node = %s AND NOT job = ANY(%s::bigint[])"
"""(life, busy): the places of jobs that do not run: one that a command has ended is not stored again."""
SELECT_JOB: Final = f"SELECT id, kind, data, priority, added, {', '.join(CHANGING)} FROM jobs"
_READY: Final = "state = 'queued' AND due IS NULL AND kind = %s AND account = ''"
CLAIM: Final = f"""WITH own AS (SELECT id FROM jobs WHERE {_READY} AND node = %s),
    new AS (SELECT id FROM jobs WHERE {_READY} AND node IS NULL ORDER BY priority DESC, id LIMIT %s
        FOR UPDATE SKIP LOCKED),
    claimed AS (UPDATE jobs SET node = %s FROM new WHERE jobs.id = new.id)
    {SELECT_JOB} WHERE id IN (SELECT id FROM own UNION ALL SELECT id FROM new)"""
"""(kind, life, kind, limit, life): claims the first jobs for any account that no life has.

Returns them with those that the life has already, in no order.
"""
SELECT_READY: Final = f"""{SELECT_JOB} WHERE state = 'queued' AND due IS NULL AND kind = %s AND account = %s
    ORDER BY priority DESC, id LIMIT %s"""
"""(kind, account, limit): an account has one owner, which alone asks this."""
QUEUES: Final = f"""WITH RECURSIVE kinds AS (
        (SELECT kind FROM jobs WHERE state = 'queued' AND due IS NULL ORDER BY kind LIMIT 1)
        UNION ALL SELECT next.kind FROM kinds, LATERAL (SELECT kind FROM jobs
            WHERE state = 'queued' AND due IS NULL AND kind > kinds.kind ORDER BY kind LIMIT 1) AS next)
    SELECT kind, name FROM kinds, {MINE} AS mine WHERE EXISTS (SELECT FROM jobs
        WHERE state = 'queued' AND due IS NULL AND jobs.kind = kinds.kind AND jobs.account = mine.name)
    ORDER BY kind, name"""
"""(life): the queues of its accounts with ready jobs: a look for each of them, not for each job."""
NEXT_DUE: Final = f"""SELECT min(first.due) FROM {MINE} AS mine, LATERAL (SELECT due FROM jobs
    WHERE state = 'queued' AND due IS NOT NULL AND account = mine.name ORDER BY due LIMIT 1) AS first"""
"""(life)"""
SELECT_HELD: Final = """SELECT DISTINCT account FROM jobs WHERE held AND state = 'queued' AND (
    EXISTS (SELECT FROM accounts WHERE name = account AND owner = %s)
    OR NOT EXISTS (SELECT FROM accounts WHERE name = account))"""
"""(life): of the accounts of other lives those decide, and of one that nobody has, whoever gets it."""
SELECT_WAITING_HELD: Final = f"""{SELECT_JOB} WHERE state = 'queued' AND due > %s AND account <> ''
    AND starts_with(detail, '{FLOOD_WAIT}') ORDER BY due DESC LIMIT 10000"""
"""(now): of all nodes, because no other account may do in a chat what the first may not."""
SELECT_CHARGES: Final = "SELECT kind, account, until, length FROM job_charges WHERE until >= %s"
OLDEST_READY: Final = """SELECT added FROM (SELECT id, added, due FROM jobs
    WHERE state = 'queued' ORDER BY id LIMIT 1000) AS first WHERE due IS NULL ORDER BY id LIMIT 1"""
"""Among the first thousand only: those before it may all wait for a time, and there may be a million of them."""
COUNTS: Final = "SELECT kind, state, sum(jobs)::bigint FROM job_counts GROUP BY kind, state HAVING sum(jobs) > 0"
COMPACT_COUNTS: Final = """WITH gone AS (DELETE FROM job_counts WHERE ctid IN
        (SELECT ctid FROM job_counts LIMIT 10000 FOR UPDATE SKIP LOCKED) RETURNING kind, state, jobs)
    INSERT INTO job_counts SELECT kind, state, sum(jobs) FROM gone GROUP BY kind, state HAVING sum(jobs) <> 0"""
SELECT_ENDED: Final = "SELECT id FROM jobs WHERE state = 'cancelled' AND id = ANY(%s::bigint[])"
SELECT_EQUAL: Final = """SELECT 1 FROM jobs WHERE state IN ('queued', 'running') AND kind = %s AND account = %s
    AND data = %s LIMIT 1"""

NUMBERS: Final = "UPDATE job_numbers SET last = last + %s RETURNING last"
"""(count): takes so many numbers. Whoever adds jobs waits here for others that do."""
ADD: Final = """INSERT INTO jobs (id, kind, account, data, priority, due, added, wait, clock)
    SELECT last - count(*) OVER () + number, kind, account, data, priority, due, added, wait, clock FROM job_numbers,
        unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::float8[], %s::float8[], %s::float8[], %s::text[])
        WITH ORDINALITY AS new (kind, account, data, priority, due, added, wait, clock, number)"""
"""The columns of the jobs; after ``NUMBERS`` in the same transaction."""
ADDED: Final = "SELECT pg_notify('holdfast_jobs', '')"
"""A hint that there are jobs; who misses it finds them with its next look."""
PLACE_OF_KIND: Final = "INSERT INTO job_limits (kind) VALUES (%s) ON CONFLICT DO NOTHING"
LOCK_KIND: Final = "SELECT kind FROM job_limits WHERE kind = %s FOR UPDATE"
TAKE_PLACE: Final = """INSERT INTO job_places (job, kind, node) SELECT %s, %s, %s
    WHERE (SELECT count(*) FROM job_places WHERE kind = %s AND job <> %s) < %s
    ON CONFLICT (job) DO UPDATE SET node = excluded.node RETURNING job"""
"""(job, kind, life, kind, job, limit), in a transaction that holds the kind's row."""
