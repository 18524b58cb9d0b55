"""What the screen costs with many accounts, beside the table that ``rich.live`` draws: CPU of the thread with the loop.

    uv run python -m tests.bench.screen_cost [--accounts 1000] [--seconds 5]

Both draw the same fleet on a pseudo-terminal of 120 columns and 40 lines, whose other end a thread reads, one after the
other in one run: while nothing changes, while ten accounts change in each second, and while all do. What the changes
themselves cost is measured without either, and subtracted. The table is what terminals still get that take only text.
"""

import argparse
import os
import pty
import sys
import termios
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import anyio
from attrs import define, evolve, field
from rich.color import ColorSystem
from rich.console import Console

from engine.console import live
from engine.console.account_status import AccountStatus
from engine.console.ranking import Ranking
from engine.console.status import EngineInfo
from engine.screen.model import Do
from engine.screen.screen import Screen
from engine.screen.source import JournalUnreadable
from engine.screen.terminal import ScreenTerminal, Styles
from states import Cause, Entry, Snapshot, State
from states.incident import Incident
from states.jobs import JobSummary

SHARE: Final = 0.02
"""Of a core, which the screen may take."""
CHANGES: Final = {"nothing changes": 0, "10 accounts change each second": 10, "all change each second": 1_000}
STEP: Final = 0.05
"""Seconds between two of the times at which accounts change."""


@define(eq=False)
class Fleet:
    """A source of many accounts that are nowhere: one in four is in trouble."""

    count: int
    accounts: dict[str, AccountStatus] = field(factory=dict)
    info: EngineInfo = field(factory=lambda: EngineInfo(running=True, pid=os.getpid(), since=time.time()))
    jobs: JobSummary = field(factory=JobSummary)
    incidents: Sequence[Incident] = ()
    lines: list[tuple[int, str]] = field(factory=list)
    quits: bool = True
    ranking: Ranking = field(init=False)
    _next: int = 0

    def __attrs_post_init__(self) -> None:
        now = time.time()
        cause = Cause(event="NetworkLost", detail="connection refused")
        for number in range(self.count):
            at = Snapshot(state=State.HEALTHY, since=now - number, last_success=now, link=1)
            if number % 4 == 0:
                at = Snapshot(
                    state=State.BACKOFF, since=now - number, deadline=now + 60, attempt=2, failures=2, cause=cause
                )
            self.accounts[f"Account {number:04}"] = AccountStatus(at)
        self.ranking = Ranking(list(self.accounts), self.accounts.__getitem__)
        for name in self.accounts:
            self.ranking.update(name)

    def change(self, count: int) -> None:
        """Let the next accounts fall or come back."""
        names = list(self.accounts)
        for _ in range(count):
            name = names[self._next % len(names)]
            self._next += 1
            at = self.accounts[name].last or Snapshot()
            state = State.BACKOFF if at.state is State.HEALTHY else State.HEALTHY
            self.accounts[name] = AccountStatus(evolve(at, state=state, since=time.time()))
            self.ranking.update(name)

    def knows(self, account: str) -> bool:
        """Return whether there is such an account."""
        return account in self.accounts

    def trouble_since(self, account: str, at: AccountStatus) -> float | None:
        """Return since when an account is in trouble."""
        return None if at.healthy or at.last is None else at.last.since

    def tell(self, level: int, line: str) -> None:
        """Keep a line."""
        self.lines.append((level, line))

    async def follow(self) -> None:
        """Do nothing: the changes come of themselves."""
        await anyio.sleep_forever()

    async def entries(self, account: str) -> Sequence[Entry]:
        """Return nothing."""
        return ()

    async def explain(self, seq: int) -> Any:
        """Return nothing."""
        raise JournalUnreadable("nothing is stored")

    async def perform(self, do: Do, account: str) -> str:
        """Do nothing."""
        return f"{account}: {do}"

    async def acknowledge(self, incident: int) -> str:
        """Do nothing."""
        return f"incident {incident} is acknowledged"


async def on_screen(fleet: Fleet, descriptor: int) -> None:
    """Show a fleet on the screen, with an account chosen in the midst of the list."""
    screen = Screen(fleet, ScreenTerminal(descriptor, None, Styles(ColorSystem.STANDARD)))
    screen.model = evolve(screen.model, selected="Account 0100")
    await screen.run()


async def in_table(fleet: Fleet, descriptor: int) -> None:
    """Show a fleet in the table."""
    with os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as file:
        console = Console(file=file, force_terminal=True, color_system="standard", width=120, height=40)
        await live.show(console, lambda: fleet.info, fleet.ranking, lambda: fleet.jobs)


async def on_nothing(fleet: Fleet, descriptor: int) -> None:
    """Show it nowhere."""
    await anyio.sleep_forever()


Show = Callable[[Fleet, int], Coroutine[Any, Any, None]]


async def cost(show: Show, accounts: int, rate: int, seconds: float, descriptor: int) -> float:
    """Return the share of a core that a way to show the accounts takes, while so many change in each second."""
    fleet = Fleet(accounts)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(show, fleet, descriptor)
        await anyio.sleep(0.6)  # the first picture, and what it imports
        began, used, changed = time.perf_counter(), time.thread_time(), 0
        while (elapsed := time.perf_counter() - began) < seconds:
            wanted = int(elapsed * rate)
            fleet.change(wanted - changed)
            changed = wanted
            await anyio.sleep(STEP)
        share = (time.thread_time() - used) / elapsed
        tasks.cancel_scope.cancel()
    return share


def _drain(descriptor: int) -> None:
    with suppress(OSError):
        while os.read(descriptor, 65_536):
            pass


def measured(accounts: int, seconds: float, changes: Iterable[int]) -> list[tuple[float, float]]:
    """Return the shares of a core that screen and table take, for each number of changes in a second."""
    there, line = pty.openpty()
    termios.tcsetwinsize(line, (40, 120))
    threading.Thread(target=_drain, args=(there,), daemon=True).start()
    found = []
    for rate in changes:
        nothing, screen, table = (
            anyio.run(partial(cost, show, accounts, rate, seconds, line)) for show in (on_nothing, on_screen, in_table)
        )
        found.append((max(screen - nothing, 0.0), max(table - nothing, 0.0)))
    return found


def main() -> None:
    """Print the table; exit with 1 if the screen takes more than its share."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.screen_cost", description=__doc__)
    parser.add_argument("--accounts", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    found = measured(given.accounts, given.seconds, CHANGES.values())
    print(f"Share of a core, with {given.accounts:,} accounts:\n")
    print("| while | screen | table of rich.live | ratio |\n| --- | ---: | ---: | ---: |")
    for what, (screen, table) in zip(CHANGES, found, strict=True):
        print(f"| {what} | {screen:.2%} | {table:.2%} | {table / screen if screen else float('inf'):.1f} |")
    worst = max(screen for screen, _ in found)
    print(f"\nThe screen takes {worst:.2%} at most; the target is {SHARE:.0%}.")
    sys.exit(0 if worst < SHARE else 1)


if __name__ == "__main__":
    main()
