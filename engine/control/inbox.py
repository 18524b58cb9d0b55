"""Commands to accounts that come from other hosts, through the store that the nodes share.

``pause``, ``resume`` and ``retry`` are rows there. Whoever owns the account carries them out, by the same handlers as
those of the socket, and writes the answer beside them. A notice of the store wakes the inbox; it is only a hint, for
what lies between may lose it, so the inbox looks every two seconds besides. An account that has left meanwhile is the
next owner's: its command is left for that.
"""

from collections.abc import Collection, Sequence
from typing import Final, Protocol

import anyio
import structlog
from anyio.abc import TaskGroup
from attrs import define, field, frozen

from engine.control.protocol import CommandOutcome, Verb
from engine.control.server import Commands, perform
from engine.wakeup import Wakeup

LOOK_EVERY: Final = 2.0
"""Seconds between two looks that no notice asks for."""
RETRY_SECONDS: Final = 2.0
"""Between two attempts to reach the store."""
AT_ONCE: Final = 64
"""How many commands are carried out at the same time; the others wait in the store, for as long as they may."""

log = structlog.get_logger("holdfast.control")


class StoreAway(Exception):
    """The store does not answer; the line to it is not to be used any more."""


@frozen
class StoredCommand:
    """A command in the store."""

    number: int
    account: str
    verb: str


class CommandLine(Protocol):
    """One connection to the store, for one task at a time. Every call may raise ``StoreAway``."""

    async def due(self) -> Sequence[StoredCommand]:
        """Return the commands to accounts of this node's life that nobody has answered, oldest first, at most 100."""

    async def begin(self, numbers: Collection[int]) -> Collection[int]:
        """Note that this life carries these commands out; return those that still wait for it."""

    async def answer(self, number: int, outcome: CommandOutcome) -> bool:
        """Write an answer, on condition that the account is this life's still; return whether somebody will read it."""

    async def notice(self) -> None:
        """Return when the store hints that there may be commands."""

    def close(self) -> None:
        """Close the connection; never raises."""


class CommandStore(Protocol):
    """Where commands from other hosts are."""

    async def connect(self) -> CommandLine:
        """Return a new connection; has a deadline of its own. Raises ``StoreAway``."""


@define(eq=False)
class CommandInbox:
    """Carries out the commands to the accounts that this node has; ``run`` it beside the fleet."""

    store: CommandStore
    commands: Commands
    _running: set[int] = field(factory=set, init=False)
    _answers: dict[int, CommandOutcome | None] = field(factory=dict, init=False)
    """What came of commands, and is to be written; None leaves the command to the account's next owner."""
    _finished: Wakeup = field(factory=Wakeup, init=False)

    async def run(self) -> None:
        """Carry commands out until cancelled."""
        line: CommandLine | None = None
        self._running = set(self._answers)  # what else ran before an error was cancelled with it, and is done again
        try:
            async with anyio.create_task_group() as tasks:
                while True:
                    finished = self._finished.upcoming
                    try:
                        line = line or await self.store.connect()
                        await self._turn(line, tasks)
                        await self._wait(line, finished)
                    except StoreAway:  # the lease is on the same store, and its holder tells
                        if line is not None:
                            line.close()
                        line = None
                        await anyio.sleep(RETRY_SECONDS)
        finally:
            if line is not None:
                line.close()

    async def _turn(self, line: CommandLine, tasks: TaskGroup) -> None:
        """Write what came of commands, and begin others. Raises ``StoreAway``."""
        for number, outcome in list(self._answers.items()):
            if outcome is not None:
                await line.answer(number, outcome)
            del self._answers[number]
            self._running.discard(number)
        names = set(self.commands.names)  # one that is claimed and not begun yet waits for that
        due = [each for each in await line.due() if each.number not in self._running and each.account in names]
        due = due[: AT_ONCE - len(self._running)]
        if not due:
            return
        begun = await line.begin([each.number for each in due])
        for each in due:
            if each.number in begun:
                self._running.add(each.number)
                tasks.start_soon(self._carry_out, each, name=f"command from elsewhere: {each.account}")

    async def _carry_out(self, command: StoredCommand) -> None:
        account = command.account
        outcome = CommandOutcome(account, False, f"{account}: nothing came of it in time; see its status")
        try:
            with anyio.move_on_after(self.commands.timeout):
                outcome = await perform(self.commands, Verb(command.verb), account)
        except ValueError:
            outcome = CommandOutcome(account, False, f"{account}: its node has another version, which cannot do that")
        except Exception:  # a bug in one command must not end the others
            log.exception("command_failed")
            outcome = CommandOutcome(account, False, f"{account}: an error in the engine itself; see its node's log")
        self._answers[command.number] = outcome if account in self.commands.names else None
        self._finished.notify()

    async def _wait(self, line: CommandLine, finished: anyio.Event) -> None:
        """Wait for a notice, for the end of a command, or until it is time to look. Raises ``StoreAway``."""
        away: StoreAway | None = None

        async def hear() -> None:
            nonlocal away
            try:
                await line.notice()
            except StoreAway as exc:
                away = exc
            waiting.cancel_scope.cancel()

        with anyio.move_on_after(LOOK_EVERY):
            async with anyio.create_task_group() as waiting:
                waiting.start_soon(hear)
                await finished.wait()
                waiting.cancel_scope.cancel()
        if away is not None:
            raise away
