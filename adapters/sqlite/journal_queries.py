"""What is asked of the journal in ``engine.db``: the columns, and the conditions that the indices serve."""

import json
from collections.abc import Sequence
from typing import Any

from adapters.stores.journal_rows import failure_names
from states.snapshot import State

COLUMNS = """seq, at, (SELECT name FROM names WHERE id = account), life, (SELECT name FROM names WHERE id = source),
    (SELECT name FROM names WHERE id = event), (SELECT name FROM names WHERE id = target),
    (SELECT name FROM names WHERE id = rule), attempt, failures, delay, draw, deadline, dwell, body"""
"""The columns of an entry."""

BEGINNINGS = """SELECT rowid, (SELECT name FROM names WHERE id = account), life, at,
    CASE WHEN json_valid(snapshot) THEN json_extract(snapshot, '$.state') END,
    CASE WHEN json_valid(snapshot) THEN json_extract(snapshot, '$.last_success') END,
    CASE WHEN json_valid(base) THEN json_extract(base, '$.state') END,
    CASE WHEN json_valid(base) THEN json_extract(base, '$.since') END
    FROM lives WHERE rowid > ? AND at >= ? ORDER BY rowid"""
"""The columns of a beginning: SQLite reads the JSON in a tenth of the time."""


def conditions(
    accounts: Sequence[str] | None,
    state: State | None,
    event: str | None,
    period: tuple[float | None, float | None],
    failed: bool,
) -> tuple[str, list[Any]]:
    """Return the condition and its values. A ``+`` keeps SQLite from using any index but the intended one."""
    numbers = "(SELECT id FROM names WHERE name IN (SELECT value FROM json_each(?)))"
    conditions: list[tuple[str, Any]] = []
    if accounts is not None and len(set(accounts)) == 1:
        conditions.append(("account = (SELECT id FROM names WHERE name = ?)", accounts[0]))
    elif accounts is not None:
        conditions.append((f"+account IN {numbers}", json.dumps(list(accounts))))
    if state is not None:
        conditions.append(("target = (SELECT id FROM names WHERE name = ?) AND source <> target", state.value))
    if event is not None:
        conditions.append(("event = (SELECT id FROM names WHERE name = ?)", event))
    if failed:
        conditions.append((f"event IN {numbers}", json.dumps(failure_names())))
    since, until = period
    if since is not None:
        conditions.append(("+at >= ?", since))
    if until is not None:
        conditions.append(("+at < ?", until))
    return " AND ".join(["true", *(text for text, _ in conditions)]), [value for _, value in conditions]
