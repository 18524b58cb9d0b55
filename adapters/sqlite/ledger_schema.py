"""The tables of the ledger of completeness in ``engine.db``, and the statements that fill them.

A row is an interval of a box that was handled (``ledger``) or is known to be lost, and why (``ledger_holes``). Each run
of the engine begins a row where the session file was, and makes it longer. ``COMPACT`` joins those that touch, so a
year of a busy channel is a handful of rows. Boxes are numbered for a user, whatever the account is called.

``ledger_fills``: the messages of a chat that were read later from its history, whatever was missed when they came.
"""

from typing import Final

from adapters.sqlite.queue import Statement, cell

FIRST_VERSION: Final = 10
"""The first schema with a ledger."""
MAX_ROWS: Final = 1000
"""Rows of one box that are kept; the oldest go first, so what is proven begins later and never has a hole more."""

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS ledger (
        user INTEGER NOT NULL, box INTEGER NOT NULL, login TEXT NOT NULL, after INTEGER NOT NULL, upto INTEGER NOT NULL,
        since REAL NOT NULL, until REAL NOT NULL, first_id INTEGER, last_id INTEGER,
        PRIMARY KEY (user, box, login, after))""",
    "CREATE INDEX IF NOT EXISTS ledger_by_box ON ledger (box)",
    """CREATE TABLE IF NOT EXISTS ledger_holes (
        user INTEGER NOT NULL, box INTEGER NOT NULL, after INTEGER NOT NULL, cause TEXT NOT NULL,
        upto INTEGER NOT NULL, since REAL NOT NULL, until REAL NOT NULL,
        PRIMARY KEY (user, box, after, cause)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS ledger_fills (
        user INTEGER NOT NULL, chat INTEGER NOT NULL, source TEXT NOT NULL, after_id INTEGER NOT NULL,
        upto_id INTEGER, at REAL NOT NULL, from_at REAL, PRIMARY KEY (user, chat, source))""",
)
"""``ledger_fills.user`` is 0 where all members see a message under one number; ``upto_id`` is NULL if everything up to
``at`` was read, and ``from_at`` the date from which on it was read, if it was one."""
NAMES: Final = frozenset({"ledger", "ledger_holes", "ledger_fills"})

CUT: Final = Statement(
    "cut",
    f"""UPDATE ledger SET upto = inside.number, until = since, last_id = NULL FROM
    (SELECT ledger.rowid AS place, min({cell(2)}) AS number FROM rows JOIN ledger
        ON ledger.user = {cell(0)} AND ledger.box = {cell(1)} AND {cell(2)} BETWEEN ledger.after + 1 AND ledger.upto - 1
        GROUP BY ledger.rowid) AS inside
    WHERE ledger.rowid = inside.place""",
    width=3,
    order=29,
)
"""(user, box, number): ends what was proven at a number to which the box was set back. When that was reached, and with
which message, is not known any more."""

RENUMBER: Final = Statement(
    "renumber",
    f"""DELETE FROM ledger WHERE rowid IN (SELECT ledger.rowid FROM rows JOIN ledger
    ON ledger.user = {cell(0)} AND ledger.box = {cell(1)} AND ledger.upto > {cell(2)})""",
    width=3,
    order=30,
)
"""(user, box, number): forgets what was proven beyond a number to which the server has set the box back."""

VOID: Final = Statement(
    "void",
    f"""DELETE FROM ledger WHERE rowid IN (SELECT ledger.rowid FROM rows JOIN ledger
    ON ledger.user = {cell(0)} AND ledger.box = {cell(1)} AND ledger.login <> {cell(2)} AND ledger.upto > {cell(3)}
    WHERE NOT EXISTS (SELECT 1 FROM ledger AS own
        WHERE own.user = {cell(0)} AND own.box = {cell(1)} AND own.login = {cell(2)}))""",
    width=4,
    order=31,
)
"""(user, box, login, after): a login that begins below what another one has proven lives in another world (a sandbox
that was made anew), where the numbers mean other events."""

INTERVAL: Final = Statement(
    "interval",
    f"""INSERT INTO ledger (user, box, login, after, upto, since, until, first_id, last_id)
    SELECT {", ".join(map(cell, range(9)))} FROM rows WHERE true
    ON CONFLICT (user, box, login, after) DO UPDATE SET upto = max(upto, excluded.upto),
        since = min(since, excluded.since), until = max(until, excluded.until),
        first_id = min(coalesce(first_id, excluded.first_id), coalesce(excluded.first_id, first_id)),
        last_id = max(coalesce(last_id, excluded.last_id), coalesce(excluded.last_id, last_id))""",
    width=9,
    order=32,
)
"""(user, box, login, after, upto, since, until, first_id, last_id)"""

HOLE: Final = Statement(
    "hole",
    f"""INSERT INTO ledger_holes (user, box, after, cause, upto, since, until)
    SELECT {", ".join(map(cell, range(7)))} FROM rows WHERE true
    ON CONFLICT (user, box, after, cause) DO UPDATE SET upto = max(upto, excluded.upto),
        since = min(since, excluded.since), until = max(until, excluded.until)""",
    width=7,
    order=33,
)
"""(user, box, after, cause, upto, since, until)"""

FILL: Final = Statement(
    "fill",
    f"""INSERT INTO ledger_fills (user, chat, source, after_id, upto_id, at, from_at)
    SELECT {", ".join(map(cell, range(7)))} FROM rows WHERE true
    ON CONFLICT (user, chat, source) DO UPDATE SET after_id = min(after_id, excluded.after_id),
        upto_id = excluded.upto_id, at = excluded.at, from_at = coalesce(from_at, excluded.from_at)""",
    width=7,
    order=34,
)
"""(user or 0, chat, source, after_id, upto_id or None, at, from_at or None)"""

JOIN_ROWS: Final = Statement(
    "join intervals",
    f"""INSERT INTO ledger (user, box, login, after, upto, since, until, first_id, last_id)
    WITH reached AS (SELECT *, max(upto) OVER (PARTITION BY user, box, login ORDER BY after, upto
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reach FROM ledger),
        chains AS (SELECT *, sum(reach IS NULL OR reach < after) OVER
            (PARTITION BY user, box, login ORDER BY after, upto) AS chain FROM reached)
    SELECT user, box, login, min(after), max(upto), min(since), max(until), min(first_id), max(last_id)
    FROM chains, rows WHERE {cell(0)} GROUP BY user, box, login, chain HAVING count(*) > 1
    ON CONFLICT (user, box, login, after) DO UPDATE SET upto = excluded.upto, since = excluded.since,
        until = excluded.until, first_id = excluded.first_id, last_id = excluded.last_id""",
    width=1,
    order=35,
)
"""(1): makes one row of those that touch."""
DROP_JOINED: Final = Statement(
    "drop joined",
    f"""DELETE FROM ledger WHERE {cell(0).replace("column1", "(SELECT column1 FROM rows)")} AND EXISTS
    (SELECT 1 FROM ledger AS whole WHERE whole.user = ledger.user AND whole.box = ledger.box
        AND whole.login = ledger.login AND whole.after < ledger.after AND whole.upto >= ledger.upto)""",
    width=1,
    order=36,
)
"""(1): deletes the rows that are a part of another one."""
DROP_OLDEST: Final = Statement(
    "drop oldest",
    f"""DELETE FROM ledger WHERE rowid IN (SELECT rowid FROM
    (SELECT rowid, row_number() OVER (PARTITION BY user, box ORDER BY upto DESC) AS place FROM ledger)
    WHERE place > (SELECT max({cell(0)}) FROM rows))""",
    width=1,
    order=37,
)
"""(rows): deletes the oldest rows of each box that has more."""
DROP_HOLES: Final = Statement(
    "drop holes",
    f"""DELETE FROM ledger_holes WHERE (user, box, after, cause) IN (SELECT user, box, after, cause FROM
    (SELECT *, row_number() OVER (PARTITION BY user, box ORDER BY after DESC) AS place FROM ledger_holes)
    WHERE place > (SELECT max({cell(0)}) FROM rows))""",
    width=1,
    order=38,
)
"""(rows): deletes the causes of the oldest holes of each box that has more."""
COMPACT: Final = ((JOIN_ROWS, (1,)), (DROP_JOINED, (1,)), (DROP_OLDEST, (MAX_ROWS,)), (DROP_HOLES, (MAX_ROWS,)))
"""What keeps the ledger small, in one transaction."""
