"""Programs of the socket for commands: the real server and its real client, as processes that die and are waited for.

They are run as those of ``thread_programs`` are, under any number of seeds.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import anyio
from attrs import define, field

from engine.control import CommandOutcome, ControlServer, EngineSilent, Verb
from engine.control.client import EngineHangs, ask
from engine.control.protocol import Request
from tests.simulation.loop import SimulatedLoop, run_in
from tests.simulation.network import Network
from tests.simulation.process import WORLD, SimulatedProcess
from tests.simulation.thread_support import directory
from tests.simulation.threads import scheduler_now
from tests.simulation.unix_sockets import UnixSockets
from tests.simulation.world import install_processes

PATIENCE: Final = 30.0
START_SECONDS: Final = 10.0
"""More than it takes, whatever delays its threads."""
SLOW_SECONDS: Final = 20.0
"""How long a pause takes here."""


_with_processes = cache(install_processes)
"""Once is enough for all seeds."""


def _nothing() -> None:
    pass


@define(eq=False)
class SlowCommands:
    """An engine with one account, which takes its time to pause it."""

    timeout: float = 60.0
    names: Sequence[str] = ("a",)
    unwritten: None = None
    jobs_changed: Callable[[], None] = _nothing
    held: list[str] = field(factory=list)
    holds: int = 0

    def info(self) -> dict[str, Any]:
        """Describe nothing."""
        return {}

    async def look(self) -> None:
        """Do nothing."""

    async def pause(self, account: str) -> CommandOutcome:
        """Take long."""
        await anyio.sleep(SLOW_SECONDS)
        return CommandOutcome(account, True, "paused")

    async def hold(self, account: str) -> CommandOutcome:
        """Note who is held."""
        self.held.append(account)
        self.holds += 1
        return CommandOutcome(account, True, "held")

    async def release(self, account: str) -> None:
        """Note who is held no more."""
        self.held.remove(account)

    resume = retry = pause


@define(eq=False)
class Machine:
    """Engines and commands on one machine."""

    path: Path
    loop: SimulatedLoop = field(init=False)
    sockets: UnixSockets = field(init=False)
    commands: SlowCommands = field(factory=SlowCommands)
    _number: int = 0

    def __attrs_post_init__(self) -> None:
        _with_processes()
        self.loop = SimulatedLoop(Network(random.Random(0)), scheduler_now())
        self.sockets = UnixSockets(self.loop)
        self.sockets.install()
        self.sockets.on_death = self.kill

    def process(self) -> SimulatedProcess:
        """Return a new process."""
        self._number += 1
        return SimulatedProcess(f"process {self._number} of {id(self)}")

    async def start_engine(self) -> SimulatedProcess:
        """Start an engine that has nothing but its socket; return when it listens."""
        process = self.process()
        run_in(process, self.loop, ControlServer(self.path, self.commands).run(), process.name)
        await anyio.sleep(START_SECONDS)
        return process

    def kill(self, process: SimulatedProcess) -> None:
        """End a process."""
        process.alive = False
        self.loop.forget(process)
        scheduler_now().kill(process.name)
        self.sockets.process_died(process)

    async def ask(self, verb: Verb, dies: str = "", patience: float = PATIENCE) -> str:
        """Ask as a command does; return what it was told. One that ``dies`` in a call is told nothing."""
        process, over = self.process(), anyio.Event()
        if dies:
            self.sockets.deadly[process.name] = dies

        def work() -> str:
            try:
                answer = ask(self.path, Request(verb, "" if verb is Verb.INFO else "a"), timeout=patience)
            except EngineHangs:
                return "hangs"
            except EngineSilent as exc:
                return str(exc).rpartition("(")[2].rstrip(")")
            return "ok" if answer["ok"] else str(answer["kind"])

        task = run_in(process, self.loop, anyio.to_thread.run_sync(work), process.name)
        task.add_done_callback(lambda _: over.set(), context=WORLD.context)
        with anyio.move_on_after(2 * PATIENCE):
            await over.wait()
        return str(task.result()) if task.done() else ""


def _on_machine(main: Callable[[Machine], Awaitable[object]]) -> object:
    with directory() as place:
        machine = Machine(place / "engine.sock")
        asyncio.set_event_loop(machine.loop)
        return machine.loop.run_until_complete(main(machine))


def unheard() -> object:
    """What a command is told where no engine is: without a file, and with one that a dead engine has left."""

    async def main(machine: Machine) -> object:
        missing = await machine.ask(Verb.INFO)
        engine = await machine.start_engine()
        there = await machine.ask(Verb.INFO)
        machine.kill(engine)
        left = await machine.ask(Verb.INFO)
        await machine.start_engine()
        return [missing, there, left, await machine.ask(Verb.INFO)]

    return _on_machine(main)


def cut_off() -> object:
    """What a command is told whose engine is killed while it waits for the answer, and before it was accepted."""

    async def main(machine: Machine) -> object:
        engine, told = await machine.start_engine(), []
        task = asyncio.ensure_future(machine.ask(Verb.PAUSE))
        await anyio.sleep(SLOW_SECONDS / 2)
        machine.kill(engine)
        told.append(await task)
        deaf = machine.process()
        listener = machine.sockets.make(deaf)
        machine.path.unlink()
        listener.bind(str(machine.path))
        listener.listen()
        told.append(await machine.ask(Verb.INFO, patience=5))
        task = asyncio.ensure_future(machine.ask(Verb.INFO))
        await anyio.sleep(5)
        machine.kill(deaf)
        return [*told, await task]

    return _on_machine(main)


def dead_clients() -> object:
    """What is left in an engine of clients that died: before they asked, in half a line, before the answer."""

    async def main(machine: Machine) -> object:
        engine = await machine.start_engine()
        for call in ("connect", "send", "receive"):
            assert await machine.ask(Verb.HOLD, dies=call) == ""
        await anyio.sleep(1)
        return [
            machine.commands.holds,
            machine.commands.held,
            len(machine.sockets.of(engine)),
            await machine.ask(Verb.INFO),
        ]

    return _on_machine(main)


def crowded() -> object:
    """What seventeen commands at the same time are told."""

    async def main(machine: Machine) -> object:
        await machine.start_engine()
        return sorted(await asyncio.gather(*(machine.ask(Verb.PAUSE) for _ in range(17))))

    return _on_machine(main)


PROGRAMS: Final[dict[str, Callable[[], object]]] = {
    each.__name__: each for each in (unheard, cut_off, dead_clients, crowded)
}
