"""The incidents of an engine and the messages about them, with what this machine knows of ways and disks.

A composition root.
"""

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import anyio.to_thread
import structlog
from attrs import define, field

from engine import paths
from engine.alerts.ports import AlertClaims, AlertOutbox
from engine.app.alerts import Alerts
from engine.app.missed import missed_in
from engine.app.records import StoragePlace
from engine.config import Config
from engine.config.sections import AccountConfig
from engine.fleet.ports import Clock
from engine.fleet.watchers import Watcher
from engine.incidents.ports import CountJobs, LastingIncidents
from engine.incidents.watch import IncidentWatch
from states.events import ClockJumped, Failure
from states.incident import SHARED_STORE, Incident
from states.incidents import Slot

DIRECT: Final = "the direct way to Telegram"
NETWORK: Final = "the network"
"""What all accounts share."""

log = structlog.get_logger("holdfast.alerts")


class IncidentHome(Protocol):
    """Where an engine has its incidents, and what is to be told of them."""

    @property
    def incidents(self) -> LastingIncidents:
        """The incidents."""

    @property
    def outbox(self) -> AlertOutbox:
        """The alerts."""


@define(eq=False)
class IncidentParts:
    """The incidents of an engine, and the messages about them. ``begin`` once the journal is open.

    Whoever reports something before that waits for nothing: it is taken into account then.
    """

    config: Config
    clock: Clock
    watch: IncidentWatch | None = field(default=None, init=False)
    alerts: Alerts | None = field(default=None, init=False)
    _troubles: dict[object, Failure] = field(factory=dict, init=False)
    """What keeps the engine's store from being written, by who says so."""
    _ways: dict[str, tuple[str, ...]] = field(factory=dict, init=False)
    _directories: dict[str, Path] = field(factory=dict, init=False)
    _disks: dict[Path, str] = field(factory=dict, init=False)
    _database: str | None = field(default=None, init=False)
    """The database in which the sessions are; None if they are files."""

    @property
    def _begun(self) -> tuple[IncidentWatch, Alerts]:
        """What there is from ``begin`` on."""
        if self.watch is None or self.alerts is None:
            raise RuntimeError("the incidents have not begun")
        return self.watch, self.alerts

    @property
    def open(self) -> Mapping[int, Incident]:
        """The incidents that are open, by number."""
        return {} if self.watch is None else self.watch.book.open

    async def begin(
        self,
        home: IncidentHome,
        count_jobs: CountJobs,
        *,
        database: str | None = None,
        claims: AlertClaims | None = None,
        records: StoragePlace | None = None,
    ) -> IncidentWatch:
        """Go on with the incidents and the messages that earlier engines have left open. Raises ``StorageError``.

        ``database`` is what the store of the accounts is called, if it is another one than the engine's own file.
        ``count_jobs`` is that of the engine's own store: each store keeps a connection, which its owner closes.
        ``claims`` says which node of several sends a message; ``records`` is where what is stored is read, if it is not
        where the config says.
        """
        store, directory = home.incidents, self.config.storage.directory
        await self._look_at_ways()
        self._database = database if self.config.storage.database is not None else None
        watch = IncidentWatch(
            store=store,
            clock=self.clock,
            policy=self.config.incidents,
            book=await store.restore(self.clock.now()),
            database=str(directory / paths.DATABASE) if database is None else database,
            is_shared=database is not None,
            disk=self._disks[directory],
            ways=lambda account: self._ways.get(account, (DIRECT, NETWORK)),
            disk_of=self._disk_of,
            count_jobs=count_jobs,
        )
        alerts = Alerts.of(
            self.config,
            home.outbox,
            self.clock,
            on_channel=lambda name, label, why: watch.channel_seen(name, why and f"{label}: {why}"),
            missed=partial(missed_in, records or self.config.storage),
            claims=claims,
        )
        if unreadable := await alerts.restore(watch.book.open.values()):
            log.warning("alerts_unreadable", rows=unreadable)
        watch.companions.append(alerts.rows_of)
        self.watch, self.alerts = watch, alerts
        self._forget_channels()
        if self._troubles:
            self._tell_trouble(watch)
        return watch

    async def use_home(self, home: IncidentHome, claims: AlertClaims | None) -> None:
        """Store in another home from now on, of which this node had a part before. Raises ``StorageError``."""
        watch, alerts = self._begun
        await watch.use_store(home.incidents)
        await alerts.use_outbox(home.outbox, claims)

    async def use(self, config: Config, renamed: Mapping[str, str] | None = None) -> None:
        """Go by another config from now on; ``renamed`` has the new name of each account that has another, by the old.

        Accounts that reconnect, for whatever reason, go on in their incidents; those that were removed leave them.
        """
        before, self.config = self.config, config
        await self._look_at_ways()
        watch, alerts = self._begun
        names, moved = {account.name for account in config.accounts}, renamed or {}
        for account in before.accounts:
            if account.name not in names and account.name not in moved:
                watch.forget(account.name)
        if moved:
            watch.rename(moved)
        watch.use_policy(config.incidents)
        if before.alerts != config.alerts:
            alerts.use(config, watch.book.open.values())
            self._forget_channels()

    def storage_trouble(self, failure: Failure | None, of: object = None) -> None:
        """Take into account what keeps the engine's store from being written; None: nothing any more.

        ``of`` is who says so: the trouble is over when all that told of one say so. Of the workers of one machine the
        first speaks for all, for they share one store, and cannot agree on who tells of it while it is away.
        """
        if failure is None:
            self._troubles.pop(of, None)
        else:
            self._troubles[of] = failure
        if self.watch is not None:
            self._tell_trouble(self.watch)

    def _tell_trouble(self, watch: IncidentWatch) -> None:
        if self.config.node.worker in (None, 1):
            watch.storage_trouble(next(iter(self._troubles.values()), None))

    def database_replaced(self) -> None:
        """Store what is open anew: the file is another one."""
        if self.watch is not None and self.alerts is not None:
            self.watch.database_replaced()
            self.alerts.database_replaced()

    def clock_jumped(self, event: ClockJumped) -> None:
        """Move all times with a clock that was set."""
        watch, alerts = self._begun
        watch.clock_jumped(event)
        if event.shift:
            alerts.clock_jumped(event.shift)

    def commands_changed(self) -> None:
        """Read what another process has changed in the file."""
        if self.watch is not None:
            self.watch.commands_changed()

    def watchers(self) -> list[Watcher]:
        """Return what runs beside the fleet."""
        watch, alerts = self._begun
        return [("the watch over incidents", watch.run), ("the alerts", alerts.run)]

    def _forget_channels(self) -> None:
        """Let incidents of channels be over that the config does not have any more."""
        watch, alerts = self._begun
        known = {name for slot, name in watch.book.tracks if slot is Slot.CHANNEL}
        for name in sorted(known - alerts.delivery.outlets.keys()):
            watch.channel_gone(name)

    async def _look_at_ways(self) -> None:
        """See what the accounts share: their ways to Telegram, and the disks of their sessions."""
        accounts = self.config.accounts
        self._ways = {account.name: way_of(account) for account in accounts}
        self._directories = {account.name: account.session.parent for account in accounts}
        directories = {*self._directories.values(), self.config.storage.directory}
        self._disks = await anyio.to_thread.run_sync(_disks, directories)

    def _disk_of(self, account: str) -> str | None:
        if self._database is not None:
            return f"{SHARED_STORE}{self._database}"
        directory = self._directories.get(account)
        return None if directory is None else self._disks.get(directory)


def way_of(account: AccountConfig) -> tuple[str, ...]:
    """Return what an account shares with others on its way to Telegram, the narrowest first; no secret is in it."""
    ways = list(dict.fromkeys("directly" if each is None else str(each) for each in account.proxy))
    if ways in ([], ["directly"]):
        return DIRECT, NETWORK
    if len(ways) == 1:
        return f"the proxy {ways[0]}", NETWORK
    return f"the proxies {', '.join(ways)}", NETWORK


def _disks(directories: Iterable[Path]) -> dict[Path, str]:
    """Return what each directory's disk is called: where it is mounted. Blocks."""
    return {directory: f"the disk at {_mount_of(directory)}" for directory in directories}


def _mount_of(directory: Path) -> str:
    path = os.path.realpath(directory)
    while path != os.path.dirname(path) and not os.path.ismount(path):
        path = os.path.dirname(path)
    return path
