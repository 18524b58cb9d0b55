"""What the readers of both stores do alike: rows of the journal become values, and what cannot be read is left out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import define, field

from adapters.sqlite.codec import decode_snapshot, event_from
from adapters.sqlite.errors import Undecodable
from adapters.sqlite.snapshots import snapshot_decoder
from adapters.stores.journal_rows import (
    StoredLife,
    StoredMove,
    UnreadableRow,
    check_numbers,
    check_row,
    policy_from,
    text_or_none,
    whole_or_none,
)
from states.record import Entry
from states.snapshot import Snapshot, State

if TYPE_CHECKING:  # most reads need no policy
    from states.schedules import Policy


@define(eq=False)
class RecordReader(ABC):
    """Reads rows that a store has found.

    A row that another version wrote, or something else has spoilt, raises ``Undecodable``; a reader with
    ``on_unreadable`` leaves it out, and goes on.
    """

    _policies: dict[str, str] = field(factory=dict, init=False)
    """The policies of the store as JSON, by key; those that were written later are read when a record has them."""

    on_unreadable: Callable[[UnreadableRow], None] | None = field(default=None, init=False)
    """Called for each row that cannot be read, in the order of the rows, which is then left out; None: it raises."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Which store it is, for people."""

    @abstractmethod
    def entry(self, seq: int) -> Entry | None:
        """Return the entry with this number, None if there is none. Raises ``Undecodable``."""

    @abstractmethod
    def _entry_from(self, row: tuple[Any, ...]) -> Entry:
        """Return the entry in a row, whose first columns are seq, at, account and life. Raises ``Undecodable``."""

    @abstractmethod
    def _stored_policies(self, key: str) -> Mapping[str, str]:
        """Return policies as JSON, by their keys: that with this key, if it is stored, and maybe others."""

    @abstractmethod
    def _neighbours(self, side: str, order: str, entry: Entry, count: int) -> list[tuple[Any, ...]]:
        """Return the next rows of the same account on a side of an entry (``<`` or ``>``), in an order of SQL."""

    def before(self, entry: Entry, count: int) -> list[Entry]:
        """Return the last ``count`` entries of the same account before ``entry``, oldest first."""
        return list(self._entries(reversed(self._neighbours("<", "DESC", entry, count))))

    def after(self, entry: Entry, count: int) -> list[Entry]:
        """Return the next ``count`` entries of the same account after ``entry``, oldest first."""
        return list(self._entries(self._neighbours(">", "ASC", entry, count)))

    def _entries(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[Entry]:
        for row in rows:
            try:
                entry = self._entry_from(row)
            except Undecodable as exc:
                self._leave_out(exc, seq=row[0], account=text_or_none(row[2]), life=whole_or_none(row[3]))
            else:
                yield entry

    def _move(self, names: dict[int, str], row: tuple[Any, ...]) -> StoredMove | None:
        """Return the move in a row of ``MOVES``; None if it cannot be read."""
        seq, account, life, at, dwell, source, target, event = row
        try:
            check_numbers(at, dwell, life)
            return StoredMove(
                seq=seq, account=names[account], life=life, at=at, dwell=dwell, source=State(names[source]),
                target=State(names[target]), event=names[event], shift=self._shift(seq, names[event]),
            )  # fmt: skip
        except (LookupError, ValueError, TypeError, Undecodable) as exc:
            why = f"entry {seq} of the journal cannot be read ({exc}); use the version that wrote it"
            self._leave_out(Undecodable(why), seq=seq, account=names.get(account), life=whole_or_none(life))
            return None

    def _shift(self, seq: int, event: str) -> float:
        if event != "ClockJumped" or (entry := self.entry(seq)) is None:
            return 0.0
        return float(getattr(event_from(event, entry.payload), "shift", 0.0))

    def _snapshots(self, rows: list[tuple[Any, ...]]) -> dict[str, tuple[Snapshot, int]]:
        """Return the snapshots in rows that have an account, its snapshot and the ``seq`` of its last entry."""
        decode = snapshot_decoder(len(rows))
        found = {}
        for name, text, seq in rows:
            try:
                check_row("a snapshot", texts=[name], numbers=[seq])
                found[name] = decode(text), seq
            except Undecodable as exc:
                self._leave_out(exc, account=text_or_none(name))
        return found

    def _lives(self, rows: Iterable[tuple[Any, ...]]) -> list[StoredLife]:
        """Return the lives in rows: account, number, beginning, policy, snapshot, what was deleted, base."""
        found = []
        for name, life, at, policy, snapshot, pruned_to, base in rows:
            try:
                check_row("the beginning of a life", texts=[name], numbers=[life, at, pruned_to])
                found.append(StoredLife(
                    account=name, life=life, at=at, policy=policy_from(policy), snapshot=decode_snapshot(snapshot),
                    pruned_to=pruned_to, base=None if base is None else decode_snapshot(base),
                ))  # fmt: skip
            except Undecodable as exc:
                self._leave_out(exc, account=text_or_none(name), life=whole_or_none(life))
        return found

    def _policy_of(self, key: str) -> "Policy":
        """Return the policy that a record calls by this key. Raises ``Undecodable``."""
        if key not in self._policies:
            self._policies.update(self._stored_policies(key))
        if key not in self._policies:
            raise Undecodable(f"its policy {key:.16} is not stored; restore a backup")
        return policy_from(self._policies[key])

    def _leave_out(self, exc: Undecodable, *, account: str | None, seq: int = 0, life: int | None = None) -> None:
        """Tell of a row that cannot be read; raise its error if nobody is to be told."""
        if self.on_unreadable is None:
            raise Undecodable(f"{self.place}: {exc}") from exc
        self.on_unreadable(UnreadableRow(seq=seq, account=account, life=life, why=str(exc)))
