"""``log replay --follow``: a running engine's records against the law, as they are written."""

import os
import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from adapters.sqlite import JournalReader, JournalTooNew, StorageError, Undecodable
from engine.app.journal_events import decode_event
from engine.console.safe_text import json_text, one_line
from engine.journal.watch import Irregularity, JournalWatch, Page, UnreadableRecord
from states import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.stores.journal_rows import UnreadableRow
    from engine.journal.ports import JournalRecords

INTERVAL: Final = 0.25
"""Seconds between two reads of the journal."""
MAX_PAUSE: Final = 5.0
"""The longest time between two tries to read a file that cannot be read, in seconds."""
PAGE_ROWS: Final = 1000
"""Records that are read and checked at a time."""


@define
class FollowedJournal:
    """The journal at a path, whatever happens to the file: it is locked, moved, replaced, its first records deleted.

    ``account`` is the one account to check; None checks all. ``json`` prints an object on each line.
    """

    path: Path
    account: str | None
    json: bool
    records: "Callable[[], JournalRecords] | None" = None
    """Opens the journal of many nodes, which is no file; its numbers have gaps."""
    _watch: JournalWatch = field(init=False)
    _reader: "JournalRecords | None" = field(default=None, init=False)
    _file: tuple[int, int] = field(default=(0, 0), init=False)
    """Which file is open: device and inode."""
    _last: Entry | None = field(default=None, init=False)
    """The last record that was checked, or the one where the check began: a file that has it goes on from there."""
    _renames: int = field(default=0, init=False)
    _rows: list[Entry | UnreadableRecord] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._watch = JournalWatch(
            self._lives_of, decode_event, gaps_allowed=self.account is not None or self.records is not None
        )

    def open(self) -> None:
        """Open the file, and begin with where its accounts are. Raises ``StorageError``."""
        self._open()
        self._begin()
        number = "1 account" if (count := self._watch.report().accounts) == 1 else f"{count} accounts"
        self._say("following", f"Checking what is written after record {self._watch.seen}, of {number}; Ctrl+C ends it")

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def run(self) -> Irregularity:
        """Check records as they come; return the first incident."""
        failures = 0
        while True:
            try:
                full, incident = self.step()
            except JournalTooNew:
                raise  # waiting would not help
            except (StorageError, OSError) as exc:
                self.close()
                failures += 1
                if failures == 1:
                    self._say("waiting", f"The journal cannot be read now, and is tried again: {exc}")
                time.sleep(min(MAX_PAUSE, INTERVAL * 2**failures))
                continue
            if failures:
                self._say("resumed", "The journal can be read again")
            failures = 0
            if incident is not None:
                return incident
            if not full:
                time.sleep(INTERVAL)

    def report(self, incident: Irregularity | None) -> Any:
        """Return how much was checked."""
        return self._watch.report(incident)

    def step(self) -> tuple[bool, Irregularity | None]:
        """Check the next page; return whether there may be more at once, and the first incident."""
        if self._reader is None or self._file != _identity(self.path):
            self.close()
            self._open()
            self._continue()
        reader = self._opened
        with reader.read_transaction():
            if (gap := self._gap(reader)) is not None:
                self._begin_anew(gap)
            page = self._read_page(reader)
            incident = self._watch.take(page)
        entries = [row for row in page.rows if isinstance(row, Entry)]
        self._last = entries[-1] if entries else self._last
        return len(page.rows) >= PAGE_ROWS, incident

    @property
    def _opened(self) -> "JournalRecords":
        assert self._reader is not None, "the file is open"
        return self._reader

    def _open(self) -> None:
        self._file = _identity(self.path)
        self._reader = JournalReader.open(self.path) if self.records is None else self.records()
        self._reader.on_unreadable = self._note_unreadable

    def _continue(self) -> None:
        """Go on in a file that has the last record, and begin anew in another one."""
        reader, last = self._opened, self._last
        with reader.read_transaction():
            if last is not None and _entry(reader, last.seq) != last:
                self._begin_anew("Another database has the name")
            elif last is None and reader.last_seq():
                self._begin_anew("The database was opened anew")

    def _begin_anew(self, why: str) -> None:
        self._start(self._opened)
        self._say("restarted", f"{why}; the check goes on after record {self._watch.seen}")

    def _begin(self) -> None:
        with self._opened.read_transaction():
            self._start(self._opened)

    def _start(self, reader: "JournalRecords") -> None:
        """Begin with where the accounts are, as it is stored."""
        stored, last = reader.snapshots(), reader.last_seq()
        if self.account is not None:
            stored = {name: at for name, at in stored.items() if name == self.account}
        self._last, self._renames = _entry(reader, last), len(reader.former_names())
        self._watch.begin(stored, last)

    def _gap(self, reader: "JournalRecords") -> str | None:
        """Return why the next record cannot come any more; None if it can."""
        seen = self._watch.seen
        if not reader.is_gapless:
            return None
        if reader.last_seq() < seen:
            return f"The journal ends before record {seen}"
        if (first := reader.first_seq()) > seen + 1:
            return f"Records {seen + 1} to {first - 1} were deleted before they were read"
        return None

    def _read_page(self, reader: "JournalRecords") -> Page:
        renames = reader.former_names()
        new, self._renames = renames[self._renames :], len(renames)
        if self.account is not None:  # who gets another name is followed under that one
            self.account = {former: name for _, former, name in new}.get(self.account, self.account)
        wanted = None if self.account is None else [self.account]
        for entry in islice(reader.entries(accounts=wanted, after_seq=self._watch.seen), PAGE_ROWS):
            self._rows.append(entry)
        rows, self._rows = self._rows, []
        names = {row.account for row in rows if isinstance(row, Entry)}
        stored = reader.snapshots_of(names) if names else {}
        until = reader.last_seq() if len(rows) < PAGE_ROWS and wanted is not None else 0
        return Page(rows=rows, until=until, stored=stored, renames=new)

    def _lives_of(self, account: str, number: int) -> Any:
        return self._opened.lives(account, from_life=number)

    def _note_unreadable(self, row: "UnreadableRow") -> None:
        self._rows.append(UnreadableRecord(seq=row.seq, account=row.account, why=row.why))

    def _say(self, event: str, sentence: str) -> None:
        """Say what happens: as an event on stdout, or as a sentence on stderr."""
        if self.json:
            print(json_text({"event": event, "after": self._watch.seen, "text": sentence}), flush=True)
        else:
            print(one_line(sentence), file=sys.stderr, flush=True)


def _entry(reader: "JournalRecords", seq: int) -> Entry | None:
    """Return a record; None if there is none, or if it cannot be read."""
    try:
        return reader.entry(seq) if seq else None
    except Undecodable:
        return None


def _identity(path: Path) -> tuple[int, int]:
    """Return which file has the name: device and inode, which are 0 where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino
