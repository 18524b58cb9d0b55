"""``log replay``."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from rich.progress import Progress

from adapters.stores.journal_rows import UnreadableRow
from engine import paths
from engine.app.journal_events import decode_event
from engine.app.records import open_records
from engine.cli.common import EXIT_FAILED, AsJson, ConfigPath, fail, reporting_errors, single
from engine.cli.declared import Parameter
from engine.cli.log_common import journal_accounts, open_journal, tell_unreadable
from engine.config import load_outline
from engine.console.safe_text import json_text, one_line
from engine.journal.replay import Difference, Replay, ReplayReport

if TYPE_CHECKING:
    from engine.cli.log_follow import FollowedJournal
    from engine.journal.ports import JournalRecords


def replay(
    config: ConfigPath = Path("config.yaml"),
    *,
    account: Annotated[str | None, Parameter(help="Only this account.")] = None,
    follow: Annotated[
        bool, Parameter(negative="", help="Check what is written from now on instead, until Ctrl+C or an incident.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Decide every record of the journal again by the rules, and compare the result with the record.

    Exit code 0 if all agree, 1 if one does not, or cannot be read; the first that differs is shown.
    """
    with reporting_errors():
        if follow:
            _follow(config, account, as_json)
            return
        with open_journal(config) as reader, reader.read_transaction():
            if account is not None:
                account = single(journal_accounts(reader, account), account)
            report, unreadable = _replay_journal(reader, account)
        tell_unreadable(unreadable)
        if as_json:
            print(json_text(as_data(report)))
        else:
            print(as_text(report))
        if report.difference is not None or unreadable:
            raise SystemExit(EXIT_FAILED)


def _follow(config: Path, account: str | None, as_json: bool) -> None:
    """Check records as they are written; exit with 1 at the first incident."""
    from engine.cli.log_follow import FollowedJournal  # noqa: PLC0415 - a replay of what is there need not have it

    if account is not None:
        with open_journal(config) as reader:
            account = single(journal_accounts(reader, account), account)
    outline = load_outline(config)
    records = None if outline.database is None else partial(open_records, outline)
    follow_until_incident(FollowedJournal(outline.directory / paths.DATABASE, account, json=as_json, records=records))


def follow_until_incident(followed: "FollowedJournal") -> None:
    """Check records until Ctrl+C, and print how many; exit with 1 at the first incident. Raises ``StorageError``."""
    incident = None
    try:
        followed.open()
        incident = followed.run()
    except KeyboardInterrupt:
        pass  # how it usually ends
    finally:
        followed.close()
    report = followed.report(incident)
    if followed.json:
        row = incident.unreadable if incident is not None else None
        found = {"event": "ended" if incident is None else "incident", **as_data(report)}
        found["agrees"] = incident is None
        found["unreadable"] = row and {"seq": row.seq, "account": row.account, "why": row.why}
        print(json_text(found))
    elif incident is None or incident.difference is not None:
        print(as_text(report))
    if incident is not None:
        fail(EXIT_FAILED, incident.sentence)


def _replay_journal(reader: "JournalRecords", account: str | None) -> tuple[ReplayReport, list[UnreadableRow]]:
    unreadable: list[UnreadableRow] = []
    reader.on_unreadable = unreadable.append
    lives = {(life.account, life.life): life for life in reader.lives(account)}
    stored = {name: at for name, at in reader.snapshots().items() if account in (None, name)}
    first, last = reader.first_seq(), reader.last_seq()
    course = Replay(lives, stored, decode_event, first=first if account is None and reader.is_gapless else None)
    for row in unreadable:  # of lives, or of snapshots
        if row.life is not None:
            course.leave_out(row.account, row.life)

    def leave_out(row: UnreadableRow) -> None:
        unreadable.append(row)
        course.leave_out(row.account, row.life, seq=row.seq)

    reader.on_unreadable = leave_out
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Replaying", total=last - first + 1)

        def advance(seq: int) -> None:
            progress.update(task, completed=seq - first)

        difference = _find_difference(course, reader, account, first, advance)
    return course.report(difference), unreadable


def _find_difference(
    course: Replay, reader: "JournalRecords", account: str | None, first: int, advance: Callable[[int], None]
) -> Difference | None:
    for entry in reader.entries(accounts=None if account is None else [account]):
        if (found := course.take(entry)) is not None:
            return found
        if entry.seq % 1000 == 0:
            advance(entry.seq)
    return course.end(first)


def as_data(report: ReplayReport) -> dict[str, Any]:
    """Return what ``log replay --json`` prints."""
    found = report.difference
    return {
        "agrees": found is None,
        "records": report.records,
        "lives": report.lives,
        "accounts": report.accounts,
        "skipped_records": report.skipped_records,
        "skipped_lives": report.skipped_lives,
        "difference": found
        and {
            "seq": found.seq,
            "account": found.account,
            "field": found.field,
            "journal": _to_json(found.journal),
            "replay": _to_json(found.replay),
            **({"breaks": found.breaks} if found.breaks is not None else {}),
        },
    }


def as_text(report: ReplayReport) -> str:
    """Return the outcome as the terminal shows it."""
    counted = f"{report.records} records of {report.lives} lives of {report.accounts} accounts"
    lines = []
    if (found := report.difference) is None:
        lines.append(f"✅ The replay agrees with the journal: {counted}")
    elif found.breaks is not None:
        lines += [
            f"❌ Record {found.seq} of {one_line(found.account)}, {found.journal}, breaks the law ({found.breaks}):",
            f"   {one_line(str(found.replay))}",
            f"   Before it, these agree: {counted}. 'log explain {found.seq}' shows the record.",
        ]
    elif found.field == "seq":
        lines += [f"❌ Record {found.seq} is missing from the journal.", f"   Before it, these agree: {counted}."]
    else:
        lines += [
            f"❌ Record {found.seq} of {one_line(found.account)} is not what the rules make of it. {found.field}:",
            f"   the journal has {_to_json(found.journal)!r}",
            f"   the replay has  {_to_json(found.replay)!r}",
            f"   Before it, these agree: {counted}. 'log explain {found.seq}' shows the record.",
            "   A record of an earlier version differs where the rules have changed since; the changelog says where.",
        ]
    if report.skipped_lives:
        lines.append(
            f"⚠️ Not replayed: {report.skipped_records} records of {report.skipped_lives} lives "
            "whose beginning retention has deleted, or of which a record cannot be read"
        )
    return "\n".join(lines)


def _to_json(value: Any) -> Any:
    """Return a value as JSON has it, which has no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return str(value) if isinstance(value, str) else value
    return list(value) if isinstance(value, tuple) and all(isinstance(item, str) for item in value) else str(value)
