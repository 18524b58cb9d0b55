"""What the screen of ``run`` shows: the engine in this process. A composition root."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import anyio
from anyio.to_thread import run_sync
from attrs import define, field
from rich.console import Console

from engine import paths
from engine.app.engine import Engine
from engine.app.screen_reads import read_entries, read_explanation, stored_troubles
from engine.console.account_status import AccountStatus
from engine.console.logs import RecentLines
from engine.console.ranking import Ranking
from engine.console.status import EngineInfo
from engine.journal.explain import Explanation
from engine.journal.troubles import Troubles
from engine.screen.model import Do
from engine.screen.screen import Screen
from engine.screen.terminal import ScreenTerminal
from states import Entry
from states.jobs import JobSummary

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

    @property
    def info(self) -> EngineInfo:
        """The engine itself."""
        return self.engine.info

    @property
    def jobs(self) -> JobSummary:
        """The jobs."""
        return self.engine.jobs.summary

    @property
    def lines(self) -> Iterable[tuple[int, str]]:
        """The last lines of the log."""
        return self.recent.lines

    def tell(self, level: int, line: str) -> None:
        """Show a line that was printed among those of the log."""
        self.recent.lines.append((level, line))

    def trouble_since(self, account: str, at: AccountStatus) -> float | None:
        """Return since when an account is in trouble."""
        return self.troubles.since(account, at)

    async def follow(self) -> None:
        """Read once how long the troubles last that are older than this engine; all else is there as it changes."""
        names = [account.name for account in self.engine.config.accounts]
        self.troubles.remember(await run_sync(stored_troubles, self._journal, names, abandon_on_cancel=True))
        await anyio.sleep_forever()

    async def entries(self, account: str) -> Sequence[Entry]:
        """Return the account's newest records, those of this moment included if the disk takes them."""
        with anyio.move_on_after(FLUSH_TIMEOUT):
            await self.engine.flush()
        return await run_sync(read_entries, self._journal, account, abandon_on_cancel=True)

    async def explain(self, seq: int) -> Explanation:
        """Return the explanation of a record."""
        return await run_sync(read_explanation, self._journal, seq, abandon_on_cancel=True)

    async def perform(self, do: Do, account: str) -> str:
        """Do what the command of that name does, by the same handlers."""
        if (handlers := self.engine.control) is None or account not in handlers.names:
            return "The engine is still starting; try again in a moment"
        with anyio.move_on_after(handlers.timeout):
            match do:
                case Do.PAUSE:
                    return (await handlers.pause(account)).said
                case Do.RESUME:
                    return (await handlers.resume(account)).said
                case _:
                    return (await handlers.retry(account)).said
        return f"{account}: the {do} was asked for, but nothing came of it in time"

    @property
    def _journal(self) -> Path:
        return self.engine.config.storage.directory / paths.DATABASE


def screen_of(engine: Engine, ranking: Ranking, recent: RecentLines, console: Console) -> Screen | None:
    """Return the screen of an engine; None if the console's terminal can show a text only."""
    if (terminal := ScreenTerminal.of(console)) is None:
        return None
    source = EngineSource(engine, ranking, recent)
    engine.fleet.listeners.append(source.troubles.observe)
    return Screen(source, terminal)
