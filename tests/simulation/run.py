"""``run``: one story in the simulated world, with the real engine, the real Telethon and the sandbox's real code.

It may be called once in a process, which ``prepare`` has made ready before anything of Holdfast was imported.
"""

import asyncio
import gc
import json
import logging
import os
import posix
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
from attrs import define, field
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

import engine.app.engine as engine_module
from adapters.sandbox import Sandbox
from adapters.session import writer as session_writer
from adapters.system import namespace_locks
from adapters.telegram import Datacenter
from engine.console import logs
from engine.fleet.credentials_watch import CredentialsWatch
from tests.simulation import datacenter, inspection, resources
from tests.simulation.commands import Commands
from tests.simulation.disk_troubles import DiskTroubles
from tests.simulation.entropy import VirtualClock
from tests.simulation.evidence import AccountPromise, CommandSeen, Ending, EngineLife, Promises, Standing, UpdateSeen
from tests.simulation.incidents import Incidents
from tests.simulation.ledger import Ledger, LogCapture
from tests.simulation.loop import NothingLeft
from tests.simulation.outcome import Outcome
from tests.simulation.process import WORLD, SimulatedProcess
from tests.simulation.program import GROUP, Program
from tests.simulation.story import Story
from tests.simulation.threads import Deadlock, Scheduler
from tests.simulation.world import World, install_connections, install_processes

T = TypeVar("T")
STOP_MARGIN = 60.0
"""Seconds that an engine may take to stop beyond its grace."""
KILL_AT_WRITE_SECONDS = 3600.0
PAUSE_AFTER_FAILURE = 30.0
"""Seconds that whatever supervises the program waits until it starts one again that ended by itself."""
FIRST_NUMBER = 9996620001


@define(eq=False)
class Run:
    """One run of a story."""

    story: Story
    world: World
    ledger: Ledger
    ports: dict[str, int] = field(factory=dict)
    phones: dict[str, str] = field(factory=dict)
    sandbox: Sandbox = field(init=False)
    program: Program = field(init=False)
    disk: DiskTroubles = field(init=False)
    commands: Commands = field(init=False)
    process: SimulatedProcess | None = None
    life: EngineLife | None = None
    pause: float = 1.0
    _task: "asyncio.Task[Any] | None" = None
    _stop: anyio.Event = field(factory=anyio.Event)
    _over: anyio.Event = field(factory=anyio.Event)
    """Set when the present life is over, however it ended."""
    _ending: bool = False
    _once_healthy: set[str] = field(factory=set)

    # --- the whole ---

    async def main(self) -> None:
        """Play the story."""
        ready = anyio.Event()
        self.world.start(self.world.datacenter, self._serve(ready))
        await ready.wait()
        self._write_files()
        async with anyio.create_task_group() as tasks:
            incidents = Incidents(self)
            for incident in self.story.incidents:
                tasks.start_soon(incidents.play, incident)
            for number, name in enumerate(self.ports, 1):
                tasks.start_soon(self._send_updates, number, name)
            tasks.start_soon(self._watch)
            async with anyio.create_task_group() as lives:
                lives.start_soon(self._live)
                await anyio.sleep(self.story.seconds - self.ledger.now)
                self.note_standings()
                resources.note_rest(self, last=True)
                self._ending = True
                self._stop.set()
            tasks.cancel_scope.cancel()
        inspection.close(self)

    async def _serve(self, ready: anyio.Event) -> None:
        async with Sandbox() as self.sandbox:
            for number in range(1, self.story.accounts + 1):
                name, phone = f"Account {number}", f"+{FIRST_NUMBER + number - 1}"
                self.ports[name], self.phones[name] = await self.sandbox.listen(phone), phone
                self.ledger.accounts_by_port[self.ports[name]] = name
                self.ledger.phones[phone.lstrip("+")] = name
                self.ledger.evidence.accounts.append(AccountPromise(name=name, phone=phone))
            await self.sandbox.create_channel(GROUP, "Group", megagroup=True, members=list(self.phones.values()))
            ready.set()
            await anyio.sleep_forever()

    def _write_files(self) -> None:
        directory, dc = self.world.directory, self.sandbox
        accounts = []
        for name, phone in self.phones.items():
            stem = name.lower().replace(" ", "")
            session = SQLiteSession(str(directory / f"{stem}.session"))
            session.set_dc(dc.dc_id, "127.0.0.1", self.ports[name])
            session.auth_key = AuthKey(dc.authorize(phone))
            session.save()
            session.close()
            accounts.append({"name": name, "session": stem, "phone": phone})
        (directory / "dc.pem").write_text(dc.public_key)
        config = {
            "telegram": {
                "api_id": 12345,
                "api_hash": "0123456789abcdef0123456789abcdef",
                "datacenter": {"id": dc.dc_id, "host": "127.0.0.1", "port": dc.port, "public_key": "dc.pem"},
            },
            "accounts": accounts,
            **self.story.config(),
        }
        path = directory / "config.yaml"
        path.write_text(json.dumps(config))
        datacenters = {
            name: Datacenter(dc.dc_id, "127.0.0.1", port, dc.public_key) for name, port in self.ports.items()
        }
        _sync(directory)
        self.disk = DiskTroubles(self.world)
        self.program = Program(self.story, self.ledger, path, datacenters)
        self.ledger.evidence.promises = promises_of(path)
        self.commands = Commands(self)

    # --- lives of the engine ---

    async def _live(self) -> None:
        """Start engines, one after the other, until the story is over."""
        resources.note_baseline(self)
        while not self._ending:
            life = self.life = self.ledger.begin_life()
            self.process = SimulatedProcess(f"engine {life.number}")
            self._stop, self._over = anyio.Event(), anyio.Event()
            self.pause = 1.0
            task = self._task = self.world.start(self.process, self.program.live(life, self._stop))
            over = self._over
            task.add_done_callback(lambda _, over=over: over.set(), context=WORLD.context)
            await self._until_over(life)
            if task.done() and life.ended is None:
                self._note_end(life, task)
                self._exit(self.process)
            inspection.look(self)
            if not self._ending:
                await anyio.sleep(self.pause)

    async def _until_over(self, life: EngineLife) -> None:
        """Wait for the end of a life; one that was told to stop and does not is killed, and condemned by its judge."""
        while not self._over.is_set():
            with anyio.move_on_after(60.0):
                await self._over.wait()
            if life.asked_to_stop is None and self._stop.is_set():
                life.asked_to_stop = self.ledger.now  # while it was starting
            asked = life.asked_to_stop
            if asked is not None and self.ledger.now > asked + self.grace + STOP_MARGIN:
                await self.kill(pause=1.0)
                life.ending, life.detail = Ending.FAILED, "it did not stop"

    @property
    def stopping(self) -> bool:
        """Whether the engine was told to stop, or is no more."""
        return self._stop.is_set() or self._over.is_set()

    @property
    def grace(self) -> float:
        """Seconds within which the engine promises to stop."""
        return float(self.ledger.evidence.promises.policy.shutting_down.grace)

    def _note_end(self, life: EngineLife, task: "asyncio.Task[Any]") -> None:
        life.ended = self.ledger.now
        error = task.exception() if not task.cancelled() else None
        if error is None and life.asked_to_stop is not None:
            life.ending = Ending.STOPPED
        else:
            life.ending, life.detail = Ending.FAILED, repr(error)
            self.pause = PAUSE_AFTER_FAILURE
            self.ledger.on_loop_error(None, {"message": "the engine ended by itself", "exception": error})
        self.ledger.counters[f"life.{life.ending}"] += 1

    def _exit(self, process: SimulatedProcess) -> None:
        """End the process of an engine that has ended, as Python does: write what is not written, then be gone."""
        process.context.copy().run(session_writer.shared.drain, session_writer.EXIT_TIMEOUT)
        if self.life is not None and self.life.ending is Ending.STOPPED:
            resources.note_end(self, process, self.life.number)
        self.program.engine = None
        self.disk.dies()
        self.world.kill(process)

    async def kill(self, *, pause: float, power: bool = False) -> None:
        """Kill the engine; it is started again after ``pause`` seconds."""
        life, process = self.life, self.process
        if life is None or process is None or life.ended is not None:
            return
        life.ended, life.ending = self.ledger.now, Ending.POWER_CUT if power else Ending.KILLED
        self.ledger.counters[f"life.{life.ending}"] += 1
        self.program.engine = None
        if power:
            self.commands.lose_power()
        self.disk.dies()
        self.world.kill(process, power=power)
        if power:
            life.detail = inspection.at_risk(self)
        self.pause = pause
        self._over.set()

    async def kill_at_write(self, number: int, *, pause: float) -> None:
        """Kill the engine at its n-th write to the disk from now on, or after an hour without so many."""
        life, process, stopped = self.life, self.process, anyio.Event()
        if life is None or process is None or life.ended is not None:
            return

        def stop() -> None:  # inside of SQLite, in any thread
            process.alive = False
            self.world.loop.call_soon_threadsafe(stopped.set, context=WORLD.context)

        self.world.disk.kill_at_write(number, stop)
        with anyio.move_on_after(KILL_AT_WRITE_SECONDS):
            while not stopped.is_set() and life.ended is None:
                with anyio.move_on_after(1.0):
                    await stopped.wait()
        if life.ended is None:
            await self.kill(pause=pause)
        if not stopped.is_set():
            self.world.disk.kill_at_write(0, stop)

    async def restart(self, *, pause: float) -> None:
        """Stop the engine in order; it is started again ``pause`` seconds later."""
        self.ledger.evidence.commands.append(CommandSeen(at=self.ledger.now, what="stop", answered=self.ledger.now))
        self._stop.set()
        self.pause = max(pause, 0.1)

    # --- what others do ---

    async def in_datacenter(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run something as code of the datacenter."""
        return await self.world.start(self.world.datacenter, work())  # type: ignore[no-any-return]

    async def _send_updates(self, number: int, name: str) -> None:
        for index, at in enumerate(self.story.arrivals(number), 1):
            await anyio.sleep(max(0.0, at - self.ledger.now))
            mark = f"update {number}.{index}"
            self._note_healthy()
            promised = name in self._once_healthy  # before that, nobody knows from where on it would have to hear
            update = UpdateSeen(at=self.ledger.now, account=name, mark=mark, promised=promised)
            self.ledger.evidence.updates.append(update)
            self.ledger.counters["updates"] += 1
            await self.in_datacenter(lambda mark=mark: self.sandbox.push(self.phones[name], mark))  # type: ignore[misc]
            update.position = inspection.datacenter_position(self, name)

    async def _watch(self) -> None:
        """Note where the accounts are, now and then."""
        while True:
            await anyio.sleep(30.0)
            self._note_healthy()
            self.note_standings()
            resources.note_rest(self)

    def _note_healthy(self) -> None:
        engine = self.program.engine
        if engine is not None:
            self._once_healthy.update(name for name, status in engine.status.items() if status.healthy)

    def note_standings(self) -> None:
        """Note where each account is, as the program sees it."""
        engine = self.program.engine
        if engine is None or self._stop.is_set():
            return
        for name, status in engine.status.items():
            last = status.last
            self.ledger.evidence.standings.append(
                Standing(
                    at=self.ledger.now,
                    account=name,
                    state=status.state,
                    cause="" if last is None or last.cause is None else last.cause.event,
                    action="" if last is None or last.action is None else last.action.value,
                    parked=last is not None and last.parked,
                )
            )


def _sync(directory: Path) -> None:
    """Let no power cut take what the operator had long before the story begins."""
    for path in (*directory.iterdir(), directory):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def promises_of(path: Path) -> Promises:
    """Return what a config promises."""
    from engine.config.load import load

    config = load(path)
    stagger = config.fleet.stagger
    return Promises(
        policy=config.states,
        connects_at_once=config.fleet.connects_at_once,
        stagger=0.0 if stagger == "auto" else float(stagger),
        work=config.work,
        job_tries=config.work.retry.tries,
        job_retry_floor=config.work.retry.delay(1, 0.0),
    )


def run(story: Story, clock: VirtualClock, threads: Scheduler) -> Outcome:
    """Run a story to its end; see the module."""
    directory = _make_directory()
    os.environ["HOLDFAST_LOGINS"] = str(_logins(directory))  # else two runs of one seed had the same logins in use
    world = World(directory, clock, threads, story.seed)
    ledger = Ledger(world)
    ledger.evidence.seed, ledger.evidence.seconds = story.seed, story.seconds
    install_processes()
    network = world.network
    world.disk.on_sync = ledger.synced
    network.on_attempt, network.on_open, network.on_end = ledger.attempt, ledger.opened, ledger.ended
    datacenter.install(network, ledger)
    _calm()
    logs.configure()
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(LogCapture(ledger))
    gc.disable()
    playing = Run(story, world, ledger)
    loop = world.loop
    loop.set_exception_handler(ledger.on_loop_error)
    asyncio.set_event_loop(loop)
    world.disk.install()
    install_connections()
    world.sockets.install()
    try:
        try:
            loop.run_until_complete(playing.main())
        except (NothingLeft, Deadlock) as exc:
            inspection.standstill(playing, str(exc))
        return inspection.outcome(playing)
    finally:
        _remove(directory)


CREDENTIALS_EVERY = 60.0
SLOWER = {
    "engine.work.dispatcher": {"TICK_SECONDS": 30.0},
    "engine.app.locks": {"LOOK_EVERY": 60.0},
    "engine.fleet.clock_watch": {"CHECK_EVERY": 20.0},
    "engine.control.server": {"CHECK_EVERY": 60.0},
    "adapters.sqlite.queue": {"_IDLE_SECONDS": 60.0},
}
"""What looks again and again without an occasion does so less often here: else a day would cost minutes."""


def _calm() -> None:
    """Let what only looks do so less often, and leave out the watch over code that blocks: code takes no time here."""
    for module, constants in SLOWER.items():
        for name, value in constants.items():
            assert hasattr(sys.modules[module], name)
            setattr(sys.modules[module], name, value)
    CredentialsWatch.__init__.__defaults__ = (CREDENTIALS_EVERY,)  # type: ignore[misc]  # of its field ``every``
    setattr(namespace_locks, "SystemRandom", _NumbersOfThisMachine)  # noqa: B010
    engine_module.watched = _not_watched  # type: ignore[attr-defined]


@asynccontextmanager
async def _not_watched(**_: Any) -> AsyncIterator[None]:
    yield


class _NumbersOfThisMachine:
    """Draws the number of a process's abstract socket, of which the real machine has one namespace for all runs.

    One that is drawn from the seed is taken where two runs of a seed go on at the same time; the second would draw
    again, and be another run from then on. No journal has this number.
    """

    def randrange(self, start: int, stop: int) -> int:
        """Return a number that no seed decides."""
        return start + int.from_bytes(posix.urandom(8), "big") % (stop - start)


def _make_directory() -> Path:
    """Make the directory of this run.

    Its name has always the same length, and is no random one: that would be drawn from the seed, and be another one, at
    another place of the seed's numbers, where a run that was killed has left its directory.
    """
    above = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
    directory = above / f"holdfast-simulation-{os.getpid():010}"
    _remove(directory)
    directory.mkdir(0o700)
    return directory


def _remove(directory: Path) -> None:
    """Remove a run's directory, and what its disk keeps beside it."""
    for each in (directory, directory.with_name(f".{directory.name}.frozen"), _logins(directory)):
        shutil.rmtree(each, ignore_errors=True)


def _logins(directory: Path) -> Path:
    """Return where the logins that are in use are noted, which is in memory on a real machine."""
    return directory.with_name(f"{directory.name}-logins")
