"""What the page reads of what is stored, in threads and in bounded time. A composition root."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import anyio.to_thread
from attrs import define, field

from adapters.sqlite import StorageError
from engine.app.journal_events import explain_entry
from engine.app.records import StoragePlace, open_records
from engine.app.stored_incidents import open_incidents
from engine.app.stored_jobs import open_jobs
from engine.journal.explain import Explanation
from engine.web.page.history import History
from engine.web.page.source import MAX_ROWS, AccountHeat, Histories, PageUnreadable
from states import Entry, State
from states.incident import Incident
from states.jobs import Job, JobState

if TYPE_CHECKING:  # only the types
    from engine.journal.ports import JournalRecords

T = TypeVar("T")

READ_SECONDS: Final = 5.0
"""For one thing that the page reads."""
FOLD_SECONDS: Final = 2.0
"""For a part of the journal that is folded at once; the rest follows with the next one."""
FOLD_EVERY: Final = 3.0
"""Seconds from one look at what is new for the history to the next."""
SLOW_SECONDS: Final = 1.0
"""Seconds after which a database that has not answered is taken for silent."""
SILENT_SECONDS: Final = 5.0
"""For which nobody asks it again: each part of a page would wait for it."""
READS_AT_ONCE: Final = 8
"""Reads at the same time, those included for which nobody waits any more."""
JOBS_AMONG: Final = 20_000
"""Jobs, the newest, among which those of an account are looked for: no index leads to them."""
HEAT_ENTRIES: Final = 5_000
"""Records of an account, the newest, that its heat is counted from."""
MAX_NUMBER: Final = 2**63 - 1
"""The greatest number that a row of SQLite can have."""
RECENT: Final = 200
"""Incidents that are read to find those that are over."""


@define(eq=False)
class PageReads:
    """Reads what a running engine has stored, and all other nodes of its database."""

    place: Callable[[], StoragePlace]
    """Returns where that is."""
    _slots: threading.Semaphore = field(factory=lambda: threading.Semaphore(READS_AT_ONCE), init=False)
    _history: History = field(factory=History, init=False)
    _folding: threading.Lock = field(factory=threading.Lock, init=False)
    _folded: Histories | None = field(default=None, init=False)
    _folded_at: float = field(default=float("-inf"), init=False)
    _silent_until: float = field(default=float("-inf"), init=False)
    """Until when a database that did not answer is not asked again, by the loop's clock."""
    _silence: str = field(default="", init=False)
    wanted: bool = field(default=False, init=False)
    """Whether somebody has seen the history since it was read for them."""

    async def within(self, read: Callable[[StoragePlace], T]) -> T:
        """Return what ``read`` returns in a thread. Raises ``PageUnreadable``, also if it takes too long."""
        place = self.place()
        store = "The engine's file" if place.database is None else "The database"
        if place.database is not None and anyio.current_time() < self._silent_until:
            raise PageUnreadable(self._silence)

        def work() -> T:
            if not self._slots.acquire(blocking=False):
                raise PageUnreadable(f"{store} is read by so many already; try again in a moment")
            try:
                return read(place)
            except (StorageError, OSError) as exc:
                raise PageUnreadable(str(exc)) from exc
            finally:
                self._slots.release()

        began = anyio.current_time()
        try:
            with anyio.move_on_after(READ_SECONDS):
                return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
            raise PageUnreadable(f"{store} could not be read within {READ_SECONDS:g} s; try again in a moment")
        except PageUnreadable as exc:
            is_answer = exc.__cause__ is None and anyio.current_time() - began < READ_SECONDS
            if (
                not is_answer and (ended := anyio.current_time()) - began >= SLOW_SECONDS
            ):  # other parts need not wait, too
                self._silent_until, self._silence = ended + SILENT_SECONDS, str(exc)
            raise

    async def journal(self, account: str | None, before: int | None, limit: int) -> list[Entry]:
        """Return an account's newest records, or those of all, newest first."""

        def read(place: StoragePlace) -> list[Entry]:
            with _journal(place) as reader:
                last = None if before is None else max(0, min(before, MAX_NUMBER))
                return reader.newest(account, min(limit, MAX_ROWS), before=last)

        return await self.within(read)

    async def journal_at(self, since: float, until: float, limit: int, account: str | None) -> list[Entry]:
        """Return the first records of a time, oldest first."""

        def read(place: StoragePlace) -> list[Entry]:
            with _journal(place) as reader:
                wanted = None if account is None else [account]
                return list(islice(reader.entries(accounts=wanted, since=since, until=until), min(limit, MAX_ROWS)))

        return await self.within(read)

    async def explain(self, seq: int) -> Explanation:
        """Return the explanation of a record."""

        def read(place: StoragePlace) -> Explanation:
            with _journal(place) as reader, reader.read_transaction():
                if (entry := reader.entry(seq) if 0 < seq <= MAX_NUMBER else None) is None:
                    raise PageUnreadable(f"The journal has no entry {seq}, or not any more")
                return explain_entry(reader, entry)

        return await self.within(read)

    async def heat(self, account: str, since: float) -> AccountHeat:
        """Return how an account went through the machine since a time."""

        def read(place: StoragePlace) -> AccountHeat:
            moves: Counter[tuple[State, str, State]] = Counter()
            dwells: defaultdict[State, float] = defaultdict(float)
            first = None
            with _journal(place) as reader:
                for entry in reader.entries(accounts=[account], since=since, limit=HEAT_ENTRIES):
                    first = entry.at if first is None else first
                    moves[entry.source, entry.event, entry.target] += 1
                    if entry.source is not entry.target:
                        dwells[entry.source] += max(0.0, min(entry.dwell, entry.at - since))
            return AccountHeat(since if first is None else max(since, min(first, time.time())), moves, dwells)

        return await self.within(read)

    async def past_incidents(self, limit: int) -> list[Incident]:
        """Return the newest incidents that are over, newest first."""

        def read(place: StoragePlace) -> list[Incident]:
            with open_incidents(place) as reader:
                found = reader.incidents(last=RECENT + min(limit, MAX_ROWS))
            return [each for each in reversed(found) if not each.is_open][: min(limit, MAX_ROWS)]

        return await self.within(read)

    async def failed_jobs(self, limit: int) -> list[Job]:
        """Return the newest jobs that failed for good, newest first."""

        def read(place: StoragePlace) -> list[Job]:
            with open_jobs(place) as reader:
                return list(reader.jobs({"state": [JobState.FAILED.value]}, last=min(limit, MAX_ROWS)))[::-1]

        return await self.within(read)

    async def queued_jobs(self, limit: int) -> list[Job]:
        """Return queued jobs, oldest first."""

        def read(place: StoragePlace) -> list[Job]:
            with open_jobs(place) as reader:
                return list(islice(reader.jobs({"state": [JobState.QUEUED.value]}), min(limit, MAX_ROWS)))

        return await self.within(read)

    async def jobs_of(self, account: str, limit: int) -> list[Job]:
        """Return the newest jobs of an account, newest first."""

        def read(place: StoragePlace) -> list[Job]:
            with open_jobs(place) as reader:
                return reader.newest_of(account, min(limit, MAX_ROWS), among=JOBS_AMONG)

        return await self.within(read)

    def known_history(self) -> Histories:
        """Return the history as it was read last; somebody wants to see it. It may be called from any thread."""
        self.wanted = True
        return self._folded if self._folded is not None else Histories({}, complete=False, at=0.0)

    async def history(self) -> Histories:
        """Return what became of all accounts, as of ``FOLD_EVERY`` ago at most, or as of what was read so far."""
        if anyio.current_time() - self._folded_at >= FOLD_EVERY:
            with suppress(PageUnreadable) if self._folded is not None else nullcontext():
                await self.within(self._fold)
                self._folded_at = anyio.current_time()
        if self._folded is None:
            raise PageUnreadable("The past of the accounts is being read; try again in a moment")
        return self._folded

    def _fold(self, place: StoragePlace) -> None:
        """Take what is new, unless another thread does so at this moment."""
        if not self._folding.acquire(blocking=False):
            return
        try:
            now = time.time()
            with _journal(place) as reader:
                self._history.read(reader, now, FOLD_SECONDS)
            at = now if self._history.complete else self._history.read_until
            self._folded = Histories(self._history.past(), self._history.complete, at)
        finally:
            self._folding.release()


@contextmanager
def _journal(place: StoragePlace) -> Iterator["JournalRecords"]:
    with open_records(place) as reader:
        reader.on_unreadable = lambda row: None  # ``log`` tells of it; the others are there to be seen
        yield reader
