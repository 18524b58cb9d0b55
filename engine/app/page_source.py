"""What the page shows and does: the engine in this process. A composition root."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from attrs import define, field

from adapters.sqlite import StorageError
from engine.app.page_reads import FOLD_EVERY, PageReads
from engine.app.records import StoragePlace
from engine.app.screen_reads import stored_troubles
from engine.app.stored_incidents import note_incident
from engine.app.stored_jobs import change_jobs
from engine.console.account_status import AccountStatus
from engine.console.safe_text import one_line
from engine.console.status import EngineInfo
from engine.control.protocol import CommandOutcome, Verb
from engine.journal.explain import Explanation
from engine.journal.troubles import Troubles
from engine.web.page.source import AccountHeat, ActionOutcome, Histories, PageUnreadable, PageVerb, account_at
from states import Entry, Policy
from states.incident import Incident, Severity
from states.jobs import Job, JobState, Retried

if TYPE_CHECKING:  # which composes this
    from engine.app.engine import Engine
    from engine.app.fleet_sight import FleetSight
    from engine.app.node import EngineNode
    from engine.web.page.nodes import AccountWhere, FleetNodes

FLUSH_SECONDS: Final = 1.0
"""That the newest records have to be durable before the journal is shown without them."""
ACT_SECONDS: Final = 25.0
"""For an action: the browser waits for it."""
REMEMBERED_AT_ONCE: Final = 1000
"""Accounts whose stored troubles are read together."""
_MAX_NUMBER: Final = 2**63 - 1
_QUOTED: Final = 100
"""Characters of a target that an answer repeats."""


@define(eq=False)
class EnginePageSource:
    """The engine as the page's source: a ``PageSource``."""

    engine: "Engine"
    node: "EngineNode | None" = None
    """What shares the accounts with other nodes."""
    troubles: Troubles = field(factory=Troubles, init=False)
    _reads: PageReads = field(init=False)
    _sight: "FleetSight | None" = field(default=None, init=False)
    _kept: dict[str, AccountStatus] = field(factory=dict, init=False)
    """What ``accounts`` returned last: who has not changed is the same object."""
    _began: bool = field(default=False, init=False)
    _remembered: set[str] = field(factory=set, init=False)
    """Accounts whose stored troubles have been read."""

    def __attrs_post_init__(self) -> None:
        self._reads = PageReads(lambda: self._place)
        if self.node is not None and self._place.database is not None:
            from engine.app.fleet_sight import FleetSight  # noqa: PLC0415 - most engines are no nodes

            own, runs = self.engine.config.node.known_as, self.engine.fleet.runners
            node = self.node
            self._sight = FleetSight(lambda: node.holder, self._reads, own, runs)

    async def run(self) -> None:
        """Learn once how long the troubles last that are older than the page, and keep the history that people see."""
        if not self._began:
            self._began = True
            self.engine.fleet.listeners.append(self.troubles.observe)
            if self.node is not None:
                self.engine.fleet.removed.append(self._forget)
            else:
                await self._remember([account.name for account in self.engine.config.accounts])
        while True:
            if self.node is not None:  # the accounts come one by one
                await self._remember(sorted(self.engine.fleet.runners.keys() - self._remembered))
            await anyio.sleep(FOLD_EVERY)
            if self._sight is not None and self._sight.wanted:
                await self._sight.look()
            if self._reads.wanted:
                self._reads.wanted = False
                with suppress(PageUnreadable):  # whoever opens a page is told why
                    await self._reads.history()

    async def _remember(self, names: Sequence[str]) -> None:
        """Learn how long the troubles of accounts last that are older than the page; some of them at a time."""
        for first in range(0, len(names), REMEMBERED_AT_ONCE):
            some = names[first : first + REMEMBERED_AT_ONCE]
            found = await anyio.to_thread.run_sync(stored_troubles, self._place, some, abandon_on_cancel=True)
            self.troubles.remember(found)
            self._remembered.update(some)

    def _forget(self, account: str) -> None:
        """Forget an account that another node takes; if it comes again, its trouble is stored."""
        self.troubles.forget(account)
        self._remembered.discard(account)

    # --- what is there -----------------------------------------------------------------------------------------------

    @property
    def _place(self) -> StoragePlace:
        return self.engine.config.storage

    @property
    def info(self) -> EngineInfo:
        """Its process and its start."""
        return self.engine.info

    @property
    def config_name(self) -> str:
        """The name of the config's file."""
        return self.engine.config.path.name

    @property
    def policy(self) -> Policy:
        """The schedules by which accounts are decided upon."""
        return self.engine.config.states

    @property
    def stopping(self) -> bool:
        """Whether the engine is being stopped."""
        return self.engine.stop.wanted.is_set()

    def accounts(self) -> Mapping[str, AccountStatus]:
        """Return where each account is."""
        kept = self._kept
        found = {}
        sight, runs = self._sight, self.engine.fleet.runners
        for name, own in self.engine.status.items():
            at = own if sight is None or name in runs else sight.status(name)
            before = kept.get(name)
            same = before is not None and before.last is at.last and before.present == at.present
            found[name] = before if same and before is not None else at
        self._kept = found
        return found

    async def look(self) -> None:
        """Have the other nodes looked at."""
        if self._sight is not None:
            await self._sight.look()

    def nodes(self) -> "FleetNodes | None":
        """Return the nodes."""
        return None if self._sight is None else self._sight.nodes()

    def whereabouts(self, account: str) -> "AccountWhere | None":
        """Return which node has an account."""
        return None if self._sight is None else self._sight.whereabouts(account)

    def trouble_since(self, account: str) -> float | None:
        """Return since when an account is in trouble."""
        at = self._kept.get(account) or self.accounts().get(account)
        return None if at is None else self.troubles.since(account, at)

    def incidents(self) -> Sequence[Incident]:
        """Return the incidents that are open, the worst first."""
        found: Sequence[Incident] = list(self.engine.incidents.open.values())
        if self._sight is not None:
            found = self._sight.incidents(found)
        return sorted(found, key=lambda each: (each.severity is not Severity.CRITICAL, each.since, each.id))

    def jobs(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many jobs there are, by kind and state."""
        dispatcher = self.engine.jobs.dispatcher
        return {} if dispatcher is None else dispatcher.counts

    def running_jobs(self) -> Sequence[Job]:
        """Return the jobs that run now."""
        for _ in range(3):
            try:
                running = self.engine.jobs.summary.running
                return running if self._sight is None else self._sight.running_jobs(running)
            except RuntimeError:  # one has begun or ended meanwhile: this may be another thread
                continue
        return ()

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
        """Return the newest records, those of this moment included if the disk takes them."""
        if before is None:
            await self._flush()
        return await self._reads.journal(account, before, limit)

    async def journal_at(self, since: float, until: float, limit: int, account: str | None = None) -> Sequence[Entry]:
        """Return the first records of a time."""
        await self._flush()
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

    async def _flush(self) -> None:
        with anyio.move_on_after(FLUSH_SECONDS):
            await self.engine.flush()

    # --- what is done ------------------------------------------------------------------------------------------------

    async def act(self, verb: PageVerb, target: str) -> ActionOutcome:
        """Do what the command of that name does, by the same functions."""
        with anyio.move_on_after(ACT_SECONDS):
            match verb:
                case PageVerb.ACK:
                    return await self._acknowledge(target)
                case PageVerb.RETRY_JOB:
                    return await self._retry_job(target)
                case _:
                    return await self._command(verb, target)
        said = f"{one_line(target, _QUOTED)}: the {verb} was asked for, but nothing came of it in time"
        return ActionOutcome(False, said)

    async def _command(self, verb: PageVerb, account: str) -> ActionOutcome:
        handlers = self.engine.control
        if handlers is None:
            return ActionOutcome(False, "The engine is still starting; try again in a moment")
        found = account_at(self.accounts(), account)
        if self._sight is not None and found is not None and found not in self.engine.fleet.runners:
            return await self._command_elsewhere(verb, found)
        if found is None or found not in handlers.names:
            return ActionOutcome(False, f"No account is called {one_line(account, _QUOTED)!r} any more")
        account = found
        outcome: CommandOutcome
        if verb is PageVerb.PAUSE:
            outcome = await handlers.pause(account)
        elif verb is PageVerb.RESUME:
            outcome = await handlers.resume(account)
        else:
            outcome = await handlers.retry(account)
        return ActionOutcome(outcome.done, one_line(outcome.said))

    async def _command_elsewhere(self, verb: PageVerb, account: str) -> ActionOutcome:
        """Have the node that has the account do it, as the command does."""
        from engine.app.account_commands import NoNodeRuns, command_nodes  # noqa: PLC0415 - for nodes alone

        work = partial(command_nodes, self.engine.config, Verb(verb.value), [account])
        try:
            outcome = (await anyio.to_thread.run_sync(work, abandon_on_cancel=True))[0].outcome
        except (StorageError, OSError) as exc:
            return ActionOutcome(False, one_line(str(exc)))
        except NoNodeRuns:
            return ActionOutcome(False, f"{one_line(account, _QUOTED)}: no node runs that could have it")
        return ActionOutcome(outcome.done, one_line(outcome.said))

    async def _acknowledge(self, target: str) -> ActionOutcome:
        watch, number = self.engine.incidents.watch, number_of(target)
        incident, fresh = None, False
        if number is not None and watch is not None and (before := watch.book.open.get(number)) is not None:
            incident, fresh = watch.acknowledge(number) or before, before.acked is None
        elif number is not None and self._sight is not None:  # another node's
            try:
                work = partial(note_incident, self._place, number, time.time())
                incident, fresh = await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
            except (StorageError, OSError) as exc:
                return ActionOutcome(False, one_line(str(exc)))
        if incident is None or not incident.is_open:
            return ActionOutcome(False, f"No incident {one_line(target, _QUOTED)} is open; it may be over already")
        already = "" if fresh else " already"
        return ActionOutcome(True, one_line(f"Incident {number} is acknowledged{already}: {incident.meaning}"))

    async def _retry_job(self, target: str) -> ActionOutcome:
        outcome = await retry_stored_job(self._place, target)
        self.engine.jobs.jobs_changed()
        self.engine.incidents.commands_changed()
        return outcome


async def retry_stored_job(place: StoragePlace, target: str) -> ActionOutcome:
    """Have the job of this number tried again; whoever runs jobs is to look at them afterwards."""
    if (number := number_of(target)) is None:
        return ActionOutcome(False, f"There is no job {one_line(target, _QUOTED)}")
    try:
        work = partial(change_jobs, place, [number], Retried())
        outcome = (await anyio.to_thread.run_sync(work, abandon_on_cancel=True))[0]
    except StorageError as exc:
        return ActionOutcome(False, one_line(str(exc)))
    if isinstance(outcome, str):
        return ActionOutcome(False, one_line(outcome))
    if isinstance(outcome, int):
        return ActionOutcome(False, f"There is no job {number}")
    before, after = outcome
    if before.state in (JobState.RUNNING, JobState.DONE):
        why = "one that runs cannot be retried" if before.state is JobState.RUNNING else "it is over"
        return ActionOutcome(False, f"Job {number} is {before.state.value}; {why}")
    return ActionOutcome(True, f"Job {number} is {after.state.value}")


def number_of(text: str) -> int | None:
    """Return the number of a row that a text is; None if it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _MAX_NUMBER else None
