"""``run``: the composition root of a running engine. Here, and only here, the concrete parts are named."""

import math
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import structlog
from attrs import define, field
from rich.console import Console

from adapters.sandbox import Clear, Fault, FaultKind, Push, SandboxDied, SandboxError, SandboxProcess
from adapters.sandbox import Step as SandboxStep
from adapters.sandbox.chaos import chaos
from adapters.sqlite import Journal, StorageError
from adapters.system import EngineLock, SteadyClock, SystemClock
from adapters.telegram import Connector, Datacenter, Failover, Proxy, log_in_test_account
from engine import layout, logs, screen, status
from engine.clockwatch import watch_clocks
from engine.config import Chaos, Config, Do, SandboxSection, ScenarioStep
from engine.config import Datacenter as DatacenterConfig
from engine.config import Proxy as ProxyConfig
from engine.config import Sandbox as SandboxConfig
from engine.fleet import Turnstile
from engine.narrate import narrate, seconds
from engine.network import Network
from engine.oversight import Oversight
from engine.retention import retain
from engine.runner import Runner
from engine.supervisor import Supervisor
from states import Policy, Snapshot, Step
from states.events import Failure

FLUSH_PATIENCE = 10.0
"""Seconds that the last records get to reach the disk."""

Alongside = Callable[[], Coroutine[Any, Any, None]]

log = structlog.get_logger()


@define(eq=False)
class Stop:
    """The wish to stop: from a signal, from ``--for``, or from the program."""

    wanted: anyio.Event = field(factory=anyio.Event, init=False)
    startup: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)

    def now(self) -> None:
        """Stop; what is still starting is given up."""
        self.wanted.set()
        self.startup.cancel()


async def _watch_signals(stop: Stop) -> None:
    """Turn the first SIGINT or SIGTERM into an orderly stop, and leave at the second."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            if stop.wanted.is_set():
                print(f"Received signal {number:d} again. Leaving at once", file=sys.stderr, flush=True)
                os._exit(128 + number)
            log.info(f"Received signal {number:d}. Initiating graceful shutdown")
            stop.now()


async def _stop_after(duration: float | None, stop: Stop) -> None:
    if duration is None:
        return
    await anyio.sleep(duration)
    if not stop.wanted.is_set():
        log.info(f"Ran for {seconds(duration)}, as asked. Initiating graceful shutdown")
        stop.now()


def _storage_trouble(failure: Failure | None, waiting: int) -> None:
    if failure is None:
        log.info("The journal is written again", icon="💾")
    else:
        log.error(f"The journal waits with {waiting} rows, and nothing is lost: {failure.detail}", icon="💾")


def _ping_patience(policy: Policy) -> int:
    """Return after how many seconds without a ping the data centre may drop a link: later than we would ourselves."""
    return max(75, math.ceil(policy.healthy.probe_every + sum(policy.timeout.patience) + 15))


def _connectors(config: Config, datacenters: Mapping[str, Datacenter | None]) -> dict[str, Connector]:
    return {
        account.name: Connector(
            session=account.session,
            api_id=config.telegram.api_id,
            api_hash=config.telegram.api_hash,
            datacenter=datacenters[account.name],
            failover=Failover(tuple(map(_proxy, account.proxy))),
            disconnect_delay=_ping_patience(config.states),
        )
        for account in config.accounts
    }


def _proxy(config: ProxyConfig | None) -> Proxy | None:
    if config is None:
        return None
    user, password, secret = config.user, config.password, config.secret
    return Proxy(config.scheme.value, config.host, config.port, user=user, password=password, secret=secret)


# --- the sandbox -----------------------------------------------------------------------------------------------------


def _sandbox_step(step: ScenarioStep, phones: Mapping[str, str | None]) -> SandboxStep:
    phone = phones[step.account] if step.account else None
    match step.do:
        case Do.CLEAR:
            return SandboxStep(step.at, Clear(phone))
        case Do.MESSAGE:
            return SandboxStep(step.at, Push(phone or "", step.text or "Hello"))
        case _:
            options = {
                name: getattr(step, name) for name in ("duration", "times", "request", "code", "text", "seconds")
            }
            return SandboxStep(step.at, Fault(FaultKind(step.do.value), phone, **options))


def _sandbox_scenario(section: SandboxSection, phones: Mapping[str, str | None]) -> Sequence[SandboxStep]:
    if isinstance(section.scenario, Chaos):
        seed = secrets.randbelow(2**32) if section.seed is None else section.seed
        log.info(
            f"The sandbox hurts everybody at random for {seconds(section.duration)}; its seed is {seed}", icon="🔍"
        )
        return chaos(seed, [phone for phone in phones.values() if phone], section.duration)
    steps = []
    for index, step in enumerate(section.scenario):
        try:
            steps.append(_sandbox_step(step, phones))
        except SandboxError as exc:
            raise SandboxError(f"sandbox.scenario[{index}]: {exc}") from exc
    return steps


async def _in_sandbox(config: Config, sandbox: SandboxProcess) -> dict[str, Connector]:
    """Give each account a port of its own in the sandbox, and log in the test numbers that have no session yet."""
    datacenters: dict[str, Datacenter | None] = {}
    for account in config.accounts:
        port = await sandbox.listen(account.phone) if account.phone else sandbox.port
        datacenters[account.name] = Datacenter(sandbox.dc_id, "127.0.0.1", port, sandbox.public_key)
    Datacenter(sandbox.dc_id, "127.0.0.1", sandbox.port, sandbox.public_key).trust()
    connectors = _connectors(config, datacenters)
    for account in config.accounts:
        if account.phone and not account.session.exists():
            try:
                await log_in_test_account(connectors[account.name], account.phone)
            except Exception as exc:  # one account that cannot log in does not keep the others from running
                log.error(f"{account.name} cannot log in at the sandbox: {exc or type(exc).__name__}", icon="🔑")
            else:
                log.info(f"Logged in {account.name} at the sandbox, as a test number", icon="🔑")
    return connectors


async def _play(sandbox: SandboxProcess, steps: Sequence[SandboxStep]) -> None:
    """Play the scenario, and say so if the sandbox does not live to its end."""
    try:
        await sandbox.scenario(steps)
    except (SandboxDied, SandboxError) as exc:
        log.error(f"The scenario is not played: {exc}", icon="❌")
    code = await sandbox.wait()
    sentence = f"The sandbox data centre ended by itself (exit code {code}); restart the engine to have it again"
    log.error(sentence, icon="❌")


@asynccontextmanager
async def _data_centre(config: Config) -> AsyncIterator[tuple[dict[str, Connector], Alongside]]:
    """Yield the connectors of all accounts, and what the data centre does alongside a running fleet."""
    match config.telegram.datacenter:
        case SandboxConfig():
            log.info("Starting the sandbox data centre; the first time it makes its keys", icon="🔍")
            async with SandboxProcess.start(config.storage.directory / layout.SANDBOX) as sandbox:
                log.info(f"The sandbox data centre listens on 127.0.0.1:{sandbox.port}", icon="🔍")
                connectors = await _in_sandbox(config, sandbox)
                phones = {account.name: account.phone for account in config.accounts}
                steps = _sandbox_scenario(config.sandbox, phones)
                yield connectors, partial(_play, sandbox, steps)
        case DatacenterConfig(id=number, host=host, port=port, public_key=key):
            datacenter = Datacenter(number, host, port, key)
            datacenter.trust()
            yield _connectors(config, {account.name: datacenter for account in config.accounts}), _nothing
        case None:
            yield _connectors(config, {account.name: None for account in config.accounts}), _nothing


async def _nothing() -> None:
    pass


# --- the engine ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _journal(config: Config) -> AsyncIterator[Journal]:
    journal = await Journal.open(config.storage.directory / layout.DATABASE, on_trouble=_storage_trouble)
    try:
        yield journal
    finally:
        with anyio.CancelScope(shield=True):
            if lost := await journal.aclose(FLUSH_PATIENCE):
                log.error(f"{lost} rows of the journal could not be saved in time", icon="💾")


def _runners(
    config: Config,
    fleet: Supervisor,
    connectors: Mapping[str, Connector],
    journal: Journal,
    known: Mapping[str, Snapshot],
) -> dict[str, Runner]:
    turns = Turnstile(config.fleet.connects_at_once, config.fleet.stagger)
    network = Network(turns, fleet.tell)

    def observe(account: str, step: Step) -> None:
        narrate(account, step)
        network.observe(account, step)

    return {
        account.name: Runner(
            account=account.name,
            connector=connectors[account.name],
            turns=turns,
            journal=journal,
            clock=SystemClock(),
            policy=config.states,
            observer=observe,
            restored=known.get(account.name),
        )
        for account in config.accounts
    }


async def run(config: Config, *, duration: float | None, console: Console) -> int:
    """Run the engine until a signal comes or the fleet ran for ``duration`` seconds; return the exit code.

    Raises ``LockHeld`` if another engine runs on the same data, and ``OSError`` if its directory cannot be used.
    """
    info = status.EngineInfo(running=True, pid=os.getpid(), since=time.time())
    stop = Stop()
    fleet = Supervisor({}, stop.wanted, config.states.shutting_down.grace)
    with ExitStack() as files:
        config.storage.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.enter_context(EngineLock(config.storage.directory / layout.LOCK).held(info.since or 0.0))
        recent = logs.RecentLines() if console.is_terminal else None
        files.enter_context(logs.opened(config.storage.directory / layout.LOGS, recent=recent))
        log.info(f"Starting {len(config.accounts)} accounts from {config.path}", icon="🔍")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_watch_signals, stop)
            if recent is not None:
                tasks.start_soon(screen.show, console, lambda: info, lambda: fleet.snapshots, recent)
            try:
                await _serve(config, fleet, stop, duration)
                code = 0
            except (SandboxDied, SandboxError, StorageError) as exc:
                log.error(str(exc), icon="❌")
                code = 1
            tasks.cancel_scope.cancel()
    if fleet.at_stop:
        console.print(status.block(fleet.at_stop), markup=False, highlight=False)
    return code


async def _serve(config: Config, fleet: Supervisor, stop: Stop, duration: float | None) -> None:
    """Bring the parts up, run the fleet, and take the parts down in the opposite order."""
    async with AsyncExitStack() as parts:
        with stop.startup:
            journal = await parts.enter_async_context(_journal(config))
            known = await journal.snapshots()
            connectors, alongside = await parts.enter_async_context(_data_centre(config))
            fleet.runners.update(_runners(config, fleet, connectors, journal, known))
        if not fleet.runners:
            log.info("Stopped before any account was started", icon="✅")
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_after, duration, stop)
            tasks.start_soon(alongside)
            sessions = {account.name: account.session for account in config.accounts}
            tasks.start_soon(Oversight(fleet, config.storage.directory, sessions).run)
            tasks.start_soon(watch_clocks, SystemClock(), SteadyClock(), fleet.tell_all)
            if (keep := config.storage.keep) is not None:
                tasks.start_soon(partial(retain, journal, keep, SystemClock(), unusable=StorageError))
            if not await fleet.run():
                log.error("Not every account could be closed within the grace; its connection was dropped", icon="❌")
            tasks.cancel_scope.cancel()
    log.info("Stopped", icon="✅")
