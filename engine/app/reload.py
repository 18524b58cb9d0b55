"""The reload: a running engine reads its config again, and applies what is different. A composition root.

All that can refuse is asked first: the config itself, what cannot change, the modules, the session files, the source of
the connectors. Until then nothing has changed, and a refusal leaves all as it was. What follows is carried out to its
end: accounts that leave, or that go on otherwise, are closed in order; their state is found for those that come; jobs,
handlers and schedules follow. An account that did not change keeps its connection.
"""

from collections import deque
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
import structlog
from attrs import define, evolve, field, frozen

from adapters.redaction import redacted
from adapters.sandbox import SandboxError
from adapters.sqlite import StorageError
from adapters.system import raise_limit
from adapters.telegram import TelegramConnector
from engine.app.fleet_parts import FleetParts
from engine.app.handlers import Handlers
from engine.app.job_registry import JobRegistry
from engine.app.offered_config import NOT_OFFERED
from engine.app.outward import preload
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
from engine.app.restored import Restoration
from engine.config import AccountConfig, Config
from engine.config.difference import LIVE, ConfigDifference, difference
from engine.config.difference_text import lines
from engine.control.protocol import RefusalReason, refuse
from engine.fleet.watchers import describe, is_bug
from engine.wakeup import Flag, Wakeup
from engine.work.daemon_call import DaemonCall
from engine.work.modules import BadModule, FreshImport, ModuleContents
from states import Snapshot

if TYPE_CHECKING:
    from engine.app.engine import Engine

BEYOND_GRACE: Final = 30.0
"""Seconds beyond the grace for which a command waits for its reload; it goes on after that, too."""
RETRY_SECONDS: Final = 5.0
"""How long the reload waits when the database cannot be used: the state of accounts that come is in it."""
IMPORT_TIMEOUT: Final = 30.0
"""Seconds that the modules have to be imported."""
STORAGE_TIMEOUT: Final = 15.0
"""Seconds that the engine's file has to take what waits, before an account is closed of which it has the state."""
JOBS_TIMEOUT: Final = 20.0
"""Seconds that the jobs of accounts that leave have to end."""
RENAMED: Final = (
    "with nodes another name is another account, without the login, jobs and history of the former one: change the "
    "names back. For the login under the new name, 'session take' it under the former one before, and 'session bring' "
    "that file after; for another login, give the account another 'session', too"
)
LEAVES: Final = "the config has this account no more, or has it otherwise"

log = structlog.get_logger("holdfast.engine")


@frozen(kw_only=True)
class ReloadPlan:
    """Another config, what is different in it, and what it takes to apply it."""

    config: Config
    found: ConfigDifference
    registry: JobRegistry
    coming: tuple[AccountConfig, ...]
    """Accounts that begin a life: those that are added, and those that reconnect."""
    leaving: tuple[str, ...]
    """Accounts that are closed, by the names that they have now."""


@define(eq=False)
class _ReloadRequest:
    """A reload that was asked for, and what came of it."""

    plan: ReloadPlan | None = field(default=None, init=False)
    refused: ReloadRefused | None = field(default=None, init=False)
    done: Flag = field(factory=Flag, init=False)


@define(eq=False)
class Reloader:
    """Applies another config to a running engine, one reload after another."""

    engine: "Engine"
    parts: FleetParts
    restoration: Restoration
    handlers: Handlers
    _alone: anyio.Lock = field(factory=anyio.Lock, init=False)
    """Held by the one that reads the config and imports modules."""
    _requests: deque[_ReloadRequest] = field(factory=deque, init=False)
    _wakeup: Wakeup = field(factory=Wakeup, init=False)

    def soon(self) -> _ReloadRequest:
        """Ask for a reload; the log says what came of it."""
        if self._requests:  # one that has not begun yet reads the config later than now
            return self._requests[-1]
        request = _ReloadRequest()
        self._requests.append(request)
        self._wakeup.notify()
        return request

    async def run(self) -> None:
        """Carry out reloads until cancelled."""
        while True:
            upcoming = self._wakeup.upcoming
            while self._requests:
                request = self._requests.popleft()
                try:
                    with told_to_manager(self.engine.manager, self.engine.stop):
                        request.plan = await self._reload()
                except ReloadRefused as exc:
                    request.refused = exc
                    log.error("reload_refused", detail=exc.sentence)
                except Exception:
                    request.refused = ReloadRefused(RefusalReason.FAILED, "the reload failed; see the log")
                    raise
                except BaseException:  # cancelled: the engine has ended
                    request.refused = ReloadRefused(RefusalReason.REFUSED, STOPPING)
                    raise
                finally:
                    request.done.set()
            await upcoming.wait()

    async def answer(self, config: str, *, dry_run: bool) -> dict[str, Any]:
        """Return the answer to a command that asks for a reload of the config at this path."""
        offers = self.engine.offers
        try:
            if offers is None:
                check_same(Path(config), self.engine.config)
            elif not await offers.has(config):
                raise ReloadRefused(RefusalReason.BUSY, NOT_OFFERED)
            if self.engine.fleet.stopping:
                raise ReloadRefused(RefusalReason.REFUSED, STOPPING)
            if dry_run:
                plan: ReloadPlan | None = await self._tried()
            else:
                request = self.soon()
                with anyio.move_on_after(self.engine.fleet.grace + BEYOND_GRACE):
                    await request.done.wait()
                if request.refused is not None:
                    raise request.refused
                plan = request.plan
        except ReloadRefused as exc:
            return refuse(exc.reason, str(exc))
        if plan is None:
            return refuse(RefusalReason.FAILED, "the reload is still under way; see the log for its end")
        return {"ok": True, "applied": not dry_run, "difference": plan.found.as_json(), "lines": lines(plan.found)}

    # --- what may refuse ---------------------------------------------------------------------------------------------

    async def _tried(self) -> ReloadPlan:
        """Return what a reload would do now. Raises ``ReloadRefused``."""
        with anyio.move_on_after(IMPORT_TIMEOUT + BEYOND_GRACE):
            async with self._alone:
                return await self._plan(trial=True)
        raise ReloadRefused(RefusalReason.BUSY, "a reload is under way; try again when the log says that it is done")

    async def _plan(self, *, trial: bool = False) -> ReloadPlan:
        """Read the config, and ask all that may refuse it; a ``trial`` is not applied. Raises ``ReloadRefused``."""
        try:
            return await self._asked(trial=trial)
        except (OSError, MemoryError, RuntimeError) as exc:  # descriptors, memory, threads
            if is_bug(exc):
                raise
            raise ReloadRefused(RefusalReason.FAILED, f"nothing was changed: {describe(exc)}; try again") from None

    async def _asked(self, *, trial: bool) -> ReloadPlan:
        before, jobs = self.engine.config, self.engine.jobs
        node = self.engine.node
        config = await read_config(before) if self.engine.offers is None else self.engine.offers.last()
        code = await anyio.to_thread.run_sync(jobs.registry.modules.changed)
        compare = partial(difference, login_of=login_of, code=code, live=LIVE | self.engine.appliers.keys())
        found = await anyio.to_thread.run_sync(partial(compare, before, config))
        if found.refused:
            raise ReloadRefused(RefusalReason.REFUSED, *lines(found))
        if node is not None and found.renamed:
            raise ReloadRefused(RefusalReason.REFUSED, RENAMED)
        if config.web is not None:
            await anyio.to_thread.run_sync(preload)
        if found.concerns("work") or code:
            registry = await self._import(config, anew=bool(code), trial=trial)
        else:
            registry = evolve(jobs.registry, config=config)
        if config.web is not None and before.web is None:
            await anyio.to_thread.run_sync(preload)
        leaving = (*found.removed, *(each.former or each.name for each in found.changed if each.reconnects))
        if node is not None:  # accounts come with claims, and those that are removed go as they come
            leaving = found.reconnecting
        there = self.engine.fleet.runners.keys() - leaving
        plan = ReloadPlan(
            config=config,
            found=found,
            registry=registry,
            coming=tuple(account for account in config.accounts if account.name not in there) if node is None else (),
            leaving=tuple(name for name in leaving if name in self.engine.fleet.runners),
        )
        await anyio.to_thread.run_sync(check_sessions, before, plan.coming)
        return plan

    async def _import(self, config: Config, *, anew: bool, trial: bool) -> JobRegistry:
        """Return the registry of another config. Raises ``ReloadRefused``, also if an import does not end in time."""
        jobs, folder = self.engine.jobs, config.path.absolute().parent
        importing = FreshImport(jobs.registry.modules if anew else ModuleContents(), folder, trial=trial)
        call = DaemonCall(partial(jobs.read_again, config, importing))
        try:
            return await call.within(IMPORT_TIMEOUT)
        except BadModule as exc:
            raise ReloadRefused(RefusalReason.BAD_CONFIG, redacted(str(exc))) from None
        except TimeoutError:
            where = call.place(folder.resolve())
            importing.give_up()
            text = f"work.modules: an import{f' ({where})' if where else ''} does not end within {IMPORT_TIMEOUT:g} s"
            hint = "take out of the module what it waits for, and try again"
            raise ReloadRefused(RefusalReason.BAD_CONFIG, f"{text}; {hint}") from None

    async def _check_storage(self) -> None:
        """Raise ``ReloadRefused`` if the engine's file cannot be written now: it has the state of accounts."""
        with anyio.move_on_after(STORAGE_TIMEOUT), suppress(StorageError):
            await self.parts.journal.prove_writable(self.engine.config.states)
            return
        trouble = self.parts.journal.pulse.trouble
        why = trouble.detail if trouble is not None else "it is slow"
        sentence = f"the state of accounts cannot be stored now ({why}); nothing was changed, try again when it can"
        raise ReloadRefused(RefusalReason.FAILED, sentence)

    # --- what is done ------------------------------------------------------------------------------------------------

    async def _reload(self) -> ReloadPlan:
        """Read the config again and apply it; return what was applied. Raises ``ReloadRefused``."""
        async with self._alone:
            plan = await self._plan()
        if plan.coming or plan.leaving:
            await self._check_storage()
        if self.engine.fleet.stopping:
            raise ReloadRefused(RefusalReason.REFUSED, STOPPING)
        if plan.found.is_empty and not plan.coming:
            await self._apply_to_nodes(plan.config)
            self.engine.use_config(plan.config)
            self._tell("config_unchanged", config=str(plan.config.path))
            return plan
        try:
            connectors = await self.engine.source.add(plan.config, plan.coming)
        except SandboxError as exc:
            raise ReloadRefused(RefusalReason.FAILED, str(exc)) from None
        _raise_limit(plan)
        await self._apply_to_nodes(plan.config)
        await self._close(plan.leaving)
        await self._apply(plan, connectors)
        if self.engine.node is not None:
            self.engine.node.use(plan.config, plan.leaving)
        self._tell("config_reloaded", **counts_of(plan.config, plan.found))
        return plan

    def _tell(self, event: str, **fields: Any) -> None:
        """Say what was done; of a worker its parent says it."""
        (log.info if self.engine.offers is None else log.debug)(event, **fields)

    async def _apply_to_nodes(self, config: Config) -> None:
        """Have all nodes know the accounts of another config. Raises ``ReloadRefused``; nothing was done then."""
        if self.engine.node is not None:
            try:
                await self.engine.node.apply(config)
            except StorageError as exc:
                raise ReloadRefused(RefusalReason.FAILED, f"nothing was changed: {exc}") from None

    async def _close(self, names: Collection[str]) -> None:
        """Close accounts in order, side by side, and have them no more."""
        await close_accounts(self.engine, self.parts, names, LEAVES)
        self.parts.forget(names)

    async def _apply(self, plan: ReloadPlan, connectors: Mapping[str, TelegramConnector]) -> None:
        config, found = plan.config, plan.found
        self.engine.use_config(config)
        self.handlers.config = config
        self.parts.connectors.update(connectors)
        known = await self._restore(plan) if plan.coming else {}
        renamed = {each.former: each.name for each in found.renamed if each.former is not None}
        try:
            self.parts.use(config)
            self.parts.usernames.rename(renamed)
            await self.engine.incidents.use(config, renamed)
            await self.engine.remote.use(renamed)
            self.engine.jobs.use(config, plan.registry)
            all_anew = bool(found.code) or found.concerns("work.modules")
            self.handlers.attach(self.parts.connectors if all_anew else connectors)
            for section, apply in self.engine.appliers.items():
                if found.concerns(section):
                    apply(config)
            if found.concerns("telegram.api_id") or found.concerns("telegram.api_hash"):
                self.parts.refused.lift()
        finally:  # whatever goes wrong with the rest, no account stays away
            for account in plan.coming:
                self.parts.add(account.name, known.get(account.name))

    async def _restore(self, plan: ReloadPlan) -> dict[str, Snapshot]:
        """Find where the accounts that come go on; a database that cannot be used is waited for."""
        names = [account.name for account in plan.coming]
        renamed = {each.name: each.former for each in plan.found.renamed if each.former is not None}
        told = False
        while True:
            try:
                await self.parts.journal.flush()
                return await self.restoration.restore(names, renamed)
            except StorageError as exc:
                if not told:
                    log.error("reload_waits", detail=str(exc))
                told = True
            await anyio.sleep(RETRY_SECONDS)


async def close_accounts(engine: "Engine", parts: FleetParts, names: Collection[str], reason: str) -> None:
    """Close accounts in order, side by side, and take their jobs away; the fleet has them no more."""

    async def remove(name: str) -> None:
        life = engine.fleet.runners[name].snapshot.life
        if not await engine.fleet.remove(name, reason):
            log.error("account_not_closed", account=name, grace=engine.fleet.grace)
        with suppress(StorageError):  # the writer is over, and says so itself
            await parts.journal.end_life(name, life)  # what is stored is where it was, and no more where it is

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(remove, name)
    with anyio.move_on_after(JOBS_TIMEOUT):
        await engine.jobs.idle(names)


def _raise_limit(plan: ReloadPlan) -> None:
    """Raise the limit of open files as at the start, and say if it is too low."""
    accounts = len(plan.config.accounts)
    if plan.found.added and not (limit := raise_limit(accounts)).enough:
        few = {"needed": limit.needed, "limit": limit.soft, "command": limit.remedy}
        log.warning("descriptors_few", accounts=accounts, **few)
