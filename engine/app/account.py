"""``Account``: one account of a running engine, for the program that uses it."""

import time
from contextlib import suppress
from typing import Any

import anyio
from attrs import define, field

from engine.console.account_status import UNKNOWN, AccountStatus
from engine.console.safe_text import one_line
from engine.console.status import cause_text
from engine.fleet.supervisor import Supervisor
from engine.wakeup import Wakeup
from states import Action, Snapshot, State, begin
from states.limits import CAUSES
from states.snapshot import ADVICE, Cause

LOOK_AGAIN = 1.0
"""Seconds after which a waiting ``ready`` looks again, whatever it has heard."""


class NotReady(Exception):
    """The account has no client that the program may use now; the text says why, and what to do.

    ``cause`` is the last failure, as its event and its sentence, and ``action`` what a person should do; both are None
    if there is nothing.
    """

    def __init__(self, text: str, *, cause: str | None = None, action: Action | None = None) -> None:
        super().__init__(text)
        self.cause = cause
        self.action = action


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
        client = runner.usable_client if runner is not None else None
        if client is None:
            raise self._waits_for_a_person() or NotReady(f"{self.name} is {self.state} now; await ready() first")
        return client

    async def ready(self, *, timeout: float | None = None) -> Any:
        """Wait until the program may use the account, and return its client.

        Raises ``NotReady`` at once if no waiting helps: if the engine does not run, or if a person has to do something
        about the account, which is then in ``auth_failed``, parked or paused. With ``timeout`` (seconds) it waits in
        these cases too, in any case no longer than that, and raises ``NotReady`` at the end.
        """
        if timeout is not None and not (isinstance(timeout, int | float) and timeout >= 0):
            raise ValueError(f"timeout is a number of seconds from 0, not {timeout!r:.60}")
        with anyio.move_on_after(timeout):
            while True:
                with suppress(NotReady):
                    return self.client
                if timeout is None and (refusal := self._waits_for_a_person()) is not None:
                    raise refusal
                with anyio.move_on_after(LOOK_AGAIN):
                    await self._changed.wait()
        raise self._waits_for_a_person() or NotReady(
            f"{self.name} is {self.state} still, after {timeout:g} s; await ready() again, or see: status, log"
        )

    def _waits_for_a_person(self) -> NotReady | None:
        """Return why the account gets no client by itself, if it does not."""
        status = self.status
        last = status.last
        if self.name not in self._fleet.runners:
            return NotReady(f"{self.name} is not started; use it inside 'async with engine'")
        if last is None or not status.known:
            return None
        cause, action = cause_text(last), last.action
        if status.paused:
            return NotReady(f"{self.name} is paused; resume it to use it", cause=cause, action=action)
        if last.state is State.SHUTTING_DOWN:
            return NotReady(f"{self.name} is not used any more: the engine stops, or has ended", cause=cause)
        if last.state is State.AUTH_FAILED or last.parked:
            what = "in auth_failed" if last.state is State.AUTH_FAILED else "parked"
            why = f" ({one_line(cause)})" if cause else ""
            advice = ADVICE[action or Action.RETRY]
            return NotReady(f"{self.name} is {what}{why}; what to do: {advice}", cause=cause, action=action)
        return None

    def __repr__(self) -> str:
        if self.name not in self._fleet.runners:
            return f"<Account {self.name!r}: not started>"
        if not self.status.known or (snapshot := self.status.last) is None:
            return f"<Account {self.name!r}: {UNKNOWN}>"
        # A healthy account remembers its last loss, which is over; a limit of its is not.
        cause = snapshot.limited if snapshot.state is State.HEALTHY else snapshot.cause
        if cause is None and snapshot.state is State.HEALTHY and snapshot.restricted is not None:
            cause = Cause(event=CAUSES.get(snapshot.restricted.limit, snapshot.restricted.limit))
        why = f", {cause.event}: {cause.detail}".removesuffix(": ") if cause else ""
        return f"<Account {self.name!r}: {snapshot.state.value}{one_line(' '.join(why.split())):.80}>"

    def changed(self) -> None:
        """Let waiting tasks check the account again."""
        self._changed.notify()
