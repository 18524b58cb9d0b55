"""``run`` with several workers: the parent of the processes that share this machine's accounts. A composition root.

The parent has no accounts. Each worker is a node of its own, whose lease holds unchanged; the parent sees its end, and
ends its life in the store at once, so that nobody waits for the lease. That is safe because the process is gone by
then, and every connection with it.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import anyio
import anyio.to_thread
import structlog
from attrs import define, field
from rich.console import Console

from adapters.archive.marker import check_mark
from adapters.sqlite import StorageError
from adapters.sqlite.header_watch import HeaderWatch
from adapters.system import EngineLock, LockHeld, ServiceManager, raise_limit, usable_cores
from engine import paths
from engine.app.file_store import SharedFileStore
from engine.app.live_config import LiveConfig
from engine.app.node import LIFE, LifeNote, read_life, refuse_what_nodes_lack
from engine.app.node_stores import SharedStore
from engine.app.node_work import store_of
from engine.app.process import watch_signals
from engine.app.run import log_settings, opened_log, show_link, warn
from engine.app.stop import Stop, has_terminal
from engine.app.worker import BEAT, END_MARGIN, STOP, config_of
from engine.app.worker_process import Worker, WorkerProcess, describe_end
from engine.app.workers_control import LOOK_SECONDS, WorkersControl
from engine.app.workers_outward import WorkersOutward
from engine.app.workers_reload import WorkersReload
from engine.app.workers_screen import screen_of_workers
from engine.app.workers_search import GuiltySearch
from engine.config import Config, ConfigError, LogFormat
from engine.config.node import MAX_WORKERS
from engine.console import logs
from engine.console.shell import program_words
from engine.control import ControlServer, Request, Verb
from engine.fleet.watchers import keep_running
from engine.node.ports import NodeStore, StoreSilent
from engine.screen.terminal import ScreenTerminal

EXIT_BAD_INPUT = 2
"""The exit code of a worker that no other start could help, if no other one runs."""
STOP_MARGIN = 5.0
"""Seconds beyond a worker's own limit that the parent waits for it to stop."""
RETRY_SECONDS = 1.0
REMAIN_SECONDS = 60.0
"""How long a start waits for workers of an earlier one, whose parent has died."""
LOCK_LOOK_SECONDS = 0.2
FILE_SECONDS = 2.0
"""Between two looks whether the file was overwritten."""
OVER = "its process has ended, as its parent saw"

log = structlog.get_logger("holdfast.workers")
engine_log = structlog.get_logger("holdfast.engine")


def count_workers(config: Config) -> int:
    """Return how many workers a config means on this machine; 1 is an engine without a parent."""
    workers = config.node.workers
    count = min(usable_cores(), MAX_WORKERS) if workers == "auto" else workers
    return min(count, config.node.accounts_at_most or count, len(config.accounts))


@define(eq=False)
class WorkerParent:
    """Starts workers, and starts them again; ``run`` returns the exit code when all have ended."""

    reload: WorkersReload
    store: NodeStore
    stop: Stop
    workers: tuple[Worker, ...]
    search: GuiltySearch
    manager: ServiceManager | None = None
    """The service manager that hears of all workers."""
    identity: str = ""
    """That of the engine that all workers are."""
    code: int = field(default=0, init=False)
    control: WorkersControl = field(init=False)
    """Carries out the commands of people."""
    _live: LiveConfig = field(init=False)

    def __attrs_post_init__(self) -> None:
        names = [each.name for each in self.config.accounts]
        self.control = WorkersControl(names, self.sockets, self.grace, self.reload.answer, self.identity)
        self._live = LiveConfig(lambda: self.config)

    @property
    def config(self) -> Config:
        """The config as it was read last."""
        return self.reload.config

    def use(self, config: Config) -> None:
        """Speak for the accounts of another config, and to whom it says."""
        self.control.accounts, self.control.grace = [each.name for each in config.accounts], self.grace
        self._live.changed()

    async def run(self, duration: float | None) -> int:
        """Keep the workers running until a stop is wanted, and then until they have stopped."""
        control = self.control
        outward = WorkersOutward(self._live, control, self.stop, self.manager, self.began)
        server = ControlServer(self.config.storage.directory / paths.SOCKET, control, control.answer)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.stop.after, duration)
            tasks.start_soon(self._stop_all)
            tasks.start_soon(keep_running, "the search for an account that ends workers", self.search.run)
            tasks.start_soon(keep_running, "the socket for commands", server.run)
            tasks.start_soon(keep_running, "the reload", self.reload.run)
            if self.config.storage.database is None:
                tasks.start_soon(keep_running, "the watch over the file", self._watch_file)
            for name, watcher in outward.watchers():
                tasks.start_soon(keep_running, name, watcher)
            async with anyio.create_task_group() as kept:
                for worker in self.workers:
                    kept.start_soon(self._keep, worker, name=f"worker {worker.number}")
            tasks.cancel_scope.cancel()
        return self.code

    @property
    def grace(self) -> float:
        """Seconds that an account has to disconnect."""
        return self.config.states.shutting_down.grace

    def sockets(self) -> dict[int, Path]:
        """Return where the workers that live take commands."""
        return {worker.number: worker.socket for worker in self.workers if worker.process is not None}

    def began(self) -> dict[int, float]:
        """Return when the processes that live began, by the loop's clock."""
        return {worker.number: worker.began for worker in self.workers if worker.process is not None}

    def kill(self) -> None:
        """End all processes at once."""
        for worker in self.workers:
            if worker.process is not None:
                worker.process.kill()

    async def _watch_file(self) -> None:
        """Say so if the file that the workers share is overwritten in its place: only a person can mend that."""
        path = self.config.storage.directory / paths.DATABASE
        watch = HeaderWatch(path)
        try:
            while True:
                if await anyio.to_thread.run_sync(watch.look):
                    log.error("database_overwritten", path=str(path))
                await anyio.sleep(FILE_SECONDS)
        finally:
            watch.close()

    async def _stop_all(self) -> None:
        """Order all workers to stop, once that is wanted, and kill those that do not in time."""
        await self.stop.wanted.wait()
        for worker in self.workers:
            worker.order(STOP)
        await anyio.sleep(self.grace + END_MARGIN + STOP_MARGIN)
        for worker in self.workers:
            if worker.process is not None:
                log.error("worker_stuck", worker=worker.number, pid=worker.process.pid)
                worker.process.kill()

    async def _keep(self, worker: Worker) -> None:
        """Run the processes of one worker, one after another."""
        while not self.stop.wanted.is_set():
            began = anyio.current_time()
            note = await anyio.to_thread.run_sync(LifeNote.open, worker.directory / LIFE)
            try:
                process = WorkerProcess.start(worker.config, worker.number)
            except OSError as exc:
                delay = worker.restarts.delay(0.0)
                log.error("worker_not_started", worker=worker.number, detail=str(exc), delay=delay)
            else:
                code = await self._run(worker, process)
                lived = anyio.current_time() - began
                delay = await self._ended(worker, process, code, lived)
                await self._free_accounts(worker, await anyio.to_thread.run_sync(note.read), lived)
            finally:
                note.close()
            with anyio.move_on_after(delay):
                await self.stop.wanted.wait()

    async def _run(self, worker: Worker, process: WorkerProcess) -> int:
        """Run a process to its end."""
        log.info("worker_started", worker=worker.number, pid=process.pid)
        try:
            worker.begin(process, program_words())
            return await process.follow()
        finally:
            worker.end()
            process.kill()  # a parent that is cancelled leaves none behind
            process.close()

    async def _ended(self, worker: Worker, process: WorkerProcess, code: int, lived: float) -> float:
        """Say how a process has ended; return the seconds until the next one.

        A config, or a module, that cannot be used ends the engine, unless others run with it: then it is a module that
        somebody is just changing.
        """
        if self.stop.wanted.is_set():
            if code:
                self._tell_end(worker, process, code, None)
                self.code = self.code or 1
            return 0.0
        if code == EXIT_BAD_INPUT and not await self.control.ask_all(Request(Verb.INFO), LOOK_SECONDS):
            self._tell_end(worker, process, code, None)
            engine_log.error("engine_failed", detail=process.last_said)
            self.code = EXIT_BAD_INPUT
            self.stop.now()
            return 0.0
        delay = worker.restarts.delay(lived)
        self._tell_end(worker, process, code, delay)
        return delay

    def _tell_end(self, worker: Worker, process: WorkerProcess, code: int, delay: float | None) -> None:
        given = {"detail": describe_end(code), "code": code, "delay": delay}
        log.error("worker_ended", worker=worker.number, pid=process.pid, **given)

    async def _free_accounts(self, worker: Worker, life: int, lived: float) -> None:
        """End the life of a worker whose process is gone, and have the others look for its accounts.

        What must not go to the others is withheld before it is free.
        """
        began, told = anyio.current_time(), False

        async def before(owned: Collection[str]) -> None:
            nonlocal told
            if not told and not self.stop.wanted.is_set():
                told = True
                await self.search.died(lived, owned)

        try:
            if not await end_life(self.store, life, self.config.node.lease, before):
                return  # it has ended it itself
        except StoreSilent as exc:
            log.warning("worker_accounts_wait", worker=worker.number, detail=str(exc))
            return
        took = anyio.current_time() - began
        log.info("worker_accounts_free", worker=worker.number, life=life, took=took)
        for other in self.workers:
            other.order(BEAT)


async def end_life(
    store: NodeStore, life: int, limit: float, before: Callable[[Collection[str]], Awaitable[None]] | None = None
) -> bool:
    """End a life whose process is gone, and return whether it was not over.

    ``before`` is called with its accounts, which are free afterwards. Raises ``StoreSilent`` after ``limit`` seconds.
    """
    if not life:
        return False
    until = anyio.current_time() + limit
    while True:
        try:
            with anyio.move_on_after(max(until - anyio.current_time(), RETRY_SECONDS)):
                line = await store.connect()
                try:
                    if before is not None:
                        await before(await line.owned(life))
                    return await line.end(life, OVER)
                finally:
                    line.close()
            raise StoreSilent("the store does not answer")
        except StoreSilent:
            if anyio.current_time() >= until:
                raise
        await anyio.sleep(RETRY_SECONDS)


# --- the start -------------------------------------------------------------------------------------------------------


async def run_workers(
    config: Config, count: int, *, duration: float | None, console: Console, log_format: LogFormat | None = None
) -> int:
    """Run workers until a signal comes or ``duration`` seconds have passed; return the exit code.

    Raises ``LockHeld`` if another engine runs on the same data, ``OSError`` if its directory cannot be used, and
    ``ConfigError`` for a config that one process alone can run.
    """
    store = shared_store(config)
    descriptors = raise_limit(len(config.accounts))
    stop = Stop()
    identity = uuid4().hex
    workers = tuple(Worker(number, config_of(config, number, count, identity)) for number in range(1, count + 1))
    search = GuiltySearch(store.holds(config.node))
    manager = ServiceManager.from_environment()
    recent = logs.RecentLines() if ScreenTerminal.of(console) is not None else None
    screen = None
    with ExitStack() as files:
        files.enter_context(_lock(config, identity))
        change_log = files.enter_context(opened_log(config, log_format, recent))

        def use(new: Config) -> None:
            change_log(**log_settings(new, log_format))
            parent.use(new)

        config_for = partial(config_of, count=count, engine=identity)
        reload = WorkersReload(config, store, workers, config_for, shared_store, use, stop, manager)
        parent = WorkerParent(reload, store.nodes(config.node, {}), stop, workers, search, manager, identity)
        engine_log.info("engine_starting", accounts=len(config.accounts), config=str(config.path))
        warn(config, descriptors)
        if config.web is not None and console.is_terminal:
            await show_link(config, console)
        code, refused = 0, None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_signals, stop, None if has_terminal() else reload.by_signal, parent.kill)
            if recent is not None:
                screen = screen_of_workers(lambda: parent.config, parent.control, recent, console)
                tasks.start_soon(keep_running, "the screen", screen.run)
            try:
                with stop.startup():
                    await end_former_workers(config, parent.store)
                    await store.take_over(config)
                    log.info("workers_starting", count=count)
            except StorageError as exc:
                engine_log.error("engine_failed", detail=str(exc))
                code = 1
            except LockHeld as exc:  # in a group of exceptions nobody would know it
                refused = exc
            else:
                code = await parent.run(duration)
            tasks.cancel_scope.cancel()
        if refused is not None:
            raise refused
        engine_log.info("engine_stopped")
    if screen is not None:
        screen.print_last()
    return code


def shared_store(config: Config) -> SharedStore:
    """Return the database of a config, or else the file in its directory, which needs no server."""
    store = store_of(config)
    refuse_what_nodes_lack(config)
    if store is None and config.remote.programs:
        sentence = (
            "remote.programs: other programs cannot use the accounts of workers that share a file; leave node.workers "
            "out, or give storage.database"
        )
        raise ConfigError(config.path, [sentence])
    return store or SharedFileStore(config.storage.directory)


@contextmanager
def _lock(config: Config, identity: str) -> Iterator[None]:
    """Hold the lock of the engine for the block. Raises ``LockHeld``, and ``OSError``."""
    directory = config.storage.directory
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with EngineLock(directory / paths.LOCK).held(time.time(), identity):
        check_mark(directory)
        (directory / paths.WORKERS).mkdir(mode=0o700, exist_ok=True)
        yield


async def end_former_workers(config: Config, store: NodeStore) -> None:
    """Wait for workers whose parent has died, which end by themselves, and end their lives in the store.

    Raises ``LockHeld`` for one that goes on.
    """
    for directory in sorted((config.storage.directory / paths.WORKERS).iterdir()):
        if not directory.name.isdecimal():
            continue
        await _wait_for_end(directory)
        life = await anyio.to_thread.run_sync(read_life, directory / LIFE)
        with suppress(StoreSilent):  # what follows says why, or the lease ends it
            await end_life(store, life, 0.0)


async def _wait_for_end(directory: Path) -> None:
    """Return when nobody has the lock of a worker's directory. Raises ``LockHeld``."""
    until, told = anyio.current_time() + REMAIN_SECONDS, False
    while True:
        try:
            with EngineLock(directory / paths.LOCK).held(time.time()):
                return
        except LockHeld:
            if anyio.current_time() >= until:
                raise
        if not told:
            log.warning("workers_remain", worker=int(directory.name))
            told = True
        await anyio.sleep(LOCK_LOOK_SECONDS)
