"""Replay: every record of the journal goes through ``step`` again, and must come out as it was written.

The replay goes life by life, by the policy with which a life began, or the one that a record names: a reload can change
it under a life. A life begins at its starting snapshot or, when retention has deleted its first records,
where it was after them. Time and random draws are the recorded ones. Routine events are not in the journal. They change
only ``last_success`` and ``proved_at``, on which no rule depends: these two are not compared, nor is ``offline``, which
is derived from them.
"""

from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any, Protocol

import attrs
from attrs import define, field, frozen

from engine.verify.monitor import LawMonitor
from states import Entry, Event, Policy, Snapshot, Step, begin
from states.redo import differences, redo

MAX_LIVES_BETWEEN = 10_000
"""Lives without records, between two that have some, that are compared with each other."""
_NOT_COMPARED = ("last_success", "proved_at", "offline")


class Beginning(Protocol):
    """Where a life began, and with which schedules; ``start`` is where its first remaining record was decided."""

    @property
    def at(self) -> float:
        """When it was (Unix seconds)."""

    @property
    def policy(self) -> Policy:
        """Its schedules."""

    @property
    def snapshot(self) -> Snapshot:
        """Where the account was."""

    @property
    def pruned_to(self) -> int:
        """The number of the last record that retention took away; 0 if it took none."""

    @property
    def start(self) -> Snapshot | None:
        """Where the first record that is left was decided; None if that is not known."""


class UnreadableEvent(Exception):
    """The event of a record cannot be made from what is stored; the text says why."""


EventOf = Callable[[Entry], Event]
"""Makes the event of a record; raises ``UnreadableEvent``."""


@frozen(kw_only=True)
class Difference:
    """The first difference: the record, the field, its value in the journal, and the value that the replay expects.

    Where the replay agrees and a property of the law does not hold, ``breaks`` names the property; ``journal`` is the
    record's event, and ``replay`` says what is wrong.
    """

    seq: int
    account: str
    field: str
    journal: Any
    replay: Any
    breaks: str | None = None


@frozen(kw_only=True)
class ReplayReport:
    """What was replayed. A life is skipped when retention has deleted its beginning, so that its start is unknown."""

    records: int
    lives: int
    accounts: int
    skipped_records: int
    skipped_lives: int
    difference: Difference | None


@define
class _Walk:
    """How far the replay of one account is; in a life that is skipped, ``snapshot`` is None."""

    life: int
    snapshot: Snapshot | None
    seq: int
    from_start: bool = True
    """Whether it began with the life."""
    monitor: LawMonitor | None = None


@define
class Replay:
    """Takes the records in the order of the journal, up to the first difference.

    ``lives`` are by account and number. ``stored`` has each account's snapshot and the ``seq`` of the record before it;
    it must be read before the records. ``first`` is the number of the first record that must come; None if some are
    left out on purpose. ``monitored`` asks the properties of the exhaustive check of every decision, too.
    """

    lives: Mapping[tuple[str, int], Beginning]
    stored: Mapping[str, tuple[Snapshot, int]]
    event_of: EventOf
    first: int | None = None
    monitored: bool = False
    _walks: dict[str, _Walk] = field(factory=dict, init=False)
    _checked: set[str] = field(factory=set, init=False)
    _records: int = field(default=0, init=False)
    _lives: int = field(default=0, init=False)
    _skipped_records: int = field(default=0, init=False)
    _skipped_lives: int = field(default=0, init=False)
    _left_out: set[tuple[str | None, int | None]] = field(factory=set, init=False)
    """The lives of which something cannot be read, by account and number."""

    def leave_out(self, account: str | None, life: int | None, *, seq: int | None = None) -> None:
        """Skip the rest of a life of which something cannot be read: its next record, with ``seq``, or its start."""
        self._left_out.add((account, life))
        if self.first is not None and seq is not None:
            self.first = seq + 1
        for name, walk in self._walks.items():  # a record that names no account can be anyone's
            if account is None or (name, walk.life) == (account, life):
                self._left_out.add((name, walk.life))
                self._skipped_lives += walk.snapshot is not None
                walk.snapshot, walk.seq = None, seq if seq is not None else walk.seq

    def restart(self, first: int | None) -> None:
        """Forget where the accounts are, and keep the counts; the next record is number ``first``."""
        self.first = first
        self._walks.clear()

    def go_on(self, account: str, snapshot: Snapshot, seq: int) -> None:
        """Begin in the middle of a life, at the snapshot after record number ``seq``."""
        self._walks[account] = _Walk(snapshot.life, snapshot, seq, from_start=False)
        self._lives += 1

    def rename(self, names: Mapping[str, str]) -> None:
        """Go on under other names, all at once; ``names`` has each account's new name by the former one."""
        moved = {name: self._walks.pop(former) for former, name in names.items() if former in self._walks}
        self._walks.update(moved)

    def take(self, entry: Entry) -> Difference | None:
        """Replay the next record; return its difference, or None."""
        if self.first is not None:
            if entry.seq != self.first:
                return Difference(seq=self.first, account=entry.account, field="seq", journal=None, replay=self.first)
            self.first += 1
        walk = self._walks.get(entry.account)
        if walk is None or walk.life != entry.life:
            found = self._begin(entry, walk)
            if found is not None:
                return found
            walk = self._walks[entry.account]
        walk.seq = entry.seq
        if walk.snapshot is None:
            self._skipped_records += 1
            return None
        life = self.lives.get((entry.account, entry.life))
        if life is None:
            due = "a life that began"
            return Difference(seq=entry.seq, account=entry.account, field="life", journal=entry.life, replay=due)
        try:
            event = self.event_of(entry)
            policy = entry.policy or life.policy
            made = redo(walk.snapshot, entry, event, policy)
        except UnreadableEvent as exc:
            return Difference(
                seq=entry.seq, account=entry.account, field="payload", journal=entry.payload, replay=str(exc)
            )
        for name in differences(made.record, entry):
            there, due = getattr(entry, name), getattr(made.record, name)
            return Difference(seq=entry.seq, account=entry.account, field=name, journal=there, replay=due)
        if self.monitored and (found := _ask_monitor(walk, entry, event, made, policy)) is not None:
            return found
        self._records += 1
        walk.snapshot = made.snapshot
        return self._stored_differs(entry.account, walk)

    def compare_stored(self, stored: Mapping[str, tuple[Snapshot, int]]) -> Difference | None:
        """Compare stored snapshots with where their accounts are, if their last record has come."""
        for account, (snapshot, seq) in stored.items():
            walk = self._walks.get(account)
            if walk is None or (walk.seq, walk.life) != (seq, snapshot.life):
                continue
            found = _snapshot_differs(account, seq, "the stored snapshot", snapshot, walk.snapshot)
            if found is not None:
                return found
        return None

    def end(self, first_seq: int) -> Difference | None:
        """Compare the stored snapshots of the accounts whose last record did not come."""
        for account, (snapshot, seq) in self.stored.items():
            if account in self._checked:
                continue
            walk = self._walks.get(account)
            if (account, snapshot.life) in self._left_out:
                continue
            if seq >= first_seq > 0 and (walk is None or walk.seq < seq):
                return Difference(seq=seq, account=account, field="seq", journal=None, replay=seq)
            if walk is not None and walk.life == snapshot.life:
                due = walk.snapshot
            else:
                life = self.lives.get((account, snapshot.life))
                due = life.start if life else None
            found = _snapshot_differs(account, seq, "the stored snapshot", snapshot, due)
            if found is not None:
                return found
        return None

    def report(self, difference: Difference | None) -> ReplayReport:
        """Return how much was replayed so far."""
        return ReplayReport(
            records=self._records,
            lives=self._lives,
            accounts=len(self._walks),
            skipped_records=self._skipped_records,
            skipped_lives=self._skipped_lives,
            difference=difference,
        )

    def _begin(self, entry: Entry, former: _Walk | None) -> Difference | None:
        """Go to the beginning of the entry's life, which must continue where the one before has ended."""
        account, number = entry.account, entry.life
        if (account, number) in self._left_out:
            self._walks[account] = _Walk(number, None, entry.seq)
            self._skipped_lives += 1
            return None
        life = self.lives.get((account, number))
        if life is None or (former is not None and number < former.life):
            due = "a life that began" if life is None else f"at least {former.life if former else 0}"
            return Difference(seq=entry.seq, account=account, field="life", journal=number, replay=due)
        before, since = (former.snapshot, former.life + 1) if former is not None else (None, number)
        if number - since > MAX_LIVES_BETWEEN:
            before, since = None, number
        for between in range(since, number + 1):
            present = self.lives.get((account, between))
            if before is not None and present is not None:
                due_start = begin(before, now=present.at)
                what = f"the start of life {between}"
                found = _snapshot_differs(account, entry.seq, what, present.snapshot, due_start)
                if found is not None:
                    return found
            before = present.snapshot if present else None
        self._walks[account] = _Walk(number, life.start, entry.seq, from_start=not life.pruned_to)
        if life.start is None:
            self._skipped_lives += 1
        else:
            self._lives += 1
        return None

    def _stored_differs(self, account: str, walk: _Walk) -> Difference | None:
        """Compare the stored snapshot once the record before it was replayed, unless another life has begun since."""
        snapshot, seq = self.stored.get(account, (None, 0))
        if snapshot is None or seq != walk.seq or snapshot.life != walk.life:
            return None
        self._checked.add(account)
        return _snapshot_differs(account, seq, "the stored snapshot", snapshot, walk.snapshot)


def _ask_monitor(walk: _Walk, entry: Entry, event: Event, made: Step, policy: Policy) -> Difference | None:
    """Return which property of the law a decision breaks, if one."""
    if walk.monitor is None:
        assert walk.snapshot is not None, "what is skipped is not asked about"
        begins = LawMonitor.of_life if walk.from_start else LawMonitor.in_life
        walk.monitor = begins(walk.snapshot, policy)
    walk.monitor.policy = policy
    if (breach := walk.monitor.take(event, made)) is None:
        return None
    return Difference(
        seq=entry.seq, account=entry.account, field="the law", journal=entry.event, replay=breach.what,
        breaks=breach.property,
    )  # fmt: skip


def _agree(stored: Any, replayed: Any, name: str) -> bool:
    """Return whether two values of a snapshot are the same; earlier versions stored waits without their lengths."""
    if name == "wait" and stored is None:
        return True
    if name == "holds":
        replayed = tuple(
            attrs.evolve(hold, length=None) if known is None else hold
            for hold, known in zip_longest(replayed, (hold.length for hold in stored))
            if hold is not None
        )
    return bool(stored == replayed)


def _snapshot_differs(account: str, seq: int, what: str, there: Snapshot, due: Snapshot | None) -> Difference | None:
    if due is None:
        return None
    for item in attrs.fields(Snapshot):
        stored, replayed = getattr(there, item.name), getattr(due, item.name)
        if item.name not in _NOT_COMPARED and not _agree(stored, replayed, item.name):
            return Difference(seq=seq, account=account, field=f"{what}: {item.name}", journal=stored, replay=replayed)
    return None
