"""Commands from other hosts, with a store in memory; ``tests/postgres/test_account_commands.py`` has a real one."""

from collections.abc import Collection, Sequence

import anyio
import pytest
from attrs import define, field

from engine.control.inbox import CommandInbox, StoredCommand
from engine.control.protocol import CommandOutcome
from engine.fleet.watchers import keep_running

pytestmark = pytest.mark.virtual


@define(eq=False)
class Line:
    """One command, whose answer is noted; the second look meets a bug."""

    said: list[str] = field(factory=list)
    looks: int = 0

    async def connect(self) -> "Line":
        return self

    async def due(self) -> Sequence[StoredCommand]:
        self.looks += 1
        if self.looks == 2:
            raise RuntimeError("a bug")
        return [] if self.said else [StoredCommand(1, "A", "pause")]

    async def begin(self, numbers: Collection[int]) -> Collection[int]:
        return numbers

    async def answer(self, number: int, outcome: CommandOutcome) -> bool:
        self.said.append(outcome.said)
        return True

    async def notice(self) -> None:
        await anyio.sleep_forever()

    def close(self) -> None:
        """Nothing is open."""


@define(eq=False)
class SlowCommands:
    """Takes longer for a command than the inbox needs for its second look, and all the same ends it in time."""

    timeout: float = 30.0
    names: Sequence[str] = ("A",)

    async def pause(self, account: str) -> CommandOutcome:
        await anyio.sleep(5)
        return CommandOutcome(account, True, "A is paused")


async def test_a_command_that_an_error_has_cut_short_is_carried_out_again() -> None:
    """Whoever asked for it waits for the answer."""
    line, commands = Line(), SlowCommands()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_running, "commands", CommandInbox(line, commands).run)  # type: ignore[arg-type]
        await anyio.sleep(20)
        tasks.cancel_scope.cancel()
    assert line.said == ["A is paused"]
