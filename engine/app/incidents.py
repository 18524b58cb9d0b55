"""The incidents of an engine: the watch over them, with what this machine knows of ways and disks."""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

import anyio.to_thread

from adapters.sqlite import JournalWriter
from engine import paths
from engine.config import Config
from engine.config.sections import AccountConfig
from engine.fleet.ports import Clock
from engine.incidents.watch import IncidentWatch

DIRECT: Final = "the direct way to Telegram"
NETWORK: Final = "the network"
"""What all accounts share."""


async def incident_watch(config: Config, journal: JournalWriter, clock: Clock) -> IncidentWatch:
    """Return the watch over the incidents of a config, with those that earlier engines have left open.

    Raises ``StorageError``.
    """
    store = journal.incidents
    directories = {account.name: account.session.parent for account in config.accounts}
    disks = await anyio.to_thread.run_sync(_disks, {*directories.values(), config.storage.directory})
    ways = {account.name: way_of(account) for account in config.accounts}
    return IncidentWatch(
        store=store,
        clock=clock,
        policy=config.incidents,
        book=await store.restore(clock.now()),
        database=str(config.storage.directory / paths.DATABASE),
        disk=disks[config.storage.directory],
        ways=lambda account: ways.get(account, (DIRECT, NETWORK)),
        disk_of=partial(_disk_of, disks, directories),
        count_jobs=journal.jobs.counts,
    )


def way_of(account: AccountConfig) -> tuple[str, ...]:
    """Return what an account shares with others on its way to Telegram, the narrowest first; no secret is in it."""
    ways = list(dict.fromkeys("directly" if each is None else str(each) for each in account.proxy))
    if ways in ([], ["directly"]):
        return DIRECT, NETWORK
    if len(ways) == 1:
        return f"the proxy {ways[0]}", NETWORK
    return f"the proxies {', '.join(ways)}", NETWORK


def _disk_of(disks: dict[Path, str], directories: dict[str, Path], account: str) -> str | None:
    return disks.get(directories[account]) if account in directories else None


def _disks(directories: Iterable[Path]) -> dict[Path, str]:
    """Return what each directory's disk is called: where it is mounted. Blocks."""
    return {directory: f"the disk at {_mount_of(directory)}" for directory in directories}


def _mount_of(directory: Path) -> str:
    path = os.path.realpath(directory)
    while path != os.path.dirname(path) and not os.path.ismount(path):
        path = os.path.dirname(path)
    return path
