"""The screen of ``status --watch``: the files of an engine, and its socket, looked at once a second."""

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import anyio
from anyio.to_thread import run_sync
from attrs import define, field

from adapters.sqlite.errors import StorageError
from engine.app.screen_reads import read_entries, read_explanation, stored_troubles
from engine.cli.incidents import acknowledge
from engine.console.account_status import UNKNOWN, AccountStatus
from engine.console.format import moment
from engine.console.incident_lines import acknowledged, worst_first
from engine.console.logs import LINES_RECENT
from engine.console.ranking import Ranking
from engine.console.status import EngineInfo
from engine.control.client import CommandRefused, EngineSilent, send_to
from engine.control.protocol import CommandOutcome, Verb
from engine.journal.explain import Explanation
from engine.journal.troubles import in_trouble
from engine.screen.model import Do
from engine.screen.screen import Screen
from engine.screen.terminal import ScreenTerminal
from states import Entry
from states.incident import Incident
from states.job import JobSummary

WATCH_INTERVAL: Final = 1.0
"""Seconds between two looks."""
COMMAND_TIMEOUT: Final = 120.0
"""Seconds that the engine has for a command; it gives up on one before that."""


class Look(Protocol):
    """What one look has found."""

    @property
    def info(self) -> EngineInfo:
        """Whether the engine runs."""

    @property
    def accounts(self) -> dict[str, AccountStatus]:
        """Where the accounts are."""

    @property
    def jobs(self) -> JobSummary:
        """The jobs."""

    @property
    def incidents(self) -> Sequence[Incident]:
        """The open incidents."""

    @property
    def code(self) -> int:
        """The exit code that it means."""


@define(eq=False)
class FileSource:
    """Files and socket of an engine, in whichever process it runs, as the screen's source."""

    directory: Path
    look: Callable[[], Look]
    """Looks at the files; it may wait for the disk."""
    seen: Look
    """What the last look has found."""
    database: str | None = field(default=None, repr=False)
    """``storage.database``, as in the config's outline."""
    ranking: Ranking = field(init=False)
    quits: bool = field(default=True, init=False)
    node: str = field(default="", init=False)
    """It looks at all nodes, and is none."""
    _troubles: dict[str, tuple[object, float | None]] = field(factory=dict, init=False)
    """Since when accounts are in trouble, and the last sign of life before: with a later one it is another trouble."""
    _incidents: Sequence[Incident] = field(default=(), init=False)
    _lines: deque[tuple[int, str]] = field(factory=lambda: deque(maxlen=LINES_RECENT), init=False)

    def __attrs_post_init__(self) -> None:
        self.ranking, self._incidents = Ranking.of(self.seen.accounts), worst_first(self.seen.incidents)

    @property
    def info(self) -> EngineInfo:
        """The engine."""
        return self.seen.info

    @property
    def jobs(self) -> JobSummary:
        """The jobs."""
        return self.seen.jobs

    @property
    def incidents(self) -> Sequence[Incident]:
        """The open incidents, worst first."""
        return self._incidents

    @property
    def lines(self) -> Iterable[tuple[int, str]]:
        """What was printed; the engine's log is another process's."""
        return self._lines

    def tell(self, level: int, line: str) -> None:
        """Show a line."""
        self._lines.append((level, line))

    def knows(self, account: str) -> bool:
        """Return whether the last look has found the account."""
        return account in self.seen.accounts

    def trouble_since(self, account: str, at: AccountStatus) -> float | None:
        """Return since when an account is in trouble."""
        return self._troubles[account][1] if in_trouble(at) and account in self._troubles else None

    async def follow(self) -> None:
        """Look once a second, in a thread."""
        await self._read_troubles()
        while True:
            await anyio.sleep(WATCH_INTERVAL)
            try:
                self._take(await run_sync(self.look, abandon_on_cancel=True))
                await self._read_troubles()
            except (Exception, SystemExit) as exc:  # such as a locked file: the next look may find more
                self.tell(30, f"{moment(time.time(), time.time())} {exc}")

    def _take(self, seen: Look) -> None:
        """Rank anew what has changed."""
        before, self.seen = self.seen.accounts, seen
        if list(self._incidents) != (incidents := worst_first(seen.incidents)):
            self._incidents = incidents
        if before.keys() != seen.accounts.keys():
            self.ranking = Ranking.of(seen.accounts)
            self._troubles = {name: found for name, found in self._troubles.items() if name in seen.accounts}
            return
        self.ranking.status = seen.accounts.__getitem__
        for name, at in seen.accounts.items():
            if at != before[name]:
                self.ranking.update(name)

    async def _read_troubles(self) -> None:
        """Read since when those are in trouble that were not when they were looked at last."""
        wanted = {}
        for name, at in self.seen.accounts.items():
            if in_trouble(at) and at.last is not None:
                sign = at.last.last_success
                if name not in self._troubles or self._troubles[name][0] != sign:
                    wanted[name] = sign
        if not wanted:
            return
        found = await run_sync(stored_troubles, self, list(wanted), abandon_on_cancel=True)
        self._troubles |= {name: (sign, found.get(name)) for name, sign in wanted.items()}
        self.ranking.updates += 1

    async def entries(self, account: str) -> Sequence[Entry]:
        """Return the account's newest records."""
        return await run_sync(read_entries, self, account, abandon_on_cancel=True)

    async def explain(self, seq: int) -> Explanation:
        """Return the explanation of a record."""
        return await run_sync(read_explanation, self, seq, abandon_on_cancel=True)

    async def perform(self, do: Do, account: str) -> str:
        """Send the engine the command of that name."""
        if not self.info.works:
            return "The engine is not running; start it with 'run' first"
        at = self.seen.accounts.get(account)
        if at is None or (at.state == UNKNOWN and any(letter in account for letter in "*?[")):  # a pattern means others
            return f"The running engine does not know {account}; 'reload' has it read the config again"
        try:
            outcomes = await run_sync(self._send, Verb(do), account, abandon_on_cancel=True)
        except (EngineSilent, CommandRefused, StorageError) as exc:
            return str(exc)
        return "; ".join(outcome.said for outcome in outcomes)

    async def acknowledge(self, incident: int) -> str:
        """Do what ``incidents ack`` does."""
        try:
            found = await run_sync(acknowledge, self, incident, abandon_on_cancel=True)
        except (StorageError, OSError) as exc:
            return str(exc)
        return acknowledged(incident, found)

    def _send(self, verb: Verb, account: str) -> list[CommandOutcome]:
        if self.database is None:
            return send_to(self.directory, verb, account, timeout=COMMAND_TIMEOUT)
        from engine.app.account_commands import NoNodeRuns, command_at  # noqa: PLC0415 - for nodes alone

        try:
            return [each.outcome for each in command_at(self, verb, [account], timeout=COMMAND_TIMEOUT)]
        except NoNodeRuns:
            raise EngineSilent("no node runs") from None


def watch(source: FileSource, terminal: ScreenTerminal) -> None:
    """Show the screen until it is left; the last picture stays on the terminal."""
    screen = Screen(source, terminal)
    ended: list[int] = []

    async def end_at_signal(scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
            async for number in signals:
                ended.append(number)
                scope.cancel()

    async def show() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end_at_signal, tasks.cancel_scope)
            await screen.run()
            tasks.cancel_scope.cancel()

    with suppress(KeyboardInterrupt):
        anyio.run(show)
    if ended:  # with the terminal given back, the signal means what it means to any command
        signal.signal(ended[0], signal.SIG_DFL)
        os.kill(os.getpid(), ended[0])
    screen.print_last()
