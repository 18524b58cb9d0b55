"""The journal of a running engine: opened, watched, and closed with its last records. A composition root."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial

import anyio
import structlog
from attrs import define, field, frozen

from adapters.sqlite import JournalWriter, Repair, Rescue, StorageError
from adapters.sqlite.errors import WriterClosed, WriterFenced
from adapters.system import ContinuousClock, SystemClock
from engine import paths
from engine.app.incidents import IncidentParts
from engine.app.live_config import LiveConfig
from engine.app.records import StoragePlace, open_records
from engine.config import Config
from engine.control.protocol import Unwritten
from engine.fleet.watchers import Watcher
from engine.journal.follow import JournalFollower
from engine.journal.ports import JournalRecords, JournalStore
from engine.journal.retention import Prunable, TrustedTime, last_sign, retain
from states import Snapshot
from states.events import Failure

FLUSH_TIMEOUT = 10.0
"""Seconds that the last records may take to become durable."""
SAID_SECONDS = 60.0
"""How long the log does not repeat why records wait."""

log = structlog.get_logger("holdfast.journal")


def storage_trouble(failure: Failure | None, waiting: int) -> None:
    """Say what keeps so many rows of the journal from being stored; None: they are."""
    if failure is None:
        log.info("journal_written")
    else:
        log.error("journal_waits", rows=waiting, detail=failure.detail)


@define(eq=False)
class JournalTrouble:
    """What hears of all that keeps the rows of a journal from being stored.

    The writer tells of each try. The log has the first one, each that fails otherwise, and one a minute.
    """

    incidents: IncidentParts
    clock: Callable[[], float] = time.monotonic
    _said: str | None = field(default=None, init=False)
    _said_at: float = field(default=0.0, init=False)

    def __call__(self, failure: Failure | None, waiting: int) -> None:
        """Note what keeps so many rows from being stored; None: they are."""
        now, detail = self.clock(), None if failure is None else failure.detail
        if detail is None or detail != self._said or now >= self._said_at + SAID_SECONDS:
            storage_trouble(failure, waiting)
            self._said, self._said_at = detail, now
        self.incidents.storage_trouble(failure, self)

    def end(self) -> None:
        """Note that the journal is closed: what kept its last rows from being stored is told no more."""
        self.incidents.storage_trouble(None, self)


def unwritten(journal: JournalStore, silence: str) -> Unwritten | None:
    """Return what the journal could not write yet; None if nothing keeps it from writing.

    ``silence`` says why a node has no lease: nothing is written then, and what is stored of its accounts is older.
    """
    if (trouble := journal.pulse.trouble) is not None:
        return Unwritten(journal.waiting, trouble.detail)
    return Unwritten(journal.waiting, silence) if silence else None


def database_replaced(done: Rescue) -> None:
    """Say that another file has taken the place of a lost one."""
    aside = None if done.aside is None else str(done.aside)
    log.error(
        "database_lost",
        path=str(done.path),
        detail=done.loss.value,
        whole=done.whole,
        aside=aside,
        jobs=done.renumbered,
    )


def snapshot_repaired(done: Repair) -> None:
    """Say that a snapshot was made anew."""
    log.warning("snapshot_repaired", account=done.account, detail=done.why, exact=done.exact, holds=done.holds)


@asynccontextmanager
async def opened_journal(config: Config, engine: str, incidents: IncidentParts) -> AsyncIterator[JournalWriter]:
    """Yield the journal of a config, written by the engine of this identity; at the end, wait for its last records.

    ``incidents`` hears of what keeps the file from being written, and of a new file in the place of a lost one.
    """

    def on_rescue(done: Rescue) -> None:
        database_replaced(done)
        incidents.database_replaced()

    journal = await JournalWriter.open(
        config.storage.directory / paths.DATABASE,
        on_trouble=JournalTrouble(incidents),
        on_rescue=on_rescue,
        on_repair=snapshot_repaired,
        engine=engine,
    )
    async with closed_in_time(journal):
        yield journal


@asynccontextmanager
async def closed_in_time(journal: JournalStore) -> AsyncIterator[None]:
    """Close a journal at the end of the block, when its last records are durable, or the time for that is over."""
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            if lost := await journal.aclose(FLUSH_TIMEOUT):
                log.error("journal_rows_lost", rows=lost)


def follower_of(journal: Callable[[], JournalStore], place: StoragePlace) -> JournalFollower:
    """Return what follows a journal, for those that want its records as they are written; they are read at ``place``.

    ``journal`` returns the one that is written now. Where nodes share a database, these are the records of all of them.
    """
    return JournalFollower(partial(_flush, journal), partial(_records, place))


async def _flush(journal: Callable[[], JournalStore]) -> None:
    """Return when the records so far are durable; at once if the journal takes no more, and so has written all it can.

    That is one that is closed, or that of a node's life which is over.
    """
    with suppress(WriterClosed, WriterFenced):
        await journal().flush(routine=False)


@contextmanager
def _records(place: StoragePlace) -> Iterator[JournalRecords]:
    """Yield a reader of the journal for those that follow it."""
    with open_records(place) as reader:
        reader.on_unreadable = lambda row: None  # a subscriber gets the others; ``log`` shows what it did not get
        yield reader


@frozen
class PresentStore:
    """A store with rows that become old, which may be another one each time."""

    present: Callable[[], Prunable]

    async def prune(self, before: float) -> int:
        """Delete some of the oldest."""
        return await self.present().prune(before)


def retention(live: LiveConfig, stores: Sequence[Prunable], known: Iterable[Snapshot]) -> Watcher:
    """Return what deletes from each store the rows that are older than the config of the time wants.

    ``known`` is where the accounts were when the engine started: the time of day is not before that.
    """
    times = TrustedTime(SystemClock(), ContinuousClock(), last_sign(known))

    def watchers(config: Config) -> list[Watcher]:
        keep = config.storage.keep
        if keep is None:
            return []
        return [("retention", partial(retain, store, keep, times, unusable=StorageError)) for store in stores]

    return "retention", partial(live.follow, lambda config: config.storage.keep, watchers)
