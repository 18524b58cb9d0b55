"""The events of the engine's database and their lines: the journal, the snapshots, and what becomes of their file."""

from functools import partial
from typing import Final

from engine.console.log_event import Fields, LogEvent

_ACCOUNT: Final = {"account": "the account's name"}
_DETAIL: Final = {"detail": "what happened, in a sentence"}

_journal = partial(LogEvent, "holdfast.journal")


def _database_lost(of: Fields) -> str:
    kept = (
        "everything that it had"
        if of["whole"]
        else "what memory knew: the accounts as they are, and the jobs that were read; older history is not in it"
    )
    aside = f". The file that was there is now {of['aside']}" if of["aside"] else ""
    moved = ", ".join(f"job {old} is now job {new}" for old, new in of["jobs"])
    jobs = f". Jobs that were added to that file meanwhile go on here: {moved}" if moved else ""
    return (
        f"The database {of['path']} {of['detail']} while the engine runs; a new one is there, with {kept}{aside}"
        f"{jobs}. Stop the engine before you touch its files"
    )


def _snapshot_repaired(of: Fields) -> str:
    holds = "1 hold" if of["holds"] == 1 else f"{of['holds']} holds"
    outcome = (
        "it was made again from its journal, and nothing is lost"
        if of["exact"]
        else f"it begins anew, with what could still be read ({holds})"
    )
    return f"Where {of['account']} was cannot be read from the database ({of['detail']}); {outcome}"


JOURNAL: Final = (
    _journal(
        "database_lost",
        "error",
        "💾",
        _database_lost,
        "the engine's database was deleted, moved, replaced or overwritten while it runs",
        {
            "path": "the database",
            **_DETAIL,
            "whole": "whether the new file has everything that the lost one had",
            "aside": "where the file is now that was found under the name; null if there was none",
            "jobs": "jobs that were added to that file, each with its number there and its number now",
        },
    ),
    _journal(
        "snapshot_repaired",
        "warning",
        "💾",
        _snapshot_repaired,
        "the row that says where an account was could not be read when the database was opened",
        {
            **_ACCOUNT,
            **_DETAIL,
            "exact": "whether the account goes on exactly where it was",
            "holds": "how many kinds of requests of the account still wait",
        },
    ),
    _journal(
        "journal_written", "info", "💾", "The journal is written again", "the journal's file can be written again"
    ),
    _journal(
        "journal_waits",
        "error",
        "💾",
        "The journal waits with {rows} rows, and nothing is lost: {detail}",
        "the journal's file cannot be written",
        {"rows": "rows that wait in memory", **_DETAIL},
    ),
    _journal(
        "journal_unreadable",
        "warning",
        "💾",
        "The journal cannot be read for those that follow it, who wait: {detail}",
        "the journal's file cannot be read for now; it is tried again",
        _DETAIL,
    ),
    _journal(
        "journal_rows_lost",
        "error",
        "💾",
        "{rows} rows of the journal could not be saved in time",
        "the engine ended while the journal's file could not be written",
        {"rows": "rows that are lost"},
    ),
    _journal(
        "retention_failed",
        "warning",
        "💾",
        "Old entries of the journal are not deleted for now: {detail}",
        "old entries cannot be deleted; it is tried again",
        _DETAIL,
    ),
)
"""Every event of this logger."""
