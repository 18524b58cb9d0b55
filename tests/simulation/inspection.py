"""What is looked at when a life, or all of a run, is over: the files, the datacenter's ledger, what is left."""

import gc
import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from adapters.sqlite import JournalReader, StorageError
from adapters.sqlite.incident_reader import IncidentReader
from adapters.sqlite.job_reader import JobReader
from adapters.sqlite.ledger_reader import LedgerReader
from adapters.telegram.boxes import ACCOUNT
from tests.simulation import job_bounds
from tests.simulation.disk_troubles import DATABASE
from tests.simulation.entropy import EPOCH
from tests.simulation.evidence import Delivery, IncidentReport, Inspection, JournalSeen, Standstill
from tests.simulation.judges import judge
from tests.simulation.outcome import Outcome
from tests.simulation.program import GROUP, STEPS
from tests.simulation.telling import in_order, tell

if TYPE_CHECKING:
    from tests.simulation.run import Run


def look(run: "Run") -> None:
    """Look at what a life has left, before the next one begins."""
    gc.collect()
    _inspect(run)


def _inspect(run: "Run") -> None:
    """Note what the file has of jobs and checkpoints; nothing where it cannot be read while a fault lasts."""
    path = run.world.directory / DATABASE
    found: dict[tuple[str, str], str] = {}
    try:
        if not path.exists():
            return
        with JobReader.open(path) as reader:
            for job in reader.jobs({}):
                found["job", str(job.id)] = job.kind
                if job.kind == STEPS and job.checkpoint is not None:
                    found["checkpoint", str(job.id)] = json.dumps(dict(job.checkpoint), sort_keys=True)
        with LedgerReader.open(path) as ledger:
            claims = {
                name: [
                    (row.interval.after, row.interval.upto) for row in ledger.rows(ACCOUNT, [user]) if row.cause is None
                ]
                for name, user in ledger.users().items()
            }
    except (StorageError, OSError):
        return
    run.ledger.evidence.inspections.append(
        Inspection(
            at=run.ledger.now,
            life=run.ledger.life,
            found=found,
            kinds=frozenset({"job", "checkpoint"}),
            positions={name: at for name in run.ports if (at := _position(run, name)) is not None},
            claims=claims,
        )
    )


def _position(run: "Run", account: str) -> int | None:
    """Return up to which position a session file has its updates as handled; None if it cannot be read.

    A copy is read, by a connection that is not of the disk, in a directory whose name is not drawn: the world must be
    the same whether this is asked or not.
    """
    name, directory = f"{account.lower().replace(' ', '')}.session", run.world.directory
    beside = directory.with_name(f"{directory.name}-look")
    beside.mkdir()
    try:
        for each in (name, f"{name}-wal"):
            if (directory / each).exists():
                shutil.copyfile(directory / each, beside / each)
        with closing(sqlite3.connect(beside / name, factory=sqlite3.Connection)) as database:
            row = database.execute("SELECT pts FROM update_state WHERE id = 0").fetchone()
    except sqlite3.Error:
        return None
    finally:
        shutil.rmtree(beside)
    return None if row is None else int(row[0])


def datacenter_position(run: "Run", account: str) -> int:
    """Return how far the datacenter's events for an account go. No other thread goes on while this is asked."""
    asked = "SELECT pts FROM accounts WHERE phone = ?"
    phone = run.phones[account].lstrip("+")
    row = sqlite3.Connection.execute(run.sandbox._hub.store._db, asked, (phone,)).fetchone()
    return 0 if row is None else int(row[0])


def at_risk(run: "Run") -> str:
    """Return in words what the power cut has found that was not synced."""
    writes = {path.rpartition("/")[2]: count for path, count in run.world.disk.at_risk.items()}
    if not writes:
        return "everything that was written had been synced"
    told = ", ".join(f"{count} to {name}" for name, count in sorted(writes.items()))
    return f"writes that were never synced: {told}"


def close(run: "Run") -> None:
    """Look at everything at the end of all."""
    evidence, path = run.ledger.evidence, run.world.directory / DATABASE
    unreadable: list[str] = []
    try:
        with JournalReader.open(path) as reader:
            reader.on_unreadable = lambda row: unreadable.append(str(row))
            evidence.journals.append(
                JournalSeen(
                    at=run.ledger.now,
                    entries=list(reader.entries()),
                    lives={(life.account, life.life): life for life in reader.lives()},
                    stored=reader.snapshots(),
                    first_seq=reader.first_seq(),
                    unreadable=unreadable,
                )
            )
    except StorageError as exc:
        run.ledger.complain(f"the journal cannot be read at the end: {exc}")
    _close_incidents(run)
    _close_jobs(run)
    evidence.quiet_from = max(
        [run.story.quiet_from, *(each.ended or 0.0 for each in evidence.faults), *(c.at for c in evidence.commands)]
    )
    job_bounds.fill(evidence, run.story)


def _close_incidents(run: "Run") -> None:
    with IncidentReader.open(run.world.directory / DATABASE) as reader:
        members = reader.inside()
        run.ledger.evidence.incidents = [
            IncidentReport(
                number=each.id,
                kind=each.kind.value,
                cause=each.cause,
                accounts=each.accounts,
                since=each.since,
                opened=each.opened,
                closed=each.closed,
                inside=frozenset((slot, name) for number, slot, name in members if number == each.id),
            )
            for each in reader.incidents()
        ]


def _close_jobs(run: "Run") -> None:
    seen = {job.number: job for job in run.ledger.evidence.jobs}
    for job in seen.values():
        job.state = "gone"  # unless the file has it
    with JobReader.open(run.world.directory / DATABASE) as reader:
        for kept in reader.jobs({}):
            if (known := seen.get(kept.id)) is not None:
                known.state = kept.state.value
                known.ended = None if kept.ended is None else kept.ended - run.world.clock.wall() + run.ledger.now
    names = {run.sandbox._hub.store.account(phone).id: name for name, phone in run.phones.items()}
    for message in run.sandbox.channel_messages(GROUP):
        run.ledger.evidence.deliveries.append(
            Delivery(
                at=run.ledger.now,
                account=names.get(message.sender or 0, ""),
                text=message.text,
                chat=GROUP,
                id=message.id,
            )
        )
        run.ledger.counters["sends"] += 1


def standstill(run: "Run", detail: str) -> None:
    """Note that the world stood still."""
    run.ledger.evidence.standstills.append(Standstill(at=run.ledger.now, life=run.ledger.life, detail=detail[:8000]))


def dump(run: "Run") -> str:
    """Return every row of the engine's database as text."""
    path = run.world.directory / DATABASE
    lines = []
    with closing(sqlite3.connect(path)) as database:
        tables = [
            name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
        ]
        for table in tables:
            lines.append(f"== {table}")
            lines += sorted(repr(row) for row in database.execute(f'SELECT * FROM "{table}"'))
    return "\n".join(lines).replace(str(run.world.directory), "DIRECTORY") + "\n"


def outcome(run: "Run") -> Outcome:
    """Return what the run has given."""
    evidence = run.ledger.evidence
    for failure in run.world.threads.failures:
        run.ledger.complain(f"a thread ended with an exception: {failure.describe()}")
    journal = dump(run)
    return Outcome(
        digest=Outcome.digest_of(journal),
        journal=journal,
        verdicts=tuple(judge(evidence)),
        counters=dict(run.ledger.counters),
        happenings=tuple(in_order([*run.ledger.happenings, *tell(evidence, run.story, EPOCH)])),
    )
