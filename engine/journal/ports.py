"""Protocols of a journal's store: what a running engine asks of it, and what commands and views ask.

Two adapters match them: ``adapters.sqlite`` (a file of one engine) and ``adapters.postgres`` (a database of many). The
tests in ``tests/storage`` say what both must do.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, Self

from engine.fleet.ports import Journal
from engine.journal.stats import Life, Move
from states import Entry, Policy, Snapshot, State
from states.events import Failure


class AccountLife(Life, Protocol):
    """The beginning of a life, and whose it is."""

    @property
    def account(self) -> str:
        """The account's name."""


class AccountMove(Move, Protocol):
    """One record of the statistics, with its number."""

    @property
    def seq(self) -> int:
        """Its number."""


class JournalBeginning(Protocol):
    """Where a life began: the part of it that a history needs."""

    @property
    def account(self) -> str:
        """The account's name."""

    @property
    def life(self) -> int:
        """Its number, which counts from 1 with each account."""

    @property
    def at(self) -> float:
        """When it was (Unix seconds)."""

    @property
    def state(self) -> State:
        """The first state of which there is a record: where it began, or where what retention has left begins."""

    @property
    def since(self) -> float:
        """When that state was entered."""

    @property
    def answered(self) -> float | None:
        """The last sign of life before it."""


class StorePulse(Protocol):
    """Whether a store still takes rows, and how far it is behind, as the loop sees it."""

    on_batch: Callable[[int, float], None] | None
    """Called with each batch that became durable: how many writes, and the seconds that they took."""

    @property
    def trouble(self) -> Failure | None:
        """What keeps rows from being saved now."""

    @property
    def failures(self) -> int:
        """How many tries to save rows have failed."""

    @property
    def behind(self) -> float:
        """For how many seconds rows have waited and none was saved; 0 if none wait."""

    @property
    def silent(self) -> float:
        """For how many seconds rows have waited, and it is not known whether they are being saved."""


class JournalStore(Journal, Protocol):
    """The write side of a journal, as a running engine has it.

    Rows wait in a bounded queue, and those that wait together become durable in one transaction. A store that is down
    loses nothing up to the bound: its trouble is reported, and the rows are tried again.
    """

    @property
    def waiting(self) -> int:
        """How many rows are not durable yet."""

    @property
    def pulse(self) -> StorePulse:
        """Whether rows are being saved, and how far that is behind."""

    async def end_life(self, account: str, life: int) -> None:
        """Store that a life is over although its last snapshot does not say so."""

    async def remember_login(self, account: str, login: str, user: int | None) -> None:
        """Store whose login an account has: the fingerprint of its key, and the user if it is known."""

    async def prove_writable(self, policy: Policy) -> None:
        """Return when something that is written now is durable."""

    async def look(self) -> None:
        """Return when it is known whether the store is there."""

    async def flush(self, *, routine: bool = True) -> None:
        """Return when everything written before is durable; without ``routine``, what ``save`` keeps can wait."""

    async def prune(self, before: float) -> int:
        """Delete some of the oldest entries from before ``before`` (Unix seconds); return how many, 0 when done."""

    async def aclose(self, timeout: float) -> int:
        """Save the rows that wait and close, within ``timeout`` seconds; return how many could not be saved."""


class JournalRecords(Protocol):
    """The read side of a journal. Not for an event loop: each call reads the store, and blocks.

    The number of an entry (``seq``) is its place: of one account's entries, the later one has the greater number. A
    row that cannot be read raises the store's ``Undecodable``; with ``on_unreadable`` it is left out, and told.
    """

    on_unreadable: Callable[..., None] | None
    """Called with each row that cannot be read: its ``seq`` (0: none), ``account``, ``life``, and ``why``."""

    @property
    def is_gapless(self) -> bool:
        """Whether the numbers of all entries follow each other, so that one that is missing was deleted.

        With many writers at once, their order is not that of the numbers either, but for those of one account.
        """

    def close(self) -> None:
        """Close it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def read_transaction(self) -> AbstractContextManager[None]:
        """Let all reads of the block see the journal at one moment. Only to read as fast as possible."""

    def entries(
        self,
        *,
        accounts: Sequence[str] | None = None,
        state: State | None = None,
        event: str | None = None,
        since: float | None = None,
        until: float | None = None,
        failed_only: bool = False,
        limit: int | None = None,
        after_seq: int | None = None,
    ) -> Iterator[Entry]:
        """Yield the entries to which all filters apply, oldest first.

        ``after_seq`` follows (0: from the first on): whoever asks again after the last entry that it got misses none
        and gets none twice, whoever else writes meanwhile. ``limit`` selects the last so many.
        """

    def entry(self, seq: int) -> Entry | None:
        """Return the entry with this number, None if there is none."""

    def newest(self, account: str | None, count: int, *, before: int | None = None) -> list[Entry]:
        """Return the last ``count`` entries of an account, or of all with None, newest first."""

    def before(self, entry: Entry, count: int) -> list[Entry]:
        """Return the last ``count`` entries of the same account before ``entry``, oldest first."""

    def after(self, entry: Entry, count: int) -> list[Entry]:
        """Return the next ``count`` entries of the same account after ``entry``, oldest first."""

    def after_healthy(self, account: str, count: int) -> list[Entry]:
        """Return the first ``count`` entries of an account after its last one that ended in ``healthy``."""

    def life_until(self, entry: Entry) -> list[Entry]:
        """Return the entries of the same life up to and including ``entry``, oldest first."""

    def snapshots(self) -> dict[str, tuple[Snapshot, int]]:
        """Return each account's snapshot and the number of its last entry before it (0: none), by name."""

    def snapshots_of(self, accounts: Iterable[str]) -> dict[str, tuple[Snapshot, int]]:
        """Return the same for these accounts alone."""

    def present(self, engine: str) -> set[str]:
        """Return the accounts whose stored snapshot was decided by the engine of this identity."""

    def present_at_nodes(self) -> Collection[str] | None:
        """Return the accounts whose stored snapshot was decided in the node's life that owns them now.

        None where the accounts are one engine's, and ``present`` says it.
        """

    def lives(self, account: str | None = None, *, from_life: int = 0) -> Sequence[AccountLife]:
        """Return the lives of all accounts, or of one, from number ``from_life`` on, by account and number."""

    def beginnings(self, after: int, since: float) -> Sequence[tuple[int, JournalBeginning]]:
        """Return the lives that began at ``since`` or later, each with the number of its row.

        Whoever asks again after the last row that it got misses none, whoever else writes meanwhile.
        """

    def moves(self, first: int = 1) -> Iterator[AccountMove]:
        """Yield all entries from number ``first`` on as moves, oldest first."""

    def moves_after(self, after_seq: int, first: int = 1) -> Iterator[AccountMove]:
        """Yield the entries from number ``first`` on that follow after an entry (0: all) as moves, as ``entries`` does.

        Whoever asks again after the last one that it got misses none and gets none twice.
        """

    def last_moves(self, before: int) -> Mapping[str, AccountMove]:
        """Return each account's last entry before number ``before`` as a move, by name."""

    def last_seen(self) -> dict[str, float]:
        """Return when each account last had an event (Unix seconds), routine included, by name."""

    def accounts(self) -> list[str]:
        """Return the names of all accounts that the journal knows, sorted."""

    def logins(self) -> dict[str, tuple[str, int | None]]:
        """Return the fingerprint of each account's key, and its user if known."""

    def former_names(self) -> list[tuple[float, str, str]]:
        """Return until when (Unix seconds) an account had another name, that name, and the next one; oldest first."""

    def first_seq(self) -> int:
        """Return the lowest number of an entry, 0 when there is none."""

    def last_seq(self) -> int:
        """Return the number of the entry after which a follower goes on that has read all; 0 when there is none."""

    def first_since(self, since: float) -> int:
        """Return the lowest number written at ``since`` (Unix seconds) or later; a free one if there is none."""

    def oldest(self, count: int) -> list[tuple[int, float]]:
        """Return ``seq`` and ``at`` of the ``count`` oldest entries; the newest of all is never among them."""

    def count(self, account: str, life: int) -> int:
        """Return how many entries a life has, those included that cannot be read."""
