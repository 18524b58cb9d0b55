"""``ConnectionMonitor``: the machine for scripts that have their own clients and loop.

It has the calls of the user's guide. Each client is watched and reconnected by the very machine that runs accounts in
the engine, with one difference: the client stays the script's, so the same object is connected again.
"""

import asyncio
import logging
from datetime import datetime
from typing import Any

import anyio
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from adapters.system import SystemClock
from adapters.telegram import OwnedConnector
from engine.fleet import Turnstile
from engine.narrate import lines
from engine.runner import Runner
from engine.status import block, cause_text
from states import Policy, Record, Snapshot, Step
from states.events import StopRequested
from states.schedules import Health

CHECK_INTERVAL = 300.0
STOP_MARGIN = 5.0
"""Seconds beyond the grace that an end may take."""

log = logging.getLogger("holdfast.monitor")


class _NoJournal:
    """A script keeps no journal; the log has the transitions."""

    async def begin_life(self, account: str, at: float, policy: Policy, snapshot: Snapshot) -> None:
        """Forget it."""

    async def write(self, account: str, record: Record, snapshot: Snapshot) -> None:
        """Forget it."""

    async def save(self, account: str, snapshot: Snapshot) -> None:
        """Forget it."""

    async def flush(self) -> None:
        """Nothing waits."""

    async def snapshots(self) -> dict[str, Snapshot]:
        """Nothing is stored."""
        return {}


def _narrate(account: str, step: Step) -> None:
    for level, icon, sentence in lines(account, step):
        log.log(level, "%s %s", icon, sentence)


@define
class ConnectionMonitor:
    """Watches clients of Telethon's, reconnects those that are lost, and says how they are.

    ``check_interval`` is in seconds: so often an idle client is asked for a sign of life. A connection that breaks is
    noticed at once; one that falls silent after two unanswered questions; a revoked login at the next question.
    While a client is watched its own ``auto_reconnect`` is off; ``stop_monitoring`` gives it back as it was. ``policy``
    has the schedules, those of the engine by default.
    """

    check_interval: float = CHECK_INTERVAL
    policy: Policy = field(factory=Policy, kw_only=True)
    _runners: dict[str, Runner] = field(factory=dict, init=False)
    _task: "asyncio.Task[None] | None" = field(default=None, init=False)
    _tasks: TaskGroup | None = field(default=None, init=False)
    _turns: Turnstile = field(factory=lambda: Turnstile(32, 0.0), init=False)

    def __attrs_post_init__(self) -> None:
        if not 0 < self.check_interval < float("inf"):
            raise ValueError(f"check_interval is a number of seconds above 0, not {self.check_interval}")
        health = Health(
            probe_every=self.check_interval,
            prove_every=self.check_interval,
            stable_after=min(self.check_interval, self.policy.healthy.stable_after),
        )
        self.policy = evolve(self.policy, healthy=health)

    def register_client(self, name: str, client: Any) -> None:
        """Watch ``client`` (a ``TelegramClient``, connected or not) under this name, from now or from the start on.

        Raises ``ValueError`` if the name is taken.
        """
        if name in self._runners:
            raise ValueError(f"a client named {name!r} is registered already; choose another name")
        runner = Runner(
            account=name,
            connector=OwnedConnector(client, name, disconnect_delay=round(self.check_interval) + 75),
            turns=self._turns,
            journal=_NoJournal(),
            clock=SystemClock(),
            policy=self.policy,
            observer=_narrate,
        )
        self._runners[name] = runner
        if self._tasks is not None:
            self._tasks.start_soon(runner.live, name=name)

    def start_monitoring(self) -> None:
        """Begin to watch, in the running event loop; does nothing if it is watching already."""
        if self._task is None:
            # The one task that is not in a group: this call returns, and stop_monitoring ends and awaits it.
            self._task = asyncio.get_running_loop().create_task(self._watch(), name="ConnectionMonitor")

    async def stop_monitoring(self) -> None:
        """Stop watching, and give all clients back as they are: connected ones stay connected."""
        task, self._task = self._task, None
        for runner in self._runners.values():
            assert isinstance(runner.connector, OwnedConnector)
            runner.connector.release()
        if task is None:
            return
        with anyio.move_on_after(self.policy.shutting_down.grace + STOP_MARGIN):
            for runner in self._runners.values():
                await runner.post(StopRequested(reason="the monitor stops"))
            await asyncio.wait({task})
        task.cancel()
        await asyncio.wait({task})
        self._runners.clear()
        if not task.cancelled():
            task.result()

    def get_stats(self) -> dict[str, dict[str, Any]]:
        """Return for each client its ``status`` (the state's name), ``failures`` in a row, ``reconnects``,
        ``last_success`` (a local ``datetime``, or None), and for trouble its ``cause`` and the ``action`` to take."""
        return {name: _stats(runner.snapshot) for name, runner in self._runners.items()}

    def print_status(self) -> None:
        """Print how all clients are."""
        print(block({name: runner.snapshot for name, runner in self._runners.items()}))

    async def _watch(self) -> None:
        async with anyio.create_task_group() as self._tasks:
            for name, runner in self._runners.items():
                self._tasks.start_soon(runner.live, name=name)
        self._tasks = None


def _stats(at: Snapshot) -> dict[str, Any]:
    last = datetime.fromtimestamp(at.last_success).astimezone() if at.last_success else None
    return {
        "status": at.state.value,
        "failures": at.failures,
        "reconnects": at.reconnects,
        "last_success": last,
        "cause": cause_text(at),
        "action": at.action.value if at.action else None,
    }
