"""What is asked of the journal on PostgreSQL: its columns and conditions, as in ``adapters.sqlite.journal_queries``."""

from collections.abc import Sequence
from typing import Any, Final

from adapters.stores.journal_rows import failure_names
from states.snapshot import State

ENDED: Final = "tx < pg_snapshot_xmin(pg_current_snapshot())"
"""The transaction of the row was over before any began that is not over."""
ACCOUNT: Final = "account = (SELECT id FROM names WHERE name = %s)"


def name_of(column: str) -> str:
    """Return the expression for the name that a column has the number of."""
    return f"(SELECT name FROM names WHERE id = {column})"


COLUMNS: Final = f"""seq, at, {name_of("account")}, life, {name_of("source")}, {name_of("event")}, {name_of("target")},
    {name_of("rule")}, dwell, counts, body, number, tx::text AS place"""
"""The columns of an entry, and its place.

A column of a result that is called as one of the table hides that from ``ORDER BY``: as texts, 1000 comes before 999.
"""
SNAPSHOTS: Final = f"SELECT {name_of('account')}, snapshot, seq FROM snapshots"
BEGINNINGS: Final = f"SELECT id, {name_of('account')}, life, at, snapshot, base FROM lives"


def conditions(
    accounts: Sequence[str] | None,
    state: State | None,
    event: str | None,
    period: tuple[float | None, float | None],
    failed: bool,
) -> tuple[str, list[Any]]:
    """Return the condition and its values."""
    conditions: list[tuple[str, Any]] = []
    numbers = "(SELECT id FROM names WHERE name = ANY(%s))"
    if accounts is not None and len(set(accounts)) == 1:
        conditions.append((ACCOUNT, accounts[0]))
    elif accounts is not None:
        conditions.append((f"account IN {numbers}", list(accounts)))
    if state is not None:
        conditions.append(("target = (SELECT id FROM names WHERE name = %s) AND source <> target", state.value))
    if event is not None:
        conditions.append(("event = (SELECT id FROM names WHERE name = %s)", event))
    if failed:
        conditions.append((f"event IN {numbers}", list(failure_names())))
    since, until = period
    if since is not None:
        conditions.append(("at >= %s", since))
    if until is not None:
        conditions.append(("at < %s", until))
    return " AND ".join(["true", *(text for text, _ in conditions)]), [value for _, value in conditions]
