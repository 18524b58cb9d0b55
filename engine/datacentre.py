"""The data centre that a config names, and a connector to it for each account: a composition root."""

import json
import math
import os
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import structlog
from attrs import frozen

from adapters.sandbox import ChannelMessage, Clear, Fault, FaultKind, Push, SandboxDied, SandboxError, SandboxProcess
from adapters.sandbox import Step as SandboxStep
from adapters.sandbox.chaos import chaos
from adapters.telegram import Connector, Datacenter, Failover, Proxy, log_in_test_account
from engine import layout
from engine.config import Account, Chaos, Config, Do, SandboxSection, ScenarioStep
from engine.config import Datacenter as DatacenterConfig
from engine.config import Proxy as ProxyConfig
from engine.config import Sandbox as SandboxConfig
from engine.narrate import seconds
from states import Policy

GroupRecord = Mapping[str, Sequence[ChannelMessage]]
"""What was written in each group of the config, by its name."""


@frozen
class Ground:
    """A data centre, as the fleet needs it."""

    connectors: Mapping[str, Connector]
    alongside: Callable[[], Coroutine[Any, Any, None]]
    """What it does while the fleet runs."""
    record: Callable[[], Coroutine[Any, Any, GroupRecord]] | None = None
    """What it remembers of the config's groups; None where it is not ours."""


log = structlog.get_logger()


def _ping_patience(policy: Policy) -> int:
    """Return after how many seconds without a ping the data centre may drop a link: later than we would ourselves."""
    return max(75, math.ceil(policy.healthy.probe_every + sum(policy.timeout.patience) + 15))


def connector_of(config: Config, account: Account, datacenter: Datacenter | None) -> Connector:
    """Return the connector of an account to a data centre; None is Telegram itself."""
    return Connector(
        session=account.session,
        api_id=config.telegram.api_id,
        api_hash=config.telegram.api_hash,
        datacenter=datacenter,
        failover=Failover(tuple(map(_proxy, account.proxy))),
        disconnect_delay=_ping_patience(config.states),
        backups=config.storage.directory / layout.BACKUPS,
        name=account.name,
    )


def _connectors(config: Config, datacenters: Mapping[str, Datacenter | None]) -> dict[str, Connector]:
    return {account.name: connector_of(config, account, datacenters[account.name]) for account in config.accounts}


def _proxy(config: ProxyConfig | None) -> Proxy | None:
    if config is None:
        return None
    user, password, secret = config.user, config.password, config.secret
    return Proxy(config.scheme.value, config.host, config.port, user=user, password=password, secret=secret)


def _sandbox_step(step: ScenarioStep, phones: Mapping[str, str | None]) -> SandboxStep:
    phone = phones[step.account] if step.account else None
    match step.do:
        case Do.CLEAR:
            return SandboxStep(step.at, Clear(phone))
        case Do.MESSAGE:
            return SandboxStep(step.at, Push(phone or "", step.text or "Hello"))
        case _:
            fault = Fault(
                FaultKind(step.do.value),
                phone,
                duration=step.duration,
                times=step.times,
                request=step.request,
                code=step.code,
                text=step.text,
                seconds=step.seconds,
            )
            return SandboxStep(step.at, fault)


def _sandbox_scenario(section: SandboxSection, phones: Mapping[str, str | None]) -> Sequence[SandboxStep]:
    if isinstance(section.scenario, Chaos):
        seed = secrets.randbelow(2**32) if section.seed is None else section.seed
        log.info(f"Chaos in the sandbox for {seconds(section.duration)}, with the seed {seed}", icon="🔍")
        return chaos(seed, [phone for phone in phones.values() if phone], section.duration)
    steps = []
    for index, step in enumerate(section.scenario):
        try:
            steps.append(_sandbox_step(step, phones))
        except SandboxError as exc:
            raise SandboxError(f"sandbox.scenario[{index}]: {exc}") from exc
    return steps


def at_sandbox(dc_id: int, port: int, public_key: str) -> Datacenter:
    """Return a sandbox as a data centre, which Telethon accepts from now on."""
    datacenter = Datacenter(dc_id, "127.0.0.1", port, public_key)
    datacenter.trust()
    return datacenter


@contextmanager
def _findable(config: Config, sandbox: SandboxProcess) -> Iterator[None]:
    """Say in a file where the sandbox listens, while it does: a login beside the engine goes there, too."""
    path = config.storage.directory / layout.SANDBOX_ADDRESS
    said = {"engine": os.getpid(), "dc": sandbox.dc_id, "port": sandbox.port, "public_key": sandbox.public_key}
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(json.dumps(said), encoding="utf-8")
    unfinished.rename(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def sandbox_of(config: Config, engine: int) -> Datacenter | None:
    """Return the sandbox of the engine that is process ``engine``; None if it has none now."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        said = json.loads((config.storage.directory / layout.SANDBOX_ADDRESS).read_text("utf-8"))
        if said["engine"] == engine:
            return at_sandbox(int(said["dc"]), int(said["port"]), str(said["public_key"]))
    return None


async def _in_sandbox(config: Config, sandbox: SandboxProcess) -> dict[str, Connector]:
    """Give each account a port of its own in the sandbox, and log in the test numbers that have no session yet."""
    datacenters: dict[str, Datacenter | None] = {}
    for account in config.accounts:
        port = await sandbox.listen(account.phone) if account.phone else sandbox.port
        datacenters[account.name] = Datacenter(sandbox.dc_id, "127.0.0.1", port, sandbox.public_key)
    at_sandbox(sandbox.dc_id, sandbox.port, sandbox.public_key)
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


async def _set_up_groups(config: Config, sandbox: SandboxProcess) -> None:
    """Make sure that the sandbox has the groups of the config, each with all its accounts and a history."""
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
            log.info(f"The sandbox wrote {written} messages into @{group.name}", icon="🔍")


async def _record(config: Config, sandbox: SandboxProcess) -> GroupRecord:
    return {group.name: await sandbox.channel_messages(group.name) for group in config.sandbox.groups}


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
async def data_centre(config: Config) -> AsyncIterator[Ground]:
    """Yield the data centre that a config names, for the block."""
    match config.telegram.datacenter:
        case SandboxConfig():
            log.info("Starting the sandbox data centre; the first time it makes its keys", icon="🔍")
            async with SandboxProcess.start(config.storage.directory / layout.SANDBOX) as sandbox:
                log.info(f"The sandbox data centre listens on 127.0.0.1:{sandbox.port}", icon="🔍")
                await _set_up_groups(config, sandbox)
                connectors = await _in_sandbox(config, sandbox)
                phones = {account.name: account.phone for account in config.accounts}
                steps = _sandbox_scenario(config.sandbox, phones)
                with _findable(config, sandbox):
                    yield Ground(connectors, partial(_play, sandbox, steps), partial(_record, config, sandbox))
        case _:
            yield Ground(connectors_outside(config), _nothing)


def connectors_outside(config: Config) -> dict[str, Connector]:
    """Return the connectors of all accounts to a data centre that is not the engine's own: Telegram, or one's own."""
    datacenter = None
    if isinstance(config.telegram.datacenter, DatacenterConfig):
        given = config.telegram.datacenter
        datacenter = Datacenter(given.id, given.host, given.port, given.public_key)
        datacenter.trust()
    return _connectors(config, {account.name: datacenter for account in config.accounts})


async def _nothing() -> None:
    pass
