"""What is written to the ledger of completeness in PostgreSQL: what ``adapters.sqlite.ledger_schema`` is for a file."""

from collections.abc import Sequence
from typing import Any, Final

from adapters.postgres.statements import RowStatement
from adapters.sqlite.ledger_schema import MAX_ROWS
from states.ledger import HoleCause, LedgerRow

NAME: Final = RowStatement(
    "name",
    """INSERT INTO names (name) SELECT c0 FROM rows WHERE NOT EXISTS (SELECT FROM names WHERE name = c0)
    ON CONFLICT DO NOTHING""",
    types=("text",),
    order=20,
    latest=True,
)
"""(account): gives it a number, which an account has that was in the journal."""

LOGIN: Final = RowStatement(
    "login of a user",
    """INSERT INTO logins (account, login, "user")
    SELECT names.id, c1, c2 FROM rows JOIN names ON names.name = c0
    ON CONFLICT (account) DO UPDATE SET login = excluded.login, "user" = excluded."user\"""",
    types=("text", "text", "bigint"),
    order=21,
    latest=True,
)
"""(account, fingerprint of the key, user): ``prove`` finds the rows by it."""

CUT: Final = RowStatement(
    "cut",
    """UPDATE ledger SET upto = inside.number, until = ledger.since, last_id = NULL FROM
    (SELECT own.user_id, own.box, own.login, own.after, min(c2) AS number FROM rows JOIN ledger AS own
        ON own.user_id = c0 AND own.box = c1 AND c2 BETWEEN own.after + 1 AND own.upto - 1
        GROUP BY own.user_id, own.box, own.login, own.after) AS inside
    WHERE (ledger.user_id, ledger.box, ledger.login, ledger.after)
        = (inside.user_id, inside.box, inside.login, inside.after)""",
    types=("bigint", "bigint", "bigint"),
    order=29,
    key=(0, 1, 2),
    latest=True,
)
"""(user, box, number): ends what was proven at a number to which the box was set back."""

RENUMBER: Final = RowStatement(
    "renumber",
    "DELETE FROM ledger USING rows WHERE user_id = c0 AND box = c1 AND upto > c2",
    types=("bigint", "bigint", "bigint"),
    order=30,
    key=(0, 1, 2),
    latest=True,
)
"""(user, box, number): forgets what was proven beyond a number to which the server has set the box back."""

VOID: Final = RowStatement(
    "void",
    """DELETE FROM ledger USING rows WHERE user_id = c0 AND box = c1 AND login <> c2 AND upto > c3
    AND NOT EXISTS (SELECT FROM ledger AS own WHERE own.user_id = c0 AND own.box = c1 AND own.login = c2)""",
    types=("bigint", "bigint", "text", "bigint"),
    order=31,
    key=(0, 1, 2, 3),
    latest=True,
)
"""(user, box, login, after): what another login has proven beyond it is of another world, see ``ledger_schema``."""

INTERVAL: Final = RowStatement(
    "interval",
    """INSERT INTO ledger (user_id, box, login, after, upto, since, until, first_id, last_id)
    SELECT c0, c1, c2, c3, c4, c5, c6, c7, c8 FROM rows
    ON CONFLICT (user_id, box, login, after) DO UPDATE SET upto = greatest(ledger.upto, excluded.upto),
        since = least(ledger.since, excluded.since), until = greatest(ledger.until, excluded.until),
        first_id = least(ledger.first_id, excluded.first_id), last_id = greatest(ledger.last_id, excluded.last_id)""",
    types=("bigint", "bigint", "text", "bigint", "bigint", "float8", "float8", "bigint", "bigint"),
    order=32,
    key=(0, 1, 2, 3),
)
"""(user, box, login, after, upto, since, until, first_id, last_id)"""

HOLE: Final = RowStatement(
    "hole",
    """INSERT INTO ledger_holes (user_id, box, after, cause, upto, since, until)
    SELECT c0, c1, c2, c3, c4, c5, c6 FROM rows
    ON CONFLICT (user_id, box, after, cause) DO UPDATE SET upto = greatest(ledger_holes.upto, excluded.upto),
        since = least(ledger_holes.since, excluded.since), until = greatest(ledger_holes.until, excluded.until)""",
    types=("bigint", "bigint", "bigint", "text", "bigint", "float8", "float8"),
    order=33,
    key=(0, 1, 2, 3),
)
"""(user, box, after, cause, upto, since, until)"""

FILL: Final = RowStatement(
    "fill",
    """INSERT INTO ledger_fills (user_id, chat, source, after_id, upto_id, at, from_at)
    SELECT c0, c1, c2, c3, c4, c5, c6 FROM rows
    ON CONFLICT (user_id, chat, source) DO UPDATE SET after_id = least(ledger_fills.after_id, excluded.after_id),
        upto_id = excluded.upto_id, at = excluded.at, from_at = coalesce(ledger_fills.from_at, excluded.from_at)""",
    types=("bigint", "bigint", "text", "bigint", "bigint", "float8", "float8"),
    order=34,
    key=(0, 1, 2),
)
"""(user or 0, chat, source, after_id, upto_id or None, at, from_at or None)"""

JOIN_ROWS: Final = RowStatement(
    "join intervals",
    """, locked AS MATERIALIZED (SELECT * FROM ledger WHERE user_id IN (SELECT c0 FROM rows)
            ORDER BY user_id, box, login, after FOR UPDATE),
        reached AS (SELECT *, coalesce(max(upto) OVER (PARTITION BY user_id, box, login ORDER BY after
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) < after, true) AS begins FROM locked),
        chains AS (SELECT *, count(*) FILTER (WHERE begins) OVER
            (PARTITION BY user_id, box, login ORDER BY after) AS chain FROM reached),
        whole AS (SELECT user_id, box, login, min(after) AS after, max(upto) AS upto, min(since) AS since,
                max(until) AS until, min(first_id) AS first_id, max(last_id) AS last_id
            FROM chains GROUP BY user_id, box, login, chain HAVING count(*) > 1),
        parts AS (DELETE FROM ledger USING reached AS part WHERE NOT begins
            AND (ledger.user_id, ledger.box, ledger.login, ledger.after)
                = (part.user_id, part.box, part.login, part.after))
    UPDATE ledger SET upto = whole.upto, since = whole.since, until = whole.until, first_id = whole.first_id,
        last_id = whole.last_id
    FROM whole WHERE (ledger.user_id, ledger.box, ledger.login, ledger.after)
        = (whole.user_id, whole.box, whole.login, whole.after)""",
    types=("bigint",),
    order=35,
    latest=True,
)
"""(user): makes one row of those of a user that touch.

They are locked before they are read, so that no row becomes as long again as it was before another node has cut it.
"""

DROP_OLDEST: Final = RowStatement(
    "drop oldest",
    """DELETE FROM ledger USING (SELECT user_id, box, login, after, c1 AS kept,
            row_number() OVER (PARTITION BY user_id, box ORDER BY upto DESC) AS place
        FROM ledger JOIN rows ON user_id = c0) AS old
    WHERE (ledger.user_id, ledger.box, ledger.login, ledger.after) = (old.user_id, old.box, old.login, old.after)
        AND old.place > old.kept""",
    types=("bigint", "bigint"),
    order=37,
    latest=True,
)
"""(user, rows): deletes the oldest rows of each box of a user that has more."""

DROP_HOLES: Final = RowStatement(
    "drop holes",
    """DELETE FROM ledger_holes AS hole USING (SELECT user_id, box, after, cause, c1 AS kept,
            row_number() OVER (PARTITION BY user_id, box ORDER BY after DESC) AS place
        FROM ledger_holes JOIN rows ON user_id = c0) AS old
    WHERE (hole.user_id, hole.box, hole.after, hole.cause) = (old.user_id, old.box, old.after, old.cause)
        AND old.place > old.kept""",
    types=("bigint", "bigint"),
    order=38,
    latest=True,
)
"""(user, rows): deletes the causes of the oldest holes of each box of a user that has more."""


def compaction(user: int) -> list[tuple[RowStatement, Sequence[Any]]]:
    """Return what keeps the ledger of a user small."""
    return [(JOIN_ROWS, (user,)), (DROP_OLDEST, (user, MAX_ROWS)), (DROP_HOLES, (user, MAX_ROWS))]


def ledger_row(row: LedgerRow) -> list[tuple[RowStatement, Sequence[Any]]]:
    """Return what is to be written for an interval."""
    after, upto = row.interval.after, row.interval.upto
    if row.cause is not None:
        hole = (HOLE, (row.user, row.box, after, row.cause.value, upto, row.since, row.until))
        if row.cause is HoleCause.RENUMBERED:
            box = (row.user, row.box, after)
            return [(CUT, box), (RENUMBER, box), hole]
        return [hole]
    return [
        (VOID, (row.user, row.box, row.login, after)),
        (
            INTERVAL,
            (row.user, row.box, row.login, after, upto, row.since, row.until, row.first_id, row.last_id),
        ),
    ]
