"""Records: the journal replays, the law allows each of them, and the log has no errors but those of the faults."""

import re
from collections.abc import Iterator
from typing import Final

from engine.app.journal_events import decode_event
from engine.journal.replay import Difference, Replay
from tests.simulation.evidence import Evidence, FaultSeen, JournalSeen, LogLine, Verdict
from tests.simulation.judges.shared import concerns, sentence

REPLAYS = "the journal replays"
LAWFUL = "the law allows each record"
CLEAN = "the log is clean"
LATER: Final = 1800.0
"""Seconds after a fault in which a line may still be about it: the longest back-off, and what follows it."""
OWN_FAILURES: Final = ("HandlerFailed", "StepFailed")
"""Exceptions that the world's own handlers and jobs raise on purpose."""
OF_ACCOUNTS: Final = frozenset(
    {
        "connection_lost", "attempt_failed", "failure_reported", "alert_exhausted", "alert_parked", "alert_auth_failed",
        "alert_limited", "incident_opened", "update_not_delivered", "job_failed", "background_task_failed",
    }
)  # fmt: skip
"""Errors that tell of an account, which any fault of it may cause."""
OF_DISK: Final = frozenset(
    {
        "alert_database", "journal_waits", "journal_rows_lost", "jobs_wait", "session_not_saved",
        "sessions_not_written", "log_waits", "watcher_failed", "credentials_watch_failed", "life_refused",
        "grace_exceeded",
    }
)  # fmt: skip
"""Errors that trouble with the disk may cause besides."""
TELETHON: Final = "holdfast.telethon"
"""The logger of what Telethon says by itself: it calls each lost connection an error, as the documents say."""
_BUG: Final = re.compile(
    r"Traceback \(most recent call last\)|error in the engine itself|never retrieved|never awaited"
)


def journal_replays(evidence: Evidence) -> Iterator[Verdict]:
    """Every row can be read, every decision comes out of the rules as it is recorded, and none breaks the law."""
    for journal in evidence.journals:
        for row in journal.unreadable:
            yield Verdict(judge=REPLAYS, what=f"a row cannot be read: {row}", at=journal.at)
        if (found := _first_difference(journal)) is None:
            continue
        if found.breaks is not None:
            what = f"record {found.seq}, {found.journal}, breaks the law ({found.breaks}): {found.replay}"
            yield Verdict(judge=LAWFUL, what=what, at=journal.at, account=found.account)
        else:
            there, due = f"{found.journal!r:.100}", f"{found.replay!r:.100}"
            what = f"record {found.seq}, {found.field}: the journal has {there}, and {due} is due"
            yield Verdict(judge=REPLAYS, what=what, at=journal.at, account=found.account)


def _first_difference(journal: JournalSeen) -> Difference | None:
    first = journal.first_seq or (journal.entries[0].seq if journal.entries else 1)
    gaps = bool(journal.unreadable)
    course = Replay(journal.lives, journal.stored, decode_event, first=None if gaps else first, monitored=True)
    for entry in journal.entries:
        if (found := course.take(entry)) is not None:
            return found
    return course.end(first)


def log_is_clean(evidence: Evidence) -> Iterator[Verdict]:
    """No line tells of a mistake of the engine, and no error is there that none of the faults explains."""
    for complaint in evidence.complaints:
        if not any(name in complaint.text for name in OWN_FAILURES):
            yield Verdict(judge=CLEAN, what=f"Python complains: {sentence(complaint.text)}", at=complaint.at)
    for line in evidence.logs:
        if line.logger.startswith(TELETHON) or any(name in line.text for name in OWN_FAILURES):
            continue
        if _BUG.search(line.text):
            what = f"a line tells of a mistake of the engine: {line.event}: {sentence(line.text)}"
            yield Verdict(judge=CLEAN, what=what, at=line.at, account=line.account)
        elif line.level in ("error", "critical") and not _is_explained(evidence, line):
            what = f"no fault explains the error {line.event}: {sentence(line.text)}"
            yield Verdict(judge=CLEAN, what=what, at=line.at, account=line.account)


def _is_explained(evidence: Evidence, line: LogLine) -> bool:
    """Return whether a fault, or user code that fails on purpose, explains an error."""
    if any(name in line.text for name in OWN_FAILURES):
        return True
    return any(line.event in _explained_by(fault) for fault in evidence.faults if _fits(fault, line))


def _explained_by(fault: FaultSeen) -> frozenset[str]:
    disk = fault.kind.startswith(("disk.", "process.power_cut"))
    return OF_ACCOUNTS | fault.excuses | (OF_DISK if disk else frozenset())


def _fits(fault: FaultSeen, line: LogLine) -> bool:
    """Return whether a line came during a fault, or not long after it, and of whom it concerns."""
    in_time = fault.at <= line.at and (fault.ended is None or line.at <= fault.ended + LATER)
    return in_time and (not line.account or concerns(fault.account, line.account) or fault.kind.startswith("disk."))
