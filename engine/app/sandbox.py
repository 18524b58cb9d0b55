"""The demo: starts a sandbox datacenter for an engine, fills it, adds jobs, plays the scenario, and audits the result.

A composition root, and the only module of ``engine/app`` that uses the sandbox: ``telegram.source_of`` chooses it for a
config with ``datacenter: sandbox``.
"""

import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog
from attrs import define, field

from adapters.files import read_file, replace_with
from adapters.sandbox import Clear, Fault, Push, SandboxDied, SandboxError, SandboxProcess, TimedAction
from adapters.sandbox.control.chaos import chaos
from adapters.sandbox.program import command_line
from adapters.sqlite import StorageError
from adapters.sqlite.jobs import NewJob
from adapters.telegram import Datacenter, TelegramConnector, log_in_test_account
from engine import paths
from engine.app.audit import Audit, GroupRecord, audit
from engine.app.job_registry import JobRegistry
from engine.app.jobs import JobService
from engine.app.telegram import connector_of
from engine.config import AccountConfig, Chaos, Config, SandboxSection, ScenarioStep, StepCommand
from engine.config.load import line_of
from engine.work.kinds import BadJob

if TYPE_CHECKING:
    from engine.app.engine import Engine

AUDIT_TIMEOUT = 10.0
"""Seconds that the audit at the end of a run may take."""

log = structlog.get_logger("holdfast.sandbox")


@define(eq=False)
class SandboxDemo:
    """A source of connectors to a sandbox, which it starts and stops with the engine."""

    config: Config
    audit: Audit | None = field(default=None, init=False)
    """How the groups of the sandbox compare with the jobs; None before the end."""
    _sandbox: SandboxProcess | None = field(default=None, init=False)
    _played: bool = field(default=False, init=False)
    _steps: Sequence[TimedAction] = field(factory=tuple, init=False)

    def check(self, registry: JobRegistry) -> None:
        """Raise ``BadJob`` for a job of the section ``sandbox`` that cannot be added."""
        for index, each in enumerate(self.config.sandbox.jobs):
            try:
                registry.check(each.kind, each.data, each.account)
            except BadJob as exc:
                line = line_of(self.config.path, ("sandbox", "jobs", index))
                place = f"{self.config.path.name}:{line}" if line else self.config.path.name
                raise BadJob(f"{place}: sandbox.jobs[{index}]: {exc}") from None

    @asynccontextmanager
    async def opened(self, engine: "Engine") -> AsyncIterator[Mapping[str, TelegramConnector]]:
        """Start the sandbox, fill it, add jobs, and yield the connectors; audit it at the end of a complete run."""
        log.info("sandbox_starting")
        async with SandboxProcess.start(self.config.storage.directory / paths.SANDBOX) as sandbox:
            log.info("sandbox_listening", port=sandbox.port)
            control = command_line("127.0.0.1", sandbox.control_port, sandbox.token_file)
            log.info("sandbox_control", port=sandbox.control_port, command=control)
            await _fill(self.config, sandbox)
            connectors = await _log_in(self.config, sandbox, self.config.accounts)
            await self._add_jobs(engine.jobs)
            self._sandbox = sandbox
            # Here and not in ``run``: a scenario that cannot be played ends the start.
            phones = {account.name: account.phone for account in self.config.accounts}
            self._steps = _scenario(self.config.sandbox, phones)
            with _announced(self.config, sandbox):
                yield connectors
                if self._played and self.config.sandbox.groups:
                    await self._audit(engine, sandbox)

    async def add(self, config: Config, accounts: Sequence[AccountConfig]) -> Mapping[str, TelegramConnector]:
        """Give accounts that come later a port each, log them in, and make them members of the groups.

        Raises ``SandboxError``.
        """
        assert self._sandbox is not None, "opened comes first"
        await _fill(config, self._sandbox)
        return await _log_in(config, self._sandbox, accounts)

    async def run(self) -> None:
        """Play the scenario; log an error if the sandbox ends before the engine."""
        assert self._sandbox is not None, "opened comes first"
        if not self._played:  # a second run after a failure begins no second scenario
            self._played = True
            await _play(self._sandbox, self._steps)
        code = await self._sandbox.wait()
        log.error("sandbox_ended", exit_code=code)

    async def _add_jobs(self, jobs: JobService) -> None:
        """Add the jobs of the section, except those that still wait from an earlier run."""
        wanted: list[NewJob] = []
        for each in self.config.sandbox.jobs:
            job = jobs.registry.check(each.kind, each.data, each.account)
            if not await jobs.store.is_waiting_for(job):
                wanted += [job] * each.times
        await jobs.store.add(wanted)

    async def _audit(self, engine: "Engine", sandbox: SandboxProcess) -> None:
        """Compare the jobs with the sandbox's own record."""
        with anyio.move_on_after(AUDIT_TIMEOUT), suppress(SandboxError, StorageError):
            record = await _record(self.config, sandbox)
            await engine.flush()
            database = self.config.storage.directory / paths.DATABASE
            self.audit = await anyio.to_thread.run_sync(audit, self.config, database, record)


def at_sandbox(dc_id: int, port: int, public_key: str) -> Datacenter:
    """Return a sandbox as a datacenter, and make Telethon trust it."""
    datacenter = Datacenter(dc_id, "127.0.0.1", port, public_key)
    datacenter.trust()
    return datacenter


def sandbox_of(config: Config, engine: int) -> Datacenter | None:
    """Return the sandbox of the engine whose process id is ``engine``; None if it has none now."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        said = json.loads(read_file(config.storage.directory / paths.SANDBOX_ADDRESS))
        if said["engine"] == engine:
            return at_sandbox(int(said["dc"]), int(said["port"]), str(said["public_key"]))
    return None


@asynccontextmanager
async def sandbox_datacenter(config: Config) -> AsyncIterator[Datacenter]:
    """Run a sandbox for the length of the block, without an engine."""
    async with SandboxProcess.start(config.storage.directory / paths.SANDBOX) as sandbox:
        yield at_sandbox(sandbox.dc_id, sandbox.port, sandbox.public_key)


@contextmanager
def _announced(config: Config, sandbox: SandboxProcess) -> Iterator[None]:
    """Keep the sandbox's address in a file for the length of the block: a login beside the engine needs it."""
    path = config.storage.directory / paths.SANDBOX_ADDRESS
    said = {"engine": os.getpid(), "dc": sandbox.dc_id, "port": sandbox.port, "public_key": sandbox.public_key}
    replace_with(path, json.dumps(said).encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


async def _fill(config: Config, sandbox: SandboxProcess) -> None:
    """Make sure that the sandbox has the groups of the config, each with all accounts as members and a history."""
    phones = [account.phone for account in config.accounts if account.phone]
    for index, group in enumerate(config.sandbox.groups):
        try:
            await sandbox.create_channel(group.name, group.title, megagroup=True, members=phones)
            written = await sandbox.fill(group.name, group.messages)
        except SandboxDied:
            raise
        except SandboxError as exc:
            raise SandboxError(f"sandbox.groups[{index}]: {exc}") from exc
        if written:
            log.info("sandbox_group_filled", group=group.name, messages=written)


async def _log_in(
    config: Config, sandbox: SandboxProcess, accounts: Sequence[AccountConfig]
) -> dict[str, TelegramConnector]:
    """Give each account a port of its own in the sandbox, and log in the test numbers that have no session yet."""
    datacenters: dict[str, Datacenter | None] = {}
    for account in accounts:
        port = await sandbox.listen(account.phone) if account.phone else sandbox.port
        datacenters[account.name] = Datacenter(sandbox.dc_id, "127.0.0.1", port, sandbox.public_key)
    at_sandbox(sandbox.dc_id, sandbox.port, sandbox.public_key)
    connectors = {account.name: connector_of(config, account, datacenters[account.name]) for account in accounts}
    for account in accounts:
        if account.phone and not account.session.exists():
            try:
                await log_in_test_account(connectors[account.name], account.phone)
            except Exception as exc:  # one account that cannot log in must not stop the others
                log.error("sandbox_login_failed", account=account.name, detail=str(exc) or type(exc).__name__)
            else:
                log.info("sandbox_logged_in", account=account.name)
    return connectors


def _step(step: ScenarioStep, phones: Mapping[str, str | None]) -> TimedAction:
    phone = phones[step.account] if step.account else None
    match step.do:
        case StepCommand.CLEAR:
            return TimedAction(step.at, Clear(phone))
        case StepCommand.MESSAGE:
            return TimedAction(step.at, Push(phone or "", step.text or "Hello"))
        case kind:
            fault = Fault(
                kind,
                phone,
                duration=step.duration,
                times=step.times,
                request=step.request,
                code=step.code,
                text=step.text,
                seconds=step.seconds,
                channel=step.channel,
            )
            return TimedAction(step.at, fault)


def _scenario(section: SandboxSection, phones: Mapping[str, str | None]) -> Sequence[TimedAction]:
    if isinstance(section.scenario, Chaos):
        seed = secrets.randbelow(2**32) if section.seed is None else section.seed
        log.info("sandbox_chaos", duration=section.duration, seed=seed)
        return chaos(seed, [phone for phone in phones.values() if phone], section.duration)
    steps = []
    for index, step in enumerate(section.scenario):
        try:
            steps.append(_step(step, phones))
        except SandboxError as exc:
            raise SandboxError(f"sandbox.scenario[{index}]: {exc}") from exc
    return steps


async def _record(config: Config, sandbox: SandboxProcess) -> GroupRecord:
    return {group.name: await sandbox.channel_messages(group.name) for group in config.sandbox.groups}


async def _play(sandbox: SandboxProcess, steps: Sequence[TimedAction]) -> None:
    """Play the scenario; log an error."""
    try:
        await sandbox.scenario(steps)
    except (SandboxDied, SandboxError) as exc:
        log.error("sandbox_scenario_failed", detail=str(exc))
