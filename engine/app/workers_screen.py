"""What the screen of ``run`` shows where workers have the accounts: what is stored, and the workers' own commands."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import anyio
from anyio.to_thread import run_sync
from attrs import define, evolve, field
from rich.console import Console

from adapters.sqlite import JournalMissing, StorageError
from engine.app.records import StoragePlace
from engine.app.screen_reads import read_entries, read_explanation
from engine.app.stored_incidents import note_incident
from engine.app.workers_control import WorkersControl
from engine.app.workers_page import StoredLook, read_look
from engine.config import Config
from engine.console.account_status import AccountStatus
from engine.console.format import moment
from engine.console.incident_lines import acknowledged, worst_first
from engine.console.logs import RecentLines
from engine.console.ranking import Ranking
from engine.console.status import EngineInfo
from engine.journal.explain import Explanation
from engine.journal.troubles import in_trouble
from engine.screen.model import Do
from engine.screen.screen import Screen
from engine.screen.terminal import ScreenTerminal
from states import Entry
from states.incident import Incident
from states.job import JobSummary, by_state

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the store."""
ASK_EVERY: Final = 2.0
LOOK_SHARE: Final = 10
"""A look may take so small a part of the time: with very many accounts they are further apart."""
WARNING: Final = 30


@define(eq=False)
class WorkersScreenSource:
    """The workers of this process as the screen's source."""

    current: Callable[[], Config]
    """Returns the config as it is now."""
    control: WorkersControl
    recent: RecentLines
    info: EngineInfo
    ranking: Ranking = field(init=False)
    node: str = field(default="", init=False)
    quits: bool = field(default=False, init=False)
    """Ctrl+C stops the engine; no key does."""
    jobs: JobSummary = field(factory=JobSummary, init=False)
    incidents: Sequence[Incident] = field(default=(), init=False)
    _seen: StoredLook = field(init=False)
    _trouble: str = field(default="", init=False)
    """Why the store could not be read at the last look."""

    def __attrs_post_init__(self) -> None:
        self._seen = StoredLook({name: AccountStatus(None) for name in self._names})
        self.ranking = Ranking.of(self._seen.accounts)

    @property
    def lines(self) -> Iterable[tuple[int, str]]:
        """The last lines of the log."""
        return self.recent.lines

    def tell(self, level: int, line: str) -> None:
        """Show a line that was printed among those of the log."""
        self.recent.lines.append((level, line))

    def knows(self, account: str) -> bool:
        """Return whether the config that is applied has the account."""
        return account in self._names

    def trouble_since(self, account: str, at: AccountStatus) -> float | None:
        """Return since when an account is in trouble."""
        return self._seen.troubles.get(account) if in_trouble(at) else None

    async def follow(self) -> None:
        """Look at the store, and ask the workers what they could not write, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read)
            tasks.start_soon(self._ask)

    async def _read(self) -> None:
        while True:
            began = anyio.current_time()
            try:
                look = partial(read_look, self._place, self._names, self._seen, self.control.engine)
                self._take(await run_sync(look, abandon_on_cancel=True))
                self._trouble = ""
            except JournalMissing:
                pass  # the engine has not made its file yet
            except (StorageError, OSError) as exc:
                if self._trouble != (why := str(exc)):
                    self._trouble = why
                    self.tell(WARNING, f"{moment(time.time(), time.time())} {why}")
            await anyio.sleep(max(LOOK_EVERY, LOOK_SHARE * (anyio.current_time() - began)))

    async def _ask(self) -> None:
        while True:
            await self.control.look()
            unwritten = self.control.unwritten
            if (why := None if unwritten is None else unwritten.why) != self.info.unwritten:
                self.info = evolve(self.info, unwritten=why)
            await anyio.sleep(ASK_EVERY)

    def _take(self, seen: StoredLook) -> None:
        """Rank anew what has changed."""
        before, self._seen = self._seen.accounts, seen
        self.jobs = JobSummary(by_state(seen.jobs), tuple(seen.running))
        self.incidents = worst_first(seen.incidents)
        if before.keys() != seen.accounts.keys():
            self.ranking = Ranking.of(seen.accounts)
            return
        self.ranking.status = seen.accounts.__getitem__
        for name, at in seen.accounts.items():
            if at is not before[name]:
                self.ranking.update(name)

    async def entries(self, account: str) -> Sequence[Entry]:
        """Return the account's newest records."""
        return await run_sync(read_entries, self._place, account, abandon_on_cancel=True)

    async def explain(self, seq: int) -> Explanation:
        """Return the explanation of a record."""
        return await run_sync(read_explanation, self._place, seq, abandon_on_cancel=True)

    async def perform(self, do: Do, account: str) -> str:
        """Have the worker that has the account do it."""
        acts = {Do.PAUSE: self.control.pause, Do.RESUME: self.control.resume}
        return (await acts.get(do, self.control.retry)(account)).said

    async def acknowledge(self, incident: int) -> str:
        """Do what ``incidents ack`` does."""
        try:
            note = partial(note_incident, self._place, incident, time.time())
            found, _ = await run_sync(note, abandon_on_cancel=True)
        except (StorageError, OSError) as exc:
            return str(exc)
        await self.control.look()
        return acknowledged(incident, found)

    @property
    def _place(self) -> StoragePlace:
        return self.current().storage

    @property
    def _names(self) -> Sequence[str]:
        return self.control.accounts


def screen_of_workers(
    current: Callable[[], Config], control: WorkersControl, recent: RecentLines, console: Console
) -> Screen:
    """Return the screen of an engine with workers, for a console whose terminal can show one."""
    terminal = ScreenTerminal.of(console)
    assert terminal is not None, "it was asked for before"
    info = EngineInfo(running=True, pid=os.getpid(), since=control.since)
    return Screen(WorkersScreenSource(current, control, recent, info), terminal)
