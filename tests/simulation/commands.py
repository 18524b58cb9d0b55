"""Commands of the story's operator: real clients, each a process of its own, that reach the engine over its socket.

A few of them die in their midst, in a call that is drawn: who has asked for something, and what became of it, is then
known to the engine alone.
"""

import random
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from attrs import define, field

from adapters.sqlite import StorageError
from adapters.sqlite.job_reader import JobReader
from adapters.sqlite.jobs import change
from adapters.system import holder_of
from engine import paths
from engine.config.load import load
from engine.control import CommandOutcome, CommandRefused, EngineSilent, Verb, send_command
from engine.control.client import EngineHangs, ask, ask_to_look
from engine.control.protocol import Request
from states.jobs import Cancelled, Retried
from tests.simulation.disk_troubles import DATABASE
from tests.simulation.evidence import CommandSeen
from tests.simulation.process import WORLD, SimulatedProcess
from tests.simulation.story import IncidentKind

if TYPE_CHECKING:
    from engine.config import Config
    from tests.simulation.run import Run

DYING: Final = 0.08
"""The probability that a client dies before it has its answer."""
NOT_RUNNING: Final = "the engine is not running"
CALLS: Final = ("connect", "send", "receive")
LOOK_SECONDS: Final = 5.0
"""How long ``status`` and ``jobs`` wait for the engine at most."""
RESUME_TRIES: Final = 3
RESUME_PAUSE: Final = 60.0
"""Seconds until an operator tries again to resume what could not be resumed."""


@define(eq=False)
class Commands:
    """Gives the commands of one run."""

    run: "Run"
    chance: random.Random = field(init=False)
    _config: "Config" = field(init=False)
    _clients: dict[SimulatedProcess, anyio.Event] = field(factory=dict, init=False)
    """Those that have not ended; each event is set at its end."""

    def __attrs_post_init__(self) -> None:
        self.chance = self.run.world.random("commands")
        self._config = load(self.run.program.config)
        self.run.world.sockets.on_death = self._end

    # --- for the story ---

    async def pause_and_resume(self, names: list[str], seconds: float) -> None:
        """Pause accounts, and resume them later; an operator who could not tries again a few times."""
        await self.give(Verb.PAUSE, names)
        await anyio.sleep(seconds)
        for _ in range(RESUME_TRIES):
            if await self.give(Verb.RESUME, names):
                return
            await anyio.sleep(RESUME_PAUSE)

    async def give(self, verb: Verb, names: list[str]) -> bool:
        """Give a command for an account, or for all by a pattern; return whether it was carried out for each."""
        now = self.run.ledger.now
        seen = {name: CommandSeen(at=now, what=verb.value, account=name, ok=False, unknown=True) for name in names}
        self.run.ledger.evidence.commands.extend(seen.values())
        pattern = names[0] if len(names) == 1 else "Account *"

        def work() -> None:
            try:
                if holder_of(self._config.storage.directory / paths.LOCK) is None:
                    for each in seen.values():
                        each.said, each.unknown = NOT_RUNNING, False
                    return
                outcomes = send_command(self._config, verb, pattern)
            except (EngineSilent, CommandRefused) as exc:
                self._note_failure(exc, *seen.values())
                return
            for outcome in outcomes:
                _note(seen[outcome.account], outcome)

        await self._run_client(work, *seen.values())
        return all(each.ok for each in seen.values())

    async def show_status(self) -> None:
        """Ask the engine for what ``status`` needs of it, and for what it says of itself."""
        self.run.note_standings()
        seen = CommandSeen(at=self.run.ledger.now, what="status", ok=False)
        self.run.ledger.evidence.commands.append(seen)
        directory = self._config.storage.directory

        def work() -> None:
            if holder_of(directory / paths.LOCK) is None:
                seen.said = NOT_RUNNING
                return
            try:
                ask_to_look(directory, timeout=LOOK_SECONDS)
                seen.ok = bool(ask(directory / paths.SOCKET, Request(Verb.INFO), timeout=LOOK_SECONDS)["ok"])
            except (EngineSilent, CommandRefused) as exc:
                self._note_failure(exc, seen)

        await self._run_client(work, seen)

    async def change_jobs(self, kind: IncidentKind) -> None:
        """Cancel the oldest job, or try the failed ones again, as ``jobs cancel`` and ``jobs retry`` do."""
        seen = CommandSeen(at=self.run.ledger.now, what=kind.value.partition(".")[2].replace("_", " "), ok=False)
        self.run.ledger.evidence.commands.append(seen)

        def work() -> None:
            self._have_engine_look(seen)
            try:
                self._change_jobs(retries=kind is IncidentKind.CONTROL_JOBS_RETRY)
                seen.ok = True
            except (StorageError, OSError, sqlite3.ProgrammingError) as exc:  # a kill has closed what is on the disk
                seen.said = f"the jobs cannot be changed ({type(exc).__name__})"
            self._have_engine_look(seen)

        await self._run_client(work, seen)

    def lose_power(self) -> None:
        """End all clients: they run on the engine's machine."""
        for process in list(self._clients):
            self._end(process)

    # --- in a client's thread ---

    def _note_failure(self, exc: EngineSilent | CommandRefused, *seen: CommandSeen) -> None:
        """Note why a command has no answer, or a refusal; without a connection it was certainly not carried out."""
        never = isinstance(exc, CommandRefused) or isinstance(exc.__cause__, FileNotFoundError | ConnectionRefusedError)
        for each in seen:
            each.said = str(exc).replace(f"{self._config.storage.directory}/", "")  # it differs from run to run
            each.unknown = not never
            each.unreached, each.hung = type(exc) is EngineSilent, isinstance(exc, EngineHangs)

    def _have_engine_look(self, seen: CommandSeen) -> None:
        directory = self._config.storage.directory
        if holder_of(directory / paths.LOCK) is not None:
            try:
                ask_to_look(directory, timeout=LOOK_SECONDS)
            except (EngineSilent, CommandRefused) as exc:
                self._note_failure(exc, seen)

    def _change_jobs(self, *, retries: bool) -> None:
        path = self.run.world.directory / DATABASE
        with JobReader.open(path) as reader:
            wanted = {"state": ["failed"] if retries else ["queued", "running"]}
            numbers = [job.id for job in reader.jobs(wanted)]
        outcomes = change(path, numbers if retries else numbers[:1], Retried() if retries else Cancelled())
        changed = [each[1].id for each in outcomes if isinstance(each, tuple) and each[0] != each[1]]
        for job in self.run.ledger.evidence.jobs:
            if job.number in changed and not retries:
                job.cancelled = self.run.ledger.now

    # --- processes ---

    async def _run_client(self, work: Callable[[], None], *seen: CommandSeen) -> None:
        """Run code that blocks in a process of its own, which may die."""
        run = self.run
        number = run.ledger.counters["commands"] = run.ledger.counters["commands"] + 1
        process = SimulatedProcess(f"command {number}")
        if self.chance.random() < DYING:
            run.world.sockets.deadly[process.name] = self.chance.choice(CALLS)
        over = self._clients[process] = anyio.Event()
        task = run.world.start(process, anyio.to_thread.run_sync(work))
        task.add_done_callback(lambda _: over.set(), context=WORLD.context)
        await over.wait()
        for each in seen:
            each.answered = run.ledger.now
            each.said = each.said if task.done() else "the command was killed"
        if task.done():
            del self._clients[process]
            task.result()

    def _end(self, process: SimulatedProcess) -> None:
        over = self._clients.pop(process, None)
        if over is not None:
            self.run.ledger.counters["commands_dead"] += 1
            self.run.world.end(process)
            over.set()


def _note(seen: CommandSeen, outcome: CommandOutcome) -> None:
    """Note what the engine says; a pause that it has not carried out in time may be done later."""
    seen.ok, seen.said, seen.unknown = outcome.done, outcome.said, not outcome.done and seen.what == Verb.PAUSE
