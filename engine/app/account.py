"""``Account``: one account of a running engine, for the program that uses it."""

import time
from contextlib import suppress
from typing import Any

from attrs import define, field

from engine.console.account_status import UNKNOWN, AccountStatus
from engine.console.safe_text import one_line
from engine.fleet.supervisor import Supervisor
from engine.wakeup import Wakeup
from states import Snapshot, State, begin


class NotReady(Exception):
    """The account has no client that the program may use now."""


@define(eq=False)
class Account:
    """One account of a running engine, for the program that uses it."""

    name: str
    _fleet: Supervisor
    _changed: Wakeup = field(factory=Wakeup, init=False)

    @property
    def status(self) -> AccountStatus:
        """Where the account is, as far as it is known, and where it was last."""
        return self._fleet.status(self.name) if self.name in self._fleet.runners else AccountStatus(None)

    @property
    def state(self) -> str:
        """The name of the account's state: one of ``State``, ``paused``, or ``unknown``."""
        return self.status.state

    @property
    def snapshot(self) -> Snapshot:
        """Where the account is now; before its life has begun, the snapshot with which it begins."""
        status = self.status
        if status.known and status.last is not None:
            return status.last
        return begin(status.last, now=time.time())

    @property
    def client(self) -> Any:
        """The Telethon client that is connected now; raises ``NotReady`` if there is none, or if work is held.

        Every reconnect brings another client: read this anew for each piece of work.
        """
        runner = self._fleet.runners.get(self.name)
        ready = runner is not None and runner.snapshot.state is State.HEALTHY and not runner.work_held
        if runner is None or not ready or runner.link is None:
            raise NotReady(f"{self.name} is {self.snapshot.state if runner else 'not started'}; await ready() first")
        return runner.link.client

    async def ready(self) -> Any:
        """Wait until the program may use the account, and return its client."""
        while True:
            with suppress(NotReady):
                return self.client
            await self._changed.wait()

    def __repr__(self) -> str:
        if self.name not in self._fleet.runners:
            return f"<Account {self.name!r}: not started>"
        if not self.status.known or (snapshot := self.status.last) is None:
            return f"<Account {self.name!r}: {UNKNOWN}>"
        # A healthy account remembers its last loss, which is over; a limit of its is not.
        cause = snapshot.limited if snapshot.state is State.HEALTHY else snapshot.cause
        why = f", {cause.event}: {cause.detail}".removesuffix(": ") if cause else ""
        return f"<Account {self.name!r}: {snapshot.state.value}{one_line(' '.join(why.split())):.80}>"

    def changed(self) -> None:
        """Let waiting tasks check the account again."""
        self._changed.notify()
