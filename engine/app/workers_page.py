"""What the page of an engine with workers shows and does: what is stored, and the workers' own commands."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Final

import anyio
import anyio.to_thread
from attrs import define, evolve, field, frozen

from adapters.sqlite import StorageError
from engine.app.fleet_sight import FleetSight, stored_at
from engine.app.page_reads import FOLD_EVERY, PageReads
from engine.app.page_source import ACT_SECONDS, number_of, retry_stored_job
from engine.app.records import StoragePlace, open_records
from engine.app.screen_reads import stored_troubles
from engine.app.stop import Stop
from engine.app.stored_incidents import note_incident, open_incidents
from engine.app.stored_jobs import open_jobs
from engine.app.workers_control import WorkersControl
from engine.config import Config
from engine.console.account_status import AccountStatus
from engine.console.safe_text import one_line
from engine.console.status import EngineInfo
from engine.journal.explain import Explanation
from engine.journal.troubles import in_trouble
from engine.web.page.nodes import AccountWhere, FleetNodes
from engine.web.page.source import AccountHeat, ActionOutcome, Histories, PageUnreadable, PageVerb, account_at
from states import Entry, Policy
from states.incident import Incident, Severity
from states.jobs import Job, JobState

LOOK_EVERY: Final = 2.0
"""Seconds between two looks at the store while somebody sees the page."""
LOOK_SHARE: Final = 10
"""A look may take so small a part of the time: with very many accounts they are further apart."""
SEEN_SECONDS: Final = 60.0
"""For how long after somebody has seen the page it is kept up to date."""
MAX_RUNNING: Final = 1000
"""Number of running jobs that are read."""


@frozen
class StoredLook:
    """What one look at the store has found."""

    accounts: Mapping[str, AccountStatus] = field(factory=dict)
    troubles: Mapping[str, float] = field(factory=dict)
    incidents: Sequence[Incident] = ()
    jobs: Mapping[str, Mapping[str, int]] = field(factory=dict)
    running: Sequence[Job] = ()


@define(eq=False)
class WorkersPageSource:
    """The workers as the page's source: a ``PageSource``."""

    current: Callable[[], Config]
    """Returns the config as it is now."""
    control: WorkersControl
    info: EngineInfo
    stop: Stop
    _reads: PageReads = field(init=False)
    _seen: StoredLook = field(init=False)
    _sight: FleetSight | None = field(default=None, init=False)
    _wanted_at: float = field(default=float("-inf"), init=False)
    """When somebody saw the page last."""

    def __attrs_post_init__(self) -> None:
        self._reads = PageReads(lambda: self._place)
        if self._place.database is not None:  # else all nodes are workers of this machine
            self._sight = FleetSight(lambda: None, self._reads, "", {})
        self._seen = StoredLook({account.name: AccountStatus(None) for account in self.config.accounts})

    async def run(self) -> None:
        """Look at the store while somebody sees the page, until cancelled."""
        folded_at = anyio.current_time()
        while True:
            began = anyio.current_time()
            if time.monotonic() - self._wanted_at < SEEN_SECONDS:
                with suppress(StorageError, OSError):
                    names = [account.name for account in self.config.accounts]
                    look = partial(read_look, self._place, names, self._seen, self.control.engine)
                    self._seen = await anyio.to_thread.run_sync(look, abandon_on_cancel=True)
            if self._sight is not None and self._sight.wanted:
                await self._sight.look()
            if self._reads.wanted and anyio.current_time() - folded_at > FOLD_EVERY:
                self._reads.wanted, folded_at = False, anyio.current_time()
                with suppress(PageUnreadable):  # whoever opens a page is told why
                    await self._reads.history()
            await anyio.sleep(max(LOOK_EVERY, LOOK_SHARE * (anyio.current_time() - began)))

    # --- what is there -----------------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """The config."""
        return self.current()

    @property
    def _place(self) -> StoragePlace:
        return self.config.storage

    @property
    def config_name(self) -> str:
        """The name of the config's file."""
        return self.config.path.name

    @property
    def policy(self) -> Policy:
        """The schedules by which accounts are decided upon."""
        return self.config.states

    @property
    def stopping(self) -> bool:
        """Whether the workers are being stopped."""
        return self.stop.wanted.is_set()

    def accounts(self) -> Mapping[str, AccountStatus]:
        """Return where each account is, as of the last look."""
        self._wanted_at = time.monotonic()
        return self._seen.accounts

    async def look(self) -> None:
        """Have the nodes looked at."""
        if self._sight is not None:
            await self._sight.look()

    def nodes(self) -> FleetNodes | None:
        """Return the nodes, of which each worker is one."""
        return None if self._sight is None else self._sight.nodes()

    def whereabouts(self, account: str) -> AccountWhere | None:
        """Return which worker or node has an account."""
        if self._sight is None:
            return None
        at = self._seen.accounts.get(account, AccountStatus(None)).last
        return evolve(self._sight.whereabouts(account), stored=None if at is None else stored_at(at))

    def trouble_since(self, account: str) -> float | None:
        """Return since when an account is in trouble."""
        return self._seen.troubles.get(account)

    def incidents(self) -> Sequence[Incident]:
        """Return the incidents that are open, the worst first."""
        return self._seen.incidents

    def jobs(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many jobs there are, by kind and state."""
        return self._seen.jobs

    def running_jobs(self) -> Sequence[Job]:
        """Return the jobs that run."""
        return self._seen.running

    # --- what is read ------------------------------------------------------------------------------------------------

    async def past_incidents(self, limit: int) -> Sequence[Incident]:
        """Return the newest incidents that are over."""
        return await self._reads.past_incidents(limit)

    async def failed_jobs(self, limit: int) -> Sequence[Job]:
        """Return the newest jobs that failed for good."""
        return await self._reads.failed_jobs(limit)

    async def queued_jobs(self, limit: int) -> Sequence[Job]:
        """Return queued jobs."""
        return await self._reads.queued_jobs(limit)

    async def jobs_of(self, account: str, limit: int) -> Sequence[Job]:
        """Return the newest jobs of an account."""
        return await self._reads.jobs_of(account, limit)

    async def journal(self, account: str | None, before: int | None, limit: int) -> Sequence[Entry]:
        """Return the newest records."""
        return await self._reads.journal(account, before, limit)

    async def journal_at(self, since: float, until: float, limit: int, account: str | None = None) -> Sequence[Entry]:
        """Return the first records of a time."""
        return await self._reads.journal_at(since, until, limit, account)

    async def explain(self, seq: int) -> Explanation:
        """Return the explanation of a record."""
        return await self._reads.explain(seq)

    async def history(self) -> Histories:
        """Return what became of all accounts."""
        return await self._reads.history()

    def known_history(self) -> Histories:
        """Return what was read of it last."""
        return self._reads.known_history()

    async def heat(self, account: str, since: float) -> AccountHeat:
        """Return how an account went through the machine."""
        return await self._reads.heat(account, since)

    # --- what is done ------------------------------------------------------------------------------------------------

    async def act(self, verb: PageVerb, target: str) -> ActionOutcome:
        """Do what the command of that name does."""
        with anyio.move_on_after(ACT_SECONDS):
            match verb:
                case PageVerb.ACK:
                    return await self._acknowledge(target)
                case PageVerb.RETRY_JOB:
                    outcome = await retry_stored_job(self._place, target)
                    await self.control.look()
                    return outcome
                case _:
                    return await self._command(verb, target)
        return ActionOutcome(
            False, f"{one_line(target, 100)}: the {verb} was asked for, but nothing came of it in time"
        )

    async def _command(self, verb: PageVerb, account: str) -> ActionOutcome:
        if (found := account_at(self.accounts(), account)) is None:
            return ActionOutcome(False, f"No account is called {one_line(account, 100)!r} any more")
        do = {PageVerb.PAUSE: self.control.pause, PageVerb.RESUME: self.control.resume}.get(verb, self.control.retry)
        outcome = await do(found)
        return ActionOutcome(outcome.done, one_line(outcome.said))

    async def _acknowledge(self, target: str) -> ActionOutcome:
        gone = ActionOutcome(False, f"No incident {one_line(target, 100)} is open; it may be over already")
        if (number := number_of(target)) is None:
            return gone
        try:
            note = partial(note_incident, self._place, number, time.time())
            incident, is_new = await anyio.to_thread.run_sync(note, abandon_on_cancel=True)
        except StorageError as exc:
            return ActionOutcome(False, one_line(str(exc)))
        if incident is None or not incident.is_open:
            return gone
        await self.control.look()
        already = "" if is_new else " already"
        return ActionOutcome(True, one_line(f"Incident {number} is acknowledged{already}: {incident.meaning}"))


def read_look(place: StoragePlace, names: Sequence[str], before: StoredLook, engine: str) -> StoredLook:
    """Look at the store; who has not changed since the look before is the same object. Raises ``StorageError``.

    ``engine`` is the identity under which the workers of this machine write into a file.
    """
    with open_records(place) as reader:
        reader.on_unreadable = lambda row: None  # nothing is known of that account; the others have theirs
        if (present := reader.present_at_nodes()) is None:
            present = reader.present(engine)
        stored = {name: AccountStatus(at, name in present) for name, (at, _) in reader.snapshots().items()}
    accounts = {name: _kept(before.accounts.get(name), stored.get(name, AccountStatus(None))) for name in names}
    troubled = [name for name, at in accounts.items() if in_trouble(at)]
    unknown = [name for name in troubled if name not in before.troubles]
    found = {name: before.troubles[name] for name in troubled if name in before.troubles}
    found |= stored_troubles(place, unknown) if unknown else {}
    with open_incidents(place) as incidents:
        opened = incidents.incidents(open_only=True)
    opened.sort(key=lambda each: (each.severity is not Severity.CRITICAL, each.since, each.id))
    with open_jobs(place) as jobs:
        counts = jobs.counts()
        running = tuple(islice(jobs.jobs({"state": [JobState.RUNNING.value]}), MAX_RUNNING))
    return StoredLook(accounts, found, opened, counts, running)


def _kept(before: AccountStatus | None, now: AccountStatus) -> AccountStatus:
    return before if before is not None and before == now else now
