"""What the screen of ``run`` shows: the engine in this process. A composition root."""

from collections.abc import Iterable, Sequence
from typing import Final

import anyio
from anyio.to_thread import run_sync
from attrs import define, field
from rich.console import Console

from engine.app.engine import Engine
from engine.app.records import StoragePlace
from engine.app.screen_reads import read_entries, read_explanation, stored_troubles
from engine.console.account_status import AccountStatus
from engine.console.incident_lines import acknowledged, worst_first
from engine.console.logs import RecentLines
from engine.console.ranking import Ranking
from engine.console.status import EngineInfo
from engine.journal.explain import Explanation
from engine.journal.troubles import Troubles
from engine.screen.model import Do
from engine.screen.screen import Screen
from engine.screen.terminal import ScreenTerminal
from states import Entry
from states.incident import Incident
from states.jobs import JobSummary

LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks for accounts that have come."""
FLUSH_TIMEOUT: Final = 1.0
"""Seconds that the newest records have to be durable before the journal is shown without them."""


@define(eq=False)
class EngineSource:
    """The engine of this process as the screen's source."""

    engine: Engine
    ranking: Ranking
    recent: RecentLines
    troubles: Troubles = field(factory=Troubles, init=False)
    quits: bool = field(default=False, init=False)
    """Ctrl+C stops the engine; no key does."""
    _read: set[str] = field(factory=set, init=False)
    """Accounts whose stored troubles have been read."""
    _incidents: tuple[Sequence[Incident], Sequence[Incident]] = field(default=((), ()), init=False)
    """The open incidents, as they are kept and as they are shown."""

    @property
    def info(self) -> EngineInfo:
        """The engine itself."""
        return self.engine.info

    @property
    def node(self) -> str:
        """What is to be said of its node."""
        return self.engine.node_line

    @property
    def jobs(self) -> JobSummary:
        """The jobs."""
        return self.engine.jobs.summary

    @property
    def incidents(self) -> Sequence[Incident]:
        """The open incidents, worst first."""
        found = tuple(self.engine.incidents.open.values())
        if found != self._incidents[0]:
            self._incidents = found, worst_first(found)
        return self._incidents[1]

    @property
    def lines(self) -> Iterable[tuple[int, str]]:
        """The last lines of the log."""
        return self.recent.lines

    def tell(self, level: int, line: str) -> None:
        """Show a line that was printed among those of the log."""
        self.recent.lines.append((level, line))

    def knows(self, account: str) -> bool:
        """Return whether the config that is applied has the account."""
        return any(each.name == account for each in self.engine.config.accounts)

    def trouble_since(self, account: str, at: AccountStatus) -> float | None:
        """Return since when an account is in trouble."""
        return self.troubles.since(account, at)

    async def follow(self) -> None:
        """Read once of each account that comes how long its trouble lasts; all else is there as it changes."""
        while True:
            if names := self.engine.fleet.runners.keys() - self._read:
                self._read |= names
                await self._flush()
                found = await run_sync(stored_troubles, self._place, sorted(names), abandon_on_cancel=True)
                self.troubles.remember({name: since for name, since in found.items() if name in self._read})
            await anyio.sleep(LOOK_INTERVAL)

    def forget(self, account: str) -> None:
        """Forget an account that was removed; if it comes again, its trouble is in the journal."""
        self.troubles.forget(account)
        self._read.discard(account)

    async def _flush(self) -> None:
        with anyio.move_on_after(FLUSH_TIMEOUT):
            await self.engine.flush()

    async def entries(self, account: str) -> Sequence[Entry]:
        """Return the account's newest records, those of this moment included if the disk takes them."""
        await self._flush()
        return await run_sync(read_entries, self._place, account, abandon_on_cancel=True)

    async def explain(self, seq: int) -> Explanation:
        """Return the explanation of a record."""
        return await run_sync(read_explanation, self._place, seq, abandon_on_cancel=True)

    async def perform(self, do: Do, account: str) -> str:
        """Do what the command of that name does, by the same handlers."""
        if (handlers := self.engine.control) is None:
            return "The engine is still starting; try again in a moment"
        if account not in self.engine.fleet.runners:
            return f"The engine does not run {account} now; try again in a moment"
        with anyio.move_on_after(handlers.timeout):
            match do:
                case Do.PAUSE:
                    return (await handlers.pause(account)).said
                case Do.RESUME:
                    return (await handlers.resume(account)).said
                case _:
                    return (await handlers.retry(account)).said
        return f"{account}: the {do} was asked for, but nothing came of it in time"

    async def acknowledge(self, incident: int) -> str:
        """Do what ``incidents ack`` does, on the incidents of this engine."""
        watch = self.engine.incidents.watch
        return acknowledged(incident, None if watch is None else watch.acknowledge(incident))

    @property
    def _place(self) -> StoragePlace:
        return self.engine.config.storage


def screen_of(engine: Engine, ranking: Ranking, recent: RecentLines, console: Console) -> Screen | None:
    """Return the screen of an engine; None if the console's terminal can show a text only."""
    if (terminal := ScreenTerminal.of(console)) is None:
        return None
    source = EngineSource(engine, ranking, recent)
    engine.fleet.listeners.append(source.troubles.observe)
    engine.fleet.removed.append(source.forget)
    return Screen(source, terminal)
