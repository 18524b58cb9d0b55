"""What is written to and asked of the jobs where several nodes share one file, beside ``job_schema.py``.

``life`` is a row of ``nodes``. A job that a life has (``jobs.node``) is changed by no other while that life lives.
"""

from typing import Final

from adapters.sqlite.job_schema import BEGAN_BEFORE, CHANGING, SELECT_JOB
from adapters.sqlite.queue import Statement, cell

_LIFE, _CLOCK = 1 + len(CHANGING), 2 + len(CHANGING)
_ALIVE: Final = "(SELECT id FROM nodes WHERE state <> 'dead')"
_MINE: Final = "(SELECT '' UNION ALL SELECT name FROM node_accounts WHERE owner = {life})"
"""The accounts of a life, and none: whose jobs it may do."""
_OPEN: Final = "state IN ('queued', 'running')"

JOB_OF_LIFE = Statement(
    "job of a life",
    f"""UPDATE jobs SET {", ".join(f"{name} = {cell(number)}" for number, name in enumerate(CHANGING, 1))},
        node = CASE WHEN {cell(3)} = 'running' OR ({cell(3)} = 'queued' AND {cell(4)} IS NULL AND {cell(1)} = '')
            THEN {cell(_LIFE)} END,
        clock = CASE WHEN {cell(4)} IS NOT NULL THEN {cell(_CLOCK)} END
    FROM rows WHERE jobs.id = {cell(0)} AND jobs.state IN ('queued', 'running')
        AND (jobs.node IS NULL OR jobs.node = {cell(_LIFE)} OR jobs.node NOT IN {_ALIVE})""",
    width=3 + len(CHANGING),
    order=10,
    latest=True,
)
"""(id, account, held, state, …, ended, life, clock): all columns that change. One that the operator has cancelled stays
so; one that could begin again at once stays claimed, because the dispatcher may have it in memory."""

FREE_PLACE = Statement(
    "free place",
    f"DELETE FROM job_places WHERE job IN (SELECT {cell(0)} FROM rows)",
    width=1,
    order=10,
)
"""(job): its place under the limit of its kind is free again."""

CHARGE_OF_NODE = Statement(
    "charge of a node",
    f"""INSERT OR IGNORE INTO job_charges (job, until, kind, account, length, clock)
    SELECT {", ".join(map(cell, range(6)))} FROM rows""",
    width=6,
    order=11,
)
"""(job, until, kind, account, length, clock)"""

DUE_FOR_LIFE = Statement(
    "due for a life",
    f"""UPDATE jobs SET due = NULL, wait = NULL WHERE id IN (SELECT jobs.id FROM rows, jobs INDEXED BY jobs_waiting
    WHERE state = 'queued' AND due <= {cell(0)} AND jobs.account IN {_MINE.format(life=cell(1))}
    ORDER BY due LIMIT 1000)""",
    width=2,
    order=15,
)
"""(now, life): makes the first thousand of its jobs ready whose time has come."""

MOVE_JOBS_OF_NODE = Statement(
    "move jobs of a node",
    f"""UPDATE jobs INDEXED BY jobs_waiting SET due = min(due + {cell(0)}, {cell(1)} + wait) FROM rows
    WHERE state = 'queued' AND due IS NOT NULL AND wait IS NOT NULL
    AND ({cell(0)} = 0 OR (clock = {cell(2)} AND {BEGAN_BEFORE.format(end="due", length="wait")}))""",
    width=3,
    order=17,
)
"""(shift, now, clock): moves the waits that this node has computed with a clock that was set; see ``states.clock``."""
MOVE_CHARGES_OF_NODE = Statement(
    "move charges of a node",
    f"""UPDATE OR REPLACE job_charges SET until = min(until + {cell(0)}, {cell(1)} + length) FROM rows
    WHERE length IS NOT NULL
    AND ({cell(0)} = 0 OR (clock = {cell(2)} AND {BEGAN_BEFORE.format(end="until", length="length")}))""",
    width=3,
    order=18,
)
"""(shift, now, clock): moves the places that are taken in budgets likewise."""

# --- statements with an answer ---------------------------------------------------------------------------------------

HAS_ORPHANS: Final = f"""SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_by_node
        WHERE node IS NOT NULL AND {_OPEN} AND node NOT IN {_ALIVE})
    OR EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_by_state WHERE state = 'running' AND node IS NULL)
    OR EXISTS (SELECT 1 FROM job_places WHERE node NOT IN {_ALIVE})"""
RECOVER_ORPHANS: Final = f"""UPDATE jobs SET node = NULL, state = 'queued', losses = losses + (state = 'running'),
        detail = CASE state WHEN 'running' THEN ? ELSE detail END
    WHERE id IN (
        SELECT id FROM jobs INDEXED BY jobs_by_node WHERE node IS NOT NULL AND {_OPEN} AND node NOT IN {_ALIVE}
        UNION ALL SELECT id FROM jobs INDEXED BY jobs_by_state WHERE state = 'running' AND node IS NULL)"""
"""(why): puts back what dead lives had, and what an engine that had the file for itself has left running.

A job that ran counts that as a lost connection, one that was only claimed does not.
"""
FREE_PLACES_OF_THE_DEAD: Final = f"DELETE FROM job_places WHERE node NOT IN {_ALIVE}"
GIVE_BACK: Final = f"""UPDATE jobs SET node = NULL WHERE id IN (SELECT id FROM jobs INDEXED BY jobs_by_node
    WHERE node = :life AND {_OPEN} AND state = 'queued' AND due IS NULL AND account = ''
        AND id NOT IN (SELECT value FROM json_each(:busy)))"""
FREE_PLACES: Final = "DELETE FROM job_places WHERE node = :life AND job NOT IN (SELECT value FROM json_each(:busy))"
_READY: Final = "state = 'queued' AND due IS NULL AND kind = :kind AND account = ''"
HAS_READY: Final = f"""SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_ready
    WHERE {_READY} AND (node IS NULL OR node = :life))"""
CLAIM: Final = f"""UPDATE jobs SET node = :life WHERE id IN (SELECT id FROM jobs INDEXED BY jobs_ready
    WHERE {_READY} AND node IS NULL ORDER BY priority DESC, id LIMIT :limit)"""
SELECT_CLAIMED: Final = f"""{SELECT_JOB} INDEXED BY jobs_ready WHERE {_READY} AND node = :life
    ORDER BY priority DESC, id"""
SELECT_OWN_ACCOUNTS: Final = "SELECT name FROM node_accounts WHERE owner = ?"
NEXT_DUE_OF_LIFE: Final = f"""SELECT min(due) FROM jobs INDEXED BY jobs_waiting_of
    WHERE state = 'queued' AND due IS NOT NULL AND account IN {_MINE.format(life="?")}"""
SELECT_HELD_OF_LIFE: Final = """SELECT DISTINCT account FROM jobs INDEXED BY jobs_held
    WHERE held = 1 AND state = 'queued' AND (
        EXISTS (SELECT 1 FROM node_accounts WHERE name = jobs.account AND owner = ?)
        OR NOT EXISTS (SELECT 1 FROM node_accounts WHERE name = jobs.account))"""
TAKE_PLACE: Final = """INSERT INTO job_places (job, kind, node) SELECT :job, :kind, :life
    WHERE (SELECT count(*) FROM job_places WHERE kind = :kind AND job <> :job) < :at_once
    ON CONFLICT (job) DO UPDATE SET node = excluded.node"""
