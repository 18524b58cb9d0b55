"""The reload of an engine with workers: the parent reads the config once, and has each worker apply it.

All that can refuse is asked first, the workers about what they alone know: the code of their modules. Then the store
has the accounts, in one transaction, and from that moment on whatever process begins has the new config. Each worker
that lives applies it while its other accounts go on; one that does not answer is asked again until it has it. What was
added begins when no process is left that does not know it.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import structlog
from attrs import define, evolve, field

from adapters.sqlite.errors import StorageError
from adapters.system import ServiceManager
from engine.app.node import hosts_of, tell_older
from engine.app.node_stores import SharedStore
from engine.app.outward import preload
from engine.app.reload import BEYOND_GRACE, IMPORT_TIMEOUT, RENAMED
from engine.app.reloading import (
    STOPPING,
    ReloadRefused,
    check_same,
    check_sessions,
    counts_of,
    login_of,
    read_config,
    told_to_manager,
)
from engine.app.stop import Stop
from engine.app.worker import BEAT
from engine.app.worker_process import Worker
from engine.config import Config, ConfigError
from engine.config.difference import ConfigDifference, difference
from engine.config.difference_text import lines
from engine.console.safe_text import one_line
from engine.control.client import EngineSilent
from engine.control.protocol import RefusalReason, Request, Verb, refuse
from engine.control.relay import ask
from engine.fleet.watchers import describe, is_bug
from engine.wakeup import Wakeup
from states.nodes import OF_WORKERS

ASKED_SECONDS: Final = IMPORT_TIMEOUT + 10.0
"""For a worker to say whether it could apply a config: it imports the modules."""
RETRY_SECONDS: Final = 5.0
"""Between two times that a worker is asked which has not applied the config yet."""
END_SECONDS: Final = 1.0
"""For a process that does not answer to be seen to end."""
RENAMED_IN_FILE: Final = (
    "workers cannot give an account another name: change the names back; or stop the engine, start it once with "
    "node.workers: 1, which has jobs and history go with the name, and then with workers again"
)
BUSY: Final = "a reload is under way; try again when the log says that it is done"
NOBODY: Final = "no worker answers, so nothing was changed; try again in a moment, the log says what they do"
FOLLOWS: Final = (
    "it is asked again every 5 s, and has the new config when it answers, or when it ends and is started again"
)

engine_log = structlog.get_logger("holdfast.engine")
log = structlog.get_logger("holdfast.workers")


@define(eq=False)
class WorkersReload:
    """Reads the config again, and has the workers apply it; one reload after another."""

    config: Config
    store: SharedStore
    workers: Sequence[Worker]
    config_for: Callable[[Config, int], Config]
    """Returns the config of the worker with this number."""
    check: Callable[[Config], object]
    """Raises ``ConfigError`` for a config that workers cannot run."""
    use: Callable[[Config], None]
    """Has the parent itself go by another config."""
    stop: Stop
    manager: ServiceManager | None = None
    number: int = field(default=0, init=False)
    """Counts the reloads that were tried: each offers a config to the workers."""
    _added: bool = field(default=True, init=False)
    """Whether the accounts that were added may begin."""
    _late: dict[int, str] = field(factory=dict, init=False)
    """The workers that have not applied the config, and why."""
    _signalled: bool = field(default=False, init=False)
    _alone: anyio.Lock = field(factory=anyio.Lock, init=False)
    _wakeup: Wakeup = field(factory=Wakeup, init=False)

    @property
    def limit(self) -> float:
        """Seconds that a worker has to apply a config: accounts are closed in order."""
        return self.config.states.shutting_down.grace + BEYOND_GRACE

    def by_signal(self) -> None:
        """Reload; the log says what came of it."""
        engine_log.info("reload_signalled")
        self._signalled = True
        self._wakeup.notify()

    async def run(self) -> None:
        """Carry out the reloads that signals ask for, and what is left of each, until cancelled."""
        while True:
            upcoming = self._wakeup.upcoming
            if self._signalled:
                self._signalled = False
                async with self._alone:
                    with suppress(ReloadRefused):  # the log says why
                        await self._told(self._reload)
            with anyio.move_on_after(None if self._is_done else RETRY_SECONDS):
                await upcoming.wait()
            if not self._is_done:
                async with self._alone:
                    await self._go_on()

    @property
    def _is_done(self) -> bool:
        return self.stop.wanted.is_set() or (self._added and not any(each.is_behind for each in self.workers))

    async def answer(self, config: str, *, dry_run: bool) -> dict[str, Any]:
        """Return the answer to a command that asks for a reload of the config at this path."""
        try:
            check_same(Path(config), self.config)
            try:
                with anyio.fail_after(BEYOND_GRACE):
                    await self._alone.acquire()
            except TimeoutError:
                raise ReloadRefused(RefusalReason.BUSY, BUSY) from None
            try:
                if dry_run:
                    return self._answered((await self._plan())[1], applied=False)
                return self._answered(await self._told(self._reload), applied=True)
            finally:
                self._alone.release()
        except ReloadRefused as exc:
            return refuse(exc.reason, str(exc))

    async def _told(self, reload: Callable[[], Awaitable[ConfigDifference]]) -> ConfigDifference:
        """Reload, and have the log and the service manager know what came of it. Raises ``ReloadRefused``."""
        try:
            with told_to_manager(self.manager, self.stop):
                return await reload()
        except ReloadRefused as exc:
            engine_log.error("reload_refused", detail=exc.sentence)
            raise

    # --- what may refuse ---------------------------------------------------------------------------------------------

    async def _plan(self) -> tuple[Config, ConfigDifference]:
        """Read the config, and ask all that may refuse it. Raises ``ReloadRefused``."""
        if self.stop.wanted.is_set():
            raise ReloadRefused(RefusalReason.REFUSED, STOPPING)
        try:
            return await self._asked()
        except (OSError, MemoryError, RuntimeError) as exc:  # descriptors, memory, threads
            if is_bug(exc):
                raise
            raise ReloadRefused(RefusalReason.FAILED, f"nothing was changed: {describe(exc)}; try again") from None

    async def _asked(self) -> tuple[Config, ConfigDifference]:
        before, config = self.config, await read_config(self.config)
        found = await anyio.to_thread.run_sync(partial(difference, before, config, login_of=login_of))
        if found.refused:
            raise ReloadRefused(RefusalReason.REFUSED, *lines(found))
        if found.renamed:
            raise ReloadRefused(RefusalReason.REFUSED, RENAMED if self.store.records is None else RENAMED_IN_FILE)
        try:
            self.check(config)
        except ConfigError as exc:
            raise ReloadRefused(RefusalReason.BAD_CONFIG, *exc.sentences) from None
        if config.web is not None:
            await anyio.to_thread.run_sync(preload)
        if self.store.records is not None:  # sessions are files
            added = [account for account in config.accounts if account.name in found.added]
            await anyio.to_thread.run_sync(check_sessions, before, added)
        self.number += 1
        return config, evolve(found, code=await self._changed_code(config))

    async def _changed_code(self, config: Config) -> tuple[str, ...]:
        """Ask all workers whether they could apply a config; return the modules whose code is another now.

        One that does not answer is passed over: the others import the same modules. Raises ``ReloadRefused``.
        """
        answers: list[dict[str, Any]] = []

        async def ask_one(worker: Worker) -> None:
            mine = self.config_for(config, worker.number)
            answers.append(await self._ask(worker, mine, self.number, dry_run=True))

        async with anyio.create_task_group() as tasks:
            for worker in self.workers:
                tasks.start_soon(ask_one, worker)
        for answer in answers:
            if not answer["ok"] and answer["kind"] != RefusalReason.BUSY:
                raise ReloadRefused(RefusalReason(answer["kind"]), *str(answer["error"]).splitlines())
        could = [answer["difference"]["code"] for answer in answers if answer["ok"]]
        if not could:
            raise ReloadRefused(RefusalReason.BUSY, NOBODY)
        return tuple(dict.fromkeys(name for names in could for name in names))

    async def _ask(self, worker: Worker, config: Config, number: int, *, dry_run: bool) -> dict[str, Any]:
        """Return the answer of a worker that is to apply a config, or to try it; ``busy`` if it does not answer."""
        process = worker.process
        if process is None:
            return refuse(RefusalReason.BUSY, "it is being started")
        process.offer(number, config)
        request = Request(Verb.RELOAD, config=str(number), dry_run=dry_run)
        try:
            return await ask(worker.socket, request, timeout=ASKED_SECONDS if dry_run else self.limit)
        except EngineSilent as exc:
            return refuse(RefusalReason.BUSY, str(exc))

    # --- what is done ------------------------------------------------------------------------------------------------

    async def _reload(self) -> ConfigDifference:
        """Read the config again and have it applied; return what was different. Raises ``ReloadRefused``."""
        config, found = await self._plan()
        changed = hosts_of(config) != hosts_of(self.config)
        try:
            older = await self.store.apply_accounts(config, 0, {}, changed=changed)
        except StorageError as exc:
            raise ReloadRefused(RefusalReason.FAILED, f"nothing was changed: {exc}") from None
        self._use(config)
        mine = f"{config.node.known_as}{OF_WORKERS}"
        tell_older(older if older is None else [name for name in older if not name.startswith(mine)])
        await self._go_on()
        if found.is_empty:
            engine_log.info("config_unchanged", config=str(config.path))
        else:
            engine_log.info("config_reloaded", **counts_of(config, found))
        return found

    def _use(self, config: Config) -> None:
        """Go by another config: whatever process begins from now on has it."""
        self.config, self._added = config, False
        for worker in self.workers:
            worker.config, worker.reload = self.config_for(config, worker.number), self.number
        self.use(config)
        self._wakeup.notify()  # it looks for what is left

    async def _go_on(self) -> None:
        """Have the workers apply the config that have not yet, and let begin what was added when all know it."""
        async with anyio.create_task_group() as tasks:
            for worker in self.workers:
                if worker.is_behind:
                    tasks.start_soon(self._apply, worker)
        behind = {worker.number for worker in self.workers if worker.is_behind}
        self._late = {number: why for number, why in self._late.items() if number in behind}
        if behind:
            return
        try:
            if not self._added:
                await self.store.begin_added(self.config)
                self._added = True
        except StorageError as exc:
            engine_log.error("reload_waits", detail=str(exc))
            return
        for worker in self.workers:
            worker.order(BEAT)

    async def _apply(self, worker: Worker) -> None:
        process, number = worker.process, worker.reload
        answer = await self._ask(worker, worker.config, number, dry_run=False)
        if not answer["ok"]:
            with anyio.move_on_after(END_SECONDS):  # one that has just died
                await worker.has_ended(process)
        if worker.process is not process:
            return  # the next one begins with this config
        if answer["ok"]:
            worker.has = number
            if self._late.pop(worker.number, None) is not None:
                log.info("worker_reloaded", worker=worker.number)
            return
        if worker.number not in self._late:
            log.warning("worker_not_reloaded", worker=worker.number, detail=answer["error"])
        self._late[worker.number] = str(answer["error"])

    def _answered(self, found: ConfigDifference, *, applied: bool) -> dict[str, Any]:
        """Return the answer to a command, which speaks for all workers."""
        answer = {"ok": True, "applied": applied, "difference": found.as_json(), "lines": lines(found)}
        if applied:
            answer["workers"] = {
                "applied": [each.number for each in self.workers if not each.is_behind],
                "waiting": [{"worker": number, "why": why} for number, why in sorted(self._late.items())],
            }
            begin = "; the accounts that were added begin then" if found.added else ""
            answer["waiting"] = [
                one_line(f"worker {number} has not applied it ({why}): {FOLLOWS}{begin}")
                for number, why in sorted(self._late.items())
            ]
        return answer
