"""``ConnectionMonitor``: the machine for scripts that have their own clients and loop.

It has the methods of the user's guide. The same machine that runs accounts in the engine watches and reconnects each
client, with one difference: the client belongs to the script, so the same object is connected again.
"""

import asyncio
from typing import Any

import anyio
from attrs import define, evolve, field
from telethon import TelegramClient

from adapters.system import SystemClock
from adapters.telegram import OwnedConnector
from adapters.telegram.client import LinkClient
from engine.console import logs
from engine.console.account_status import UNKNOWN, AccountStatus
from engine.console.format import local
from engine.console.messages import events_of
from engine.console.status import block, cause_text
from engine.fleet.connect_limiter import ConnectLimiter
from engine.fleet.runner import Runner
from engine.fleet.supervisor import Supervisor
from states import Policy, Record, Snapshot, Step
from states.schedules import Health

CHECK_INTERVAL = 300.0
PING_MARGIN = 75
"""Seconds beyond the interval after which the datacenter may drop a connection that sends no ping."""
CONNECTS_AT_ONCE = 32

_PLAIN_VALUES = (str, bytes, int, float, type, dict, list, tuple, set)

log = logs.standard_logger("holdfast.monitor")


class _NoJournal:
    """A journal that stores nothing: the log of the script has the transitions."""

    async def begin_life(self, account: str, at: float, policy: Policy, snapshot: Snapshot) -> None:
        """Forget it."""

    def use_policy(self, account: str, policy: Policy) -> None:
        """Forget it."""

    async def write(self, account: str, record: Record, snapshot: Snapshot) -> None:
        """Forget it."""

    async def save(self, account: str, snapshot: Snapshot) -> None:
        """Forget it."""

    async def flush(self) -> None:
        """Return: nothing is stored."""

    async def snapshots(self) -> dict[str, Snapshot]:
        """Return nothing."""
        return {}


def _narrate(account: str, step: Step) -> None:
    for level, name, fields in events_of(account, step):
        log.log(level, name, **fields)


@define(eq=False)
class ConnectionMonitor:
    """Watches Telethon clients, reconnects them when they are lost, and reports how they are.

    An idle client is probed every ``check_interval`` seconds. A broken connection is noticed at once, a silent one
    after two unanswered probes, a revoked login at the next probe. While a client is watched its own
    ``auto_reconnect`` is off; ``stop_monitoring`` gives it back as it was. ``policy`` has the schedules, by default
    those of the engine.
    """

    check_interval: float = CHECK_INTERVAL
    policy: Policy = field(factory=Policy, kw_only=True)
    _clients: dict[str, Any] = field(factory=dict, init=False)
    _fleet: Supervisor | None = field(default=None, init=False)
    _task: "asyncio.Task[bool] | None" = field(default=None, init=False)
    _limiter: ConnectLimiter = field(factory=lambda: ConnectLimiter(CONNECTS_AT_ONCE, 0.0), init=False)
    _last: dict[str, Snapshot] = field(factory=dict, init=False)
    """Where each client was when the monitoring stopped."""

    def __attrs_post_init__(self) -> None:
        interval: Any = self.check_interval
        number = isinstance(interval, int | float) and not isinstance(interval, bool)
        if not (number and 0 < interval < float("inf")):
            raise ValueError(f"check_interval is a number of seconds above 0, such as 300, not {interval!r:.60}")
        health = Health(
            probe_every=self.check_interval,
            prove_every=self.check_interval,
            stable_after=min(self.check_interval, self.policy.healthy.stable_after),
        )
        self.policy = evolve(self.policy, healthy=health)

    def __repr__(self) -> str:
        healthy = [at.healthy for at in self._statuses().values()]
        clients = f"{len(healthy)} client{'s' if len(healthy) != 1 else ''}, {sum(healthy)} healthy"
        return f"<ConnectionMonitor: {clients}, {'watching' if self._task else 'not watching'}>"

    def register_client(self, name: str, client: Any) -> None:
        """Watch ``client`` (a ``TelegramClient``, connected or not) under this name, once monitoring has started.

        Raises ``ValueError`` if the name or the client is registered already, and ``TypeError`` for anything but a
        client of the script's own.
        """
        if not isinstance(name, str) or not name:
            raise TypeError(f"a client is registered under a name, such as 'Account 1', not {name!r:.60}")
        if self._fleet is not None or client is None or isinstance(client, _PLAIN_VALUES):
            _check_client(name, client)  # whatever else it may be is looked at when the monitoring starts
        if name in self._clients:
            raise ValueError(f"a client named {name!r} is registered already; choose another name")
        if taken := [other for other, each in self._clients.items() if each is client]:
            raise ValueError(f"{name}: this client is registered already, as {taken[0]!r}; a client is watched once")
        self._clients[name] = client
        if self._fleet is not None:
            self._fleet.add(self._runner(name))

    def start_monitoring(self) -> None:
        """Start watching, in the running event loop; do nothing if it was started already.

        Raises ``RuntimeError`` where no loop runs, and ``TypeError`` for what is no client.
        """
        if self._task is not None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "start_monitoring needs a running event loop; call it in the coroutine that asyncio.run runs"
            ) from None
        for name, client in self._clients.items():
            _check_client(name, client)
        self._fleet = Supervisor({}, anyio.Event(), self.policy.shutting_down.grace)
        for name in self._clients:
            self._fleet.add(self._runner(name))
        # This task cannot be in a group, because this call returns; stop_monitoring ends and awaits it.
        self._task = loop.create_task(self._fleet.run(), name="ConnectionMonitor")

    async def stop_monitoring(self) -> None:
        """Stop watching, and give all clients back; connected ones stay connected."""
        fleet, task = self._fleet, self._task
        if fleet is None or task is None:
            return
        self._last = dict(fleet.snapshots)
        self._fleet = self._task = None
        for runner in fleet.runners.values():
            assert isinstance(runner.connector, OwnedConnector)
            runner.connector.release()
        fleet.stop.set()
        await task

    def get_stats(self) -> dict[str, dict[str, Any]]:
        """Return how each client is, by its name.

        It has its ``status`` (the state's name), whether that is ``known`` (while nobody watches the client it is the
        last one, ``unknown`` if there was none), ``failures`` in a row, ``reconnects``, ``last_success`` (a local
        ``datetime``, or None), and for trouble its ``cause`` and the ``action`` to take.
        """
        return {name: _stats(at) for name, at in self._statuses().items()}

    def print_status(self) -> None:
        """Print how all clients are."""
        print(block(self._statuses()))

    def _statuses(self) -> dict[str, AccountStatus]:
        if self._fleet is not None:
            return {name: self._fleet.status(name) for name in self._clients}
        return {name: AccountStatus(self._last.get(name), present=False) for name in self._clients}

    def _runner(self, name: str) -> Runner:
        return Runner(
            account=name,
            connector=OwnedConnector(self._clients[name], name, round(self.check_interval) + PING_MARGIN),
            limiter=self._limiter,
            journal=_NoJournal(),
            clock=SystemClock(),
            policy=self.policy,
            observer=_narrate,
            restored=self._last.get(name),
        )


def _check_client(name: str, client: Any) -> None:
    if not isinstance(client, TelegramClient):
        raise TypeError(f"{name}: the monitor watches a TelegramClient of Telethon, not {type(client).__name__}")
    if isinstance(client, LinkClient):
        raise TypeError(f"{name}: an engine keeps this client connected already; account.status says how it is")


def _stats(status: AccountStatus) -> dict[str, Any]:
    at = status.last or Snapshot()
    last = local(at.last_success) if at.last_success else None
    return {
        "status": status.last.state.value if status.last else UNKNOWN,
        "known": status.known,
        "failures": at.failures,
        "reconnects": at.reconnects,
        "last_success": last,
        "cause": cause_text(at),
        "action": at.action.value if at.action else None,
    }
