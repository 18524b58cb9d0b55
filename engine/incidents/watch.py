"""The watch over incidents: tells the law what happens, and has what it says stored, logged and told.

    decisions of accounts ─┐                             ┌─▶ log
    ends of jobs ──────────┼─▶ decide(book, event, now) ─┤
    trouble of the journal ┘                             └─▶ a queue ──▶ one task ──▶ engine.db ──▶ listeners

Whoever reports something waits for nothing. One task stores the changes in their order, each with the rows that belong
to it (``companions``), so that what is to be sent because of an incident is durable with it or not at all. The book in
memory is ahead of the file by what is in the queue: after a crash, the next engine sees the same accounts and comes to
the same incidents.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import anyio
import structlog
from attrs import define, evolve, field

from engine.console.safe_text import one_line
from engine.fleet.ports import Clock
from engine.incidents.ports import Companion, CountJobs, LastingIncidents
from engine.wakeup import Wakeup
from states import Snapshot, Step
from states.events import ClockJumped, DatabaseUnavailable, Failure
from states.incident import MAX_DETAIL, SHARED_STORE, Incident, IncidentKind
from states.incident_signs import account_seen
from states.incidents import (
    ACCOUNT_SLOTS,
    AccountGone,
    AccountSeen,
    AccountsRenamed,
    Acknowledged,
    Book,
    Change,
    ClockMoved,
    Closed,
    Elapsed,
    IncidentEvent,
    IncidentPolicy,
    IncidentReason,
    Opened,
    PartSeen,
    Sign,
    Slot,
    decide,
)
from states.job import Job, JobState

PAUSE: Final = 1.0
"""Seconds between two looks at the time: thousands of accounts come back one after the other."""
LOOK_EVERY: Final = 30.0
"""Seconds after which the time is looked at in any case: clocks may differ."""
READ_EVERY: Final = 60.0
"""Seconds after which is read what commands may have changed, although none has said so."""
MAX_UNSTORED: Final = 10_000
"""Changes that wait to be stored. If the file cannot be written and there are more, those incidents are left out that
began and ended meanwhile."""
COME_WITHIN: Final = 900.0
"""Seconds that a node which begins waits for the accounts of its earlier incidents: another one may have them now."""
CLOSE_TIMEOUT: Final = 5.0
"""Seconds that the last changes have at the end."""

log = structlog.get_logger("holdfast.incidents")


@define(eq=False, kw_only=True)
class IncidentWatch:
    """See the module's docstring. ``run`` it beside the fleet; call ``begin`` before, and ``close`` at the end.

    ``ways`` says what an account shares with others on its way to Telegram, the narrowest first; ``disk_of`` on which
    disk its session is. ``database`` is the engine's file, on ``disk``.
    """

    store: LastingIncidents
    clock: Clock
    policy: IncidentPolicy
    book: Book
    """What the law knows; read it, and leave it alone."""
    database: str
    is_shared: bool = False
    """Whether ``database`` is that of several nodes, which lose their accounts without it."""
    disk: str | None = None
    ways: Callable[[str], tuple[str, ...]] = lambda account: ()
    disk_of: Callable[[str], str | None] = lambda account: None
    count_jobs: CountJobs | None = None
    companions: list[Companion] = field(factory=list)
    """Each makes the rows that are stored with changes; add them before ``run``."""
    listeners: list[Callable[[Sequence[Change]], None]] = field(factory=list)
    """Called with changes that are on their way to the file; must neither wait nor raise."""
    _seen: dict[str, AccountSeen | AccountGone] = field(factory=dict, init=False)
    """What was told of each account last: most decisions say nothing new."""
    _unstored: list[Change] = field(factory=list, init=False)
    _on_their_way: frozenset[int] = field(default=frozenset(), init=False)
    """The incidents whose changes are being stored: these may be in the file already."""
    _store_all: bool = field(default=False, init=False)
    """Whether all that is open is to be stored anew."""
    _accounts_come: bool = field(default=False, init=False)
    """Whether accounts of earlier incidents may still come: this is a node, which claims them."""
    _to_store: Wakeup = field(factory=Wakeup, init=False)
    _moved: Wakeup = field(factory=Wakeup, init=False)
    """Notified when ``book.due`` may be earlier than it was."""
    _to_read: Wakeup = field(factory=Wakeup, init=False)

    # --- what is told ------------------------------------------------------------------------------------------------

    def begin(self, accounts: Collection[str] | None, paused: Collection[str] = ()) -> None:
        """Begin with the accounts of the config, of which some are paused; what others were in is over.

        None: they come later, and what those were in that have not come after a while goes on elsewhere.
        """
        if accounts is None:
            self._accounts_come = True
        else:
            for name in sorted(self._known_accounts - set(accounts) | set(paused)):
                self._tell(AccountGone(name))
        if (Slot.JOURNAL, self.database) in self.book.tracks:
            self._tell(PartSeen(slot=Slot.JOURNAL, name=self.database, found=Sign.WELL))  # it was opened just now
        self._tell(Elapsed())

    @property
    def _known_accounts(self) -> set[str]:
        return {name for slot, name in self.book.tracks if slot in ACCOUNT_SLOTS}

    def observe(self, account: str, step: Step) -> None:
        """Take a decision of an account into account."""
        if not step.record.quiet:
            self.see(account, step.snapshot)

    def see(self, account: str, at: Snapshot) -> None:
        """Take into account where an account is."""
        found = account_seen(account, at, scopes=self.ways(account), disk=self.disk_of(account))
        if found != self._seen.get(account):
            self._seen[account] = found
            self._tell(_made_safe(found))

    def use_policy(self, policy: IncidentPolicy) -> None:
        """Decide by another policy from now on."""
        if policy != self.policy:
            self.policy = policy
            self.book = evolve(self.book, due=self.clock.now())  # what time decides is decided anew
            self._tell(Elapsed())
            self._moved.notify()

    def forget(self, account: str) -> None:
        """Let an account that was removed leave all incidents."""
        self._seen.pop(account, None)
        self._tell(AccountGone(account))

    def rename(self, names: Mapping[str, str]) -> None:
        """Go on with accounts under other names: the new one of each, by the old one."""
        for former in names:
            self._seen.pop(former, None)
        self._tell(AccountsRenamed(names))

    def job_ended(self, job: Job, account: str) -> None:
        """Take into account how a job ended that ran with this account."""
        if job.state is JobState.FAILED:
            reason = IncidentReason(
                kind=IncidentKind.JOB_FAILED,
                cause=job.kind,
                detail=_safe(f"job {job.id} of {account}: {job.detail}"),
                at_once=True,
            )
            self._tell(PartSeen(slot=Slot.JOBS, name=job.kind, found=reason))
        elif job.state is JobState.DONE and (Slot.JOBS, job.kind) in self.book.tracks:
            self._tell(PartSeen(slot=Slot.JOBS, name=job.kind, found=Sign.WELL))

    def storage_trouble(self, failure: Failure | None) -> None:
        """Take into account what keeps the engine's file from being written; None: nothing any more."""
        found: IncidentReason | Sign = Sign.WELL
        if failure is not None:
            shared = self.disk if isinstance(failure, DatabaseUnavailable) else None
            if self.is_shared:
                shared = f"{SHARED_STORE}{self.database}"
            name, detail = os.path.basename(self.database), failure.detail
            found = IncidentReason(
                kind=IncidentKind.STORAGE,
                cause=self.database,
                detail=_safe(detail if self.database in detail else f"{name}: {detail}"),
                shared=shared or self.database,
            )
        self._tell(PartSeen(slot=Slot.JOURNAL, name=self.database, found=found))

    def database_replaced(self) -> None:
        """Store what is open anew: the file is another one."""
        self._store_all = True
        self._to_store.notify()

    async def use_store(self, store: LastingIncidents) -> None:
        """Store in another place from now on, of which this node had a part before. Raises ``StorageError``.

        What is open is stored anew. What it says is open, and is over by the book, was not stored as that.
        """
        found = await store.restore(self.clock.now())
        over = [each for number, each in found.open.items() if number not in self.book.open]
        now = self.clock.now()
        await store.keep([Closed(incident=evolve(each, closed=now)) for each in over])
        self.store = store
        self.database_replaced()

    def channel_seen(self, channel: str, failure: str | None) -> None:
        """Take into account that messages do not arrive through a channel, or do."""
        found: IncidentReason | Sign = Sign.WELL
        if failure is not None:
            found = IncidentReason(kind=IncidentKind.CHANNEL, cause=channel, detail=_safe(failure))
        self._tell(PartSeen(slot=Slot.CHANNEL, name=channel, found=found))

    def channel_gone(self, channel: str) -> None:
        """Ask no more for a channel, which the config does not have any more."""
        self._tell(PartSeen(slot=Slot.CHANNEL, name=channel, found=Sign.LEFT))

    def clock_jumped(self, event: ClockJumped) -> None:
        """Move all times with a clock that was set."""
        self._tell(ClockMoved(event.shift, event.slept or 0.0))
        if event.shift and self.book.open:
            self.database_replaced()

    def acknowledge(self, number: int) -> Incident | None:
        """Note that a person knows of an incident; return it, None if there is no such open one."""
        self._tell(Acknowledged(number))
        return self.book.open.get(number)

    def commands_changed(self) -> None:
        """Read what another process has changed in the file: what was acknowledged, which jobs are left."""
        self._to_read.notify()

    # --- what follows ------------------------------------------------------------------------------------------------

    def _tell(self, event: IncidentEvent) -> None:
        before = self.book.due
        self.book, changes, due = decide(self.book, event, self.clock.now(), self.policy)
        if changes:
            _log(changes)
            self._unstored += changes
            if len(self._unstored) > MAX_UNSTORED:
                self._unstored = _without_finished(self._unstored, self._on_their_way)
            self._to_store.notify()
        if due is not None and (before is None or due < before):
            self._moved.notify()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_changes)
            tasks.start_soon(self._read_commands)
            if self._accounts_come:
                tasks.start_soon(self._forget_unseen)
            while True:
                upcoming, due = self._moved.upcoming, self.book.due
                wait = LOOK_EVERY if due is None else min(due - self.clock.now(), LOOK_EVERY)
                if wait > 0:
                    with anyio.move_on_after(wait):
                        await upcoming.wait()
                if self.book.due is not None and self.book.due <= self.clock.now():
                    self._tell(Elapsed())
                    await anyio.sleep(PAUSE)

    async def _forget_unseen(self) -> None:
        """Let those accounts leave that an earlier life of this node had, and that have not come again."""
        await anyio.sleep(COME_WITHIN)
        for name in sorted(self._known_accounts - self._seen.keys()):
            self._tell(AccountGone(name))
        self._accounts_come = False

    async def close(self) -> None:
        """Store what is still to be stored, in bounded time."""
        with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
            await self._store_some()

    async def _keep_changes(self) -> None:
        while True:
            upcoming = self._to_store.upcoming
            await self._store_some()
            await upcoming.wait()

    async def _store_some(self) -> None:
        if self._unstored:
            changes = tuple(self._unstored)
            self._on_their_way = frozenset(each.incident.id for each in changes)
            await self.store.keep(changes, [row for make in self.companions for row in make(changes)])
            # Only now: a call that is cancelled has stored nothing. What came meanwhile stays.
            stored = set(map(id, changes))
            self._unstored = [each for each in self._unstored if id(each) not in stored]
            for tell in self.listeners:
                tell(changes)
        if self._store_all:
            self._store_all = False
            await self.store.keep_all(self.book)

    async def _read_commands(self) -> None:
        while True:
            upcoming = self._to_read.upcoming
            if self.book.open:
                await self.store.flush()
                for number in sorted(await self.store.acknowledged()):
                    self._tell(Acknowledged(number))
                await self._count_jobs()
            with anyio.move_on_after(READ_EVERY):
                await upcoming.wait()

    async def _count_jobs(self) -> None:
        """See which kinds of jobs have no failed job any more: a person has retried or cancelled them."""
        kinds = [name for slot, name in self.book.tracks if slot is Slot.JOBS]
        if kinds and self.count_jobs is not None:
            counts = await self.count_jobs()
            for kind in kinds:
                if not counts.get(kind, {}).get(JobState.FAILED.value):
                    self._tell(PartSeen(slot=Slot.JOBS, name=kind, found=Sign.WELL))


def _safe(text: str) -> str:
    return one_line(text, MAX_DETAIL)


def _made_safe(found: AccountSeen | AccountGone) -> AccountSeen | AccountGone:
    """Return what is seen of an account, with details that fit a line: they may quote what others wrote."""
    if isinstance(found, AccountGone):
        return found

    def safe(each: IncidentReason | Sign) -> IncidentReason | Sign:
        return evolve(each, detail=_safe(each.detail)) if isinstance(each, IncidentReason) else each

    return evolve(
        found,
        connection=safe(found.connection),
        person=safe(found.person),
        file=safe(found.file),
        limit=safe(found.limit),
    )


def _without_finished(changes: Sequence[Change], on_their_way: Collection[int]) -> list[Change]:
    """Return changes without those of incidents that began and ended in them: nobody will have known of them."""
    began = {each.incident.id for each in changes if isinstance(each, Opened)}
    ended = {each.incident.id for each in changes if isinstance(each, Closed)}
    unknown = (began & ended).difference(on_their_way)
    return [each for each in changes if each.incident.id not in unknown]


def _log(changes: Sequence[Change]) -> None:
    for change in changes:
        match change:
            case Opened(incident=incident):
                log.error(
                    "incident_opened", **_fields(incident), severity=incident.severity.value, todo=incident.action
                )
            case Closed(incident=incident, into=into):
                took = incident.lasted(incident.closed or incident.opened)
                log.info("incident_closed", **_fields(incident), took=took, into=into)
            case _:
                pass


def _fields(incident: Incident) -> dict[str, object]:
    """Return what the log says of an incident."""
    account = incident.accounts[0] if len(incident.accounts) == 1 else None
    return {
        "incident": incident.id,
        "kind": incident.kind.value,
        "cause": incident.cause,
        "account": account,
        "accounts": len(incident.accounts),
        "meaning": incident.meaning,
        "detail": incident.detail,
    }
