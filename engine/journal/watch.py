"""Checks records against the law as they are written: one page of the journal after the other, in bounded memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from attrs import define, field, frozen

from engine.journal.replay import Beginning, Difference, EventOf, Replay, ReplayReport
from states import Entry, Snapshot


class LifeRow(Beginning, Protocol):
    """The beginning of a life, and whose it is."""

    @property
    def life(self) -> int:
        """Its number."""


@frozen(kw_only=True)
class UnreadableRecord:
    """A row that cannot be read: its number (0 for a life or a snapshot), whose it is, and why."""

    seq: int
    account: str | None
    why: str


@frozen(kw_only=True)
class Irregularity:
    """The first thing that the law does not allow: a record that differs or breaks it, or a row without a meaning."""

    difference: Difference | None = None
    unreadable: UnreadableRecord | None = None

    @property
    def sentence(self) -> str:
        """What happened, where, and what to do next."""
        if (row := self.unreadable) is not None:
            whose = f" of {row.account}" if row.account else ""
            what = f"record {row.seq}{whose}" if row.seq else f"what is stored{whose}"
            return f"incident: {what} cannot be read, so nothing says that the law allows it: {row.why}"
        found = self.difference
        assert found is not None, "an incident has one of the two"
        if found.field == "seq":
            return (
                f"incident: record {found.seq} is missing from the journal; keep a copy of the database, and report it"
            )
        where = f"record {found.seq} of {found.account}"
        if found.breaks is not None:
            said = f"{where} breaks the law ({found.breaks}): {found.replay}"
        else:
            said = f"{where} is not what the rules make of it, in the field {found.field}"
        return f"incident: {said}; 'log explain {found.seq}' shows the record"


@frozen(kw_only=True)
class Page:
    """What was read of the journal at one moment."""

    rows: Sequence[Entry | UnreadableRecord]
    """The next rows, oldest first."""
    stored: Mapping[str, tuple[Snapshot, int]]
    """The snapshots of the accounts that have records among ``rows``, and the ``seq`` of the record before each."""
    until: int = 0
    """Where some records are left out on purpose: the number of the last one that was looked at."""
    renames: Sequence[tuple[float, str, str]] = ()
    """What was renamed since the page before: when, the former name, the new one."""


@define
class _Lives(Mapping[tuple[str, int], Beginning]):
    """The lives of all accounts; read when they are asked for, and the last one of each account is kept."""

    read: Callable[[str, int], Sequence[LifeRow]]
    """Returns the lives of an account from a number on."""
    _last: dict[str, tuple[int, Beginning]] = field(factory=dict, init=False)

    def __getitem__(self, key: tuple[str, int]) -> Beginning:
        account, number = key
        if account in self._last and self._last[account][0] == number:
            return self._last[account][1]
        for life in self.read(account, number):
            if life.life == number:
                self._last[account] = number, life
                return life
        raise KeyError(key)

    def forget(self) -> None:
        """Read everything again: names may stand for other accounts."""
        self._last.clear()

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter([(account, number) for account, (number, _) in self._last.items()])

    def __len__(self) -> int:
        return len(self._last)


@define
class JournalWatch:
    """Takes pages of the journal up to the first incident.

    It keeps, for each account, where it is and what is under way, and its present life: nothing grows with the journal.
    ``lives`` returns the lives of an account from a number on. With ``gaps_allowed`` some records are left out on
    purpose.
    """

    lives: Callable[[str, int], Sequence[LifeRow]]
    event_of: EventOf
    gaps_allowed: bool = False
    seen: int = 0
    """The number of the last record that was taken."""
    _lives: _Lives = field(init=False)
    _replay: Replay = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._lives = _Lives(self.lives)
        self._replay = Replay(self._lives, {}, self.event_of, monitored=True)

    def begin(self, stored: Mapping[str, tuple[Snapshot, int]], last: int) -> None:
        """Begin, or begin anew, after record number ``last``: where the accounts are is what is stored."""
        self._lives.forget()
        self._replay.restart(None if self.gaps_allowed else last + 1)
        self.seen = last
        for account, (snapshot, seq) in stored.items():
            self._replay.go_on(account, snapshot, seq)

    def take(self, page: Page) -> Irregularity | None:
        """Check what was read; return the first incident."""
        if page.renames:
            self._rename(page.renames)
        for row in page.rows:
            if isinstance(row, UnreadableRecord):
                return Irregularity(unreadable=row)
            if (found := self._replay.take(row)) is not None:
                return Irregularity(difference=found)
            self.seen = row.seq
        self.seen = max(self.seen, page.until)
        found = self._replay.compare_stored(page.stored)
        return Irregularity(difference=found) if found is not None else None

    def report(self, incident: Irregularity | None = None) -> ReplayReport:
        """Return how much was checked so far."""
        return self._replay.report(incident.difference if incident is not None else None)

    def _rename(self, renames: Sequence[tuple[float, str, str]]) -> None:
        together: dict[float, dict[str, str]] = {}
        for at, former, name in renames:  # what has one time happened at once: two accounts may have swapped names
            together.setdefault(at, {})[former] = name
        for names in together.values():
            self._replay.rename(names)
        self._lives.forget()
