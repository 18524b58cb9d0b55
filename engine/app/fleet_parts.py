"""The runners of an engine's accounts, and the parts that watch over them. A composition root."""

from collections.abc import Callable, Iterable
from functools import partial

import anyio
from attrs import define, field

from adapters.sqlite.ledger import LedgerStore
from adapters.system import ContinuousClock, SteadyClock, SystemClock, WatchedClock
from adapters.telegram import TelegramConnector
from adapters.telegram.account_ledger import AccountLedger
from adapters.telegram.holds import waits_of
from adapters.telegram.usernames import UsernameKeeper, Usernames
from engine.app.telegram import disconnect_delay, wait_up_to
from engine.config import Config
from engine.console.messages import narrate
from engine.fleet.clock_watch import watch_clocks
from engine.fleet.connect_limiter import ConnectLimiter
from engine.fleet.credentials_watch import CredentialsWatch
from engine.fleet.network_probe import NetworkProbe
from engine.fleet.outage_detector import OutageDetector
from engine.fleet.refused_config import RefusedConfig
from engine.fleet.runner import Runner
from engine.fleet.shared_timers import SharedTimers
from engine.fleet.stagger import AutoStagger
from engine.fleet.supervisor import Supervisor
from engine.fleet.watchers import Watcher
from engine.journal.ports import JournalStore
from engine.wakeup import Wakeup
from states import Snapshot
from states.events import ClockJumped


@define(eq=False)
class FleetParts:
    """What a fleet of accounts is made of. Accounts come and go while it runs, and the config may become another."""

    config: Config
    fleet: Supervisor
    connectors: dict[str, TelegramConnector]
    """Those of all accounts, by name."""
    journal: JournalStore
    usernames: Usernames
    """What all accounts know of usernames."""
    clock: WatchedClock
    ledger: LedgerStore
    """What the accounts have handled, without a gap."""
    limiter: ConnectLimiter = field(init=False)
    detector: OutageDetector = field(init=False)
    probe: NetworkProbe = field(init=False)
    credentials: CredentialsWatch = field(init=False)
    refused: RefusedConfig = field(init=False)
    _stagger: AutoStagger | float = field(init=False)
    _probe_timers: SharedTimers = field(factory=SharedTimers, init=False)
    _measure: Callable[[TelegramConnector], None] | None = field(default=None, init=False)
    _other_store: Wakeup = field(factory=Wakeup, init=False)

    def __attrs_post_init__(self) -> None:
        config, fleet = self.config, self.fleet
        self._stagger = _stagger_of(config)
        self.limiter = ConnectLimiter(config.fleet.connects_at_once, self._stagger)
        self.detector = OutageDetector(self.limiter, fleet.notify)
        self.probe = NetworkProbe(
            self.connectors, self.detector.datacenter_answers, config.states.backoff.transport_flood
        )
        self.credentials = CredentialsWatch(fleet)
        self.refused = RefusedConfig(fleet)
        fleet.waits_of = waits_of
        fleet.life_failed = self._end_life
        fleet.listeners += [self.detector.observe, self.probe.observe]
        fleet.removed += [self.detector.forget, self.probe.forget, self.credentials.forget]
        if isinstance(self._stagger, AutoStagger):
            fleet.listeners.append(self._stagger.observe)

    def add(self, account: str, restored: Snapshot | None) -> None:
        """Add an account, which has a connector; ``restored`` is where it was left."""
        connector = self.connectors[account]
        connector.usernames = self.usernames.of(account)
        if self._measure is not None:
            self._measure(connector)
        if connector.inbox.ledger is None:
            connector.inbox.use_ledger(AccountLedger(self.ledger, account))
        runner = Runner(
            account=account,
            connector=connector,
            limiter=self.limiter,
            journal=self.journal,
            clock=self.clock,
            policy=self.config.states,
            observer=narrate,
            restored=restored,
            probe_timers=self._probe_timers,
        )
        self.fleet.add(runner)

    def use_store(self, journal: JournalStore, keeper: UsernameKeeper, ledger: LedgerStore) -> None:
        """Have what accounts do from now on stored by these; nothing of accounts that were there before is."""
        journal.pulse.on_batch, self.journal.pulse.on_batch = self.journal.pulse.on_batch, None
        self.journal, self.usernames.keeper, self.ledger = journal, keeper, ledger
        self._other_store.notify()

    async def _store_ledger(self) -> None:
        """Store what accounts have handled, until cancelled."""
        while True:
            other = self._other_store.upcoming
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.ledger.run)
                await other.wait()
                tasks.cancel_scope.cancel()

    async def look(self) -> None:
        """Return when it is known whether the store of the journal is there."""
        await self.journal.look()

    async def _end_life(self, account: str, life: int) -> None:
        await self.journal.end_life(account, life)

    def measure_by(self, measure: Callable[[TelegramConnector], None]) -> None:
        """Have each account's connector, now and when one comes, observed by what ``measure`` gives it."""
        self._measure = measure
        for connector in self.connectors.values():
            measure(connector)

    def forget(self, accounts: Iterable[str]) -> None:
        """Forget the connectors of accounts that were removed from the fleet."""
        for name in accounts:
            self.connectors.pop(name, None)

    def use(self, config: Config) -> None:
        """Go by another config: its schedules, and how the accounts share the way to Telegram."""
        before, self.config = self.config, config
        if before.states != config.states:
            self.fleet.use_policy(config.states)
            self.probe.use_refused(config.states.backoff.transport_flood)
            for connector in self.connectors.values():
                connector.disconnect_delay = disconnect_delay(config.states)
        for account in config.accounts:
            if (known := self.connectors.get(account.name)) is not None:
                known.wait_up_to = wait_up_to(config, account)
        self.usernames.per_day = config.usernames.per_day
        if before.fleet != config.fleet:
            self._use_stagger(_stagger_of(config))
            self.limiter.change(config.fleet.connects_at_once, self._stagger)

    def _use_stagger(self, stagger: AutoStagger | float) -> None:
        if isinstance(self._stagger, AutoStagger):
            if isinstance(stagger, AutoStagger):
                return  # it goes on with what it has measured
            self.fleet.listeners.remove(self._stagger.observe)
        self._stagger = stagger
        if isinstance(stagger, AutoStagger):
            self.fleet.listeners.append(stagger.observe)

    def clock_jumped(self, event: ClockJumped) -> None:
        """Tell all accounts that the clock jumped."""
        self.detector.clock_jumped(event)
        self.fleet.notify_all(event)

    def watchers(self, *clock_jumped: Callable[[ClockJumped], None]) -> list[Watcher]:
        """Return what runs beside the fleet; ``clock_jumped`` are told of a jump after the accounts."""

        def notify(event: ClockJumped) -> None:
            for tell in (self.clock_jumped, *clock_jumped):
                tell(event)

        watched_clocks = partial(
            watch_clocks,
            SystemClock(),
            SteadyClock(),
            notify,
            continuous=ContinuousClock(),
            accept=self.clock.accept,
        )
        return [
            ("the network probe", self.probe.run),
            ("the ledger", self._store_ledger),
            ("the watch over session files", self.credentials.run),
            ("the watch over the shared settings", self.refused.run),
            ("the watch over the clocks", watched_clocks),
        ]


def _stagger_of(config: Config) -> AutoStagger | float:
    return AutoStagger() if config.fleet.stagger == "auto" else config.fleet.stagger
