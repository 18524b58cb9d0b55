"""The socket of an engine with workers: one for all. Each command goes on to the worker that has the account."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import SocketStream
from attrs import define, field

from engine.console.names import matching
from engine.control.client import BEYOND_GRACE_TIMEOUT, EngineSilent
from engine.control.handlers import Reload
from engine.control.protocol import CommandOutcome, RefusalReason, Request, Unwritten, Verb, refuse
from engine.control.relay import ask, ask_and_hold
from states.waits import RequestWait

LOOK_SECONDS: Final = 4.0
"""For a worker to say what it has: less than a command waits for the answer."""
NOBODY: Final = (
    "no worker of this engine has it now: it is on its way to another, or at another node; ask again in a moment"
)
SILENT: Final = "no worker that answers has it now, and {} not answer: the log says why, or ask again in a moment"


@define(eq=False)
class WorkersControl:
    """Carries commands out with the workers that live, see ``engine.control.server.Commands``."""

    accounts: Sequence[str]
    """Those of the config: each is with one of the workers, or at another node, or on its way."""
    sockets: Callable[[], Mapping[int, Path]]
    """Returns where the workers that live listen."""
    grace: float
    reload_config: Reload | None = None
    """Reads the config again and has the workers apply it; returns the answer."""
    engine: str = ""
    """The identity under which all workers write what they know."""
    since: float = field(factory=time.time)
    _held: dict[str, SocketStream] = field(factory=dict, init=False)
    """Connections to workers that pause an account for as long as they stand."""
    _unwritten: Unwritten | None = field(default=None, init=False)
    _waits: dict[str, list[RequestWait]] = field(factory=dict, init=False)

    _silent: set[int] = field(factory=set, init=False)
    """The workers that did not answer when they were asked last."""

    @property
    def timeout(self) -> float:
        """Seconds that any command may take."""
        return self.grace + BEYOND_GRACE_TIMEOUT - LOOK_SECONDS

    @property
    def names(self) -> Sequence[str]:
        """The names of all accounts."""
        return self.accounts

    @property
    def jobs_changed(self) -> Callable[[], None]:
        """The workers have been told already: they looked."""
        return lambda: None

    @property
    def unwritten(self) -> Unwritten | None:
        """What the workers could not write when they were asked last."""
        return self._unwritten

    def waits(self) -> Mapping[str, Sequence[RequestWait]]:
        """Return the requests that waited in place when the workers were asked last."""
        return self._waits

    def info(self) -> dict[str, Any]:
        """Describe this engine."""
        return {
            "pid": os.getpid(),
            "since": self.since,
            "accounts": len(self.accounts),
            "workers": sorted(self.sockets()),
        }

    def memory(self) -> dict[str, Any]:
        """Return nothing: see ``answer``."""
        return {}

    async def look(self) -> None:
        """Have all workers look at the store, and keep what they say."""
        answers = await self.ask_all(Request(Verb.JOBS), LOOK_SECONDS)
        self._waits, rows, why = {}, 0, None
        for answer in answers.values():
            for name, found in answer.get("waits", {}).items():
                self._waits[name] = [RequestWait(*each) for each in found]
            if (unwritten := answer.get("unwritten")) is not None:
                rows, why = rows + unwritten["rows"], why or unwritten["why"]
        self._unwritten = None if why is None else Unwritten(rows, why)

    async def answer(self, request: Request) -> dict[str, Any] | None:
        """Return the workers' answer to a request as a whole; None if it is for each account apart."""
        if request.do is Verb.REQUEST:
            return self._refer()
        if request.do is Verb.MEMORY:
            found = await self.ask_all(request, LOOK_SECONDS)
            return {"ok": True, "memory": {name: at for each in found.values() for name, at in each["memory"].items()}}
        if request.do not in (Verb.PAUSE, Verb.RESUME, Verb.RETRY) or not matching(self.accounts, request.account):
            return None
        found = await self.ask_all(request, self.timeout)
        outcomes = [each for answer in found.values() for each in answer["accounts"]]
        if not outcomes:
            return refuse(RefusalReason.FAILED, self._nobody(request.account))
        order = {name: number for number, name in enumerate(self.accounts)}
        return {"ok": True, "accounts": sorted(outcomes, key=lambda each: order.get(each["account"], len(order)))}

    def _refer(self) -> dict[str, Any]:
        """Send a program on to a worker, which knows where the account is."""
        if not (sockets := self.sockets()):
            return refuse(RefusalReason.BUSY, "no worker of this engine runs now; try again in a moment")
        sentence = "the accounts of this engine are with its workers"
        return {**refuse(RefusalReason.ELSEWHERE, sentence), "directory": str(sockets[min(sockets)].parent.absolute())}

    async def ask_all(self, request: Request, timeout: float) -> dict[int, dict[str, Any]]:
        """Ask all workers that live, and return the answers of the workers that gave one, and did not refuse."""
        answers: dict[int, dict[str, Any]] = {}

        async def ask_one(number: int, socket: Path) -> None:
            try:
                answer = await ask(socket, request, timeout=timeout)
            except EngineSilent:
                self._silent.add(number)  # it is just starting, or ending, and has no account; or it hangs
                return
            self._silent.discard(number)
            if answer.get("ok"):
                answers[number] = answer

        async with anyio.create_task_group() as tasks:
            for number, socket in self.sockets().items():
                tasks.start_soon(ask_one, number, socket)
        return answers

    async def pause(self, account: str) -> CommandOutcome:
        """Pause an account."""
        return await self._one(Request(Verb.PAUSE, account))

    async def resume(self, account: str) -> CommandOutcome:
        """Resume an account."""
        return await self._one(Request(Verb.RESUME, account))

    async def retry(self, account: str) -> CommandOutcome:
        """Try an account again."""
        return await self._one(Request(Verb.RETRY, account))

    async def _one(self, request: Request) -> CommandOutcome:
        for answer in (await self.ask_all(request, self.timeout)).values():
            for each in answer["accounts"]:
                return CommandOutcome(each["account"], each["done"], each["said"])
        return CommandOutcome(request.account, False, self._nobody(request.account))

    async def hold(self, account: str) -> CommandOutcome:
        """Have the worker that has an account pause it until it is released."""
        for number, socket in self.sockets().items():
            try:
                answer, connection = await ask_and_hold(socket, Request(Verb.HOLD, account), timeout=self.timeout)
            except EngineSilent:
                self._silent.add(number)
                continue
            self._silent.discard(number)
            if answer.get("ok"):
                (each,) = answer["accounts"]
                outcome = CommandOutcome(each["account"], each["done"], each["said"])
                if outcome.done:
                    self._held[account] = connection
                else:
                    await anyio.aclose_forcefully(connection)
                return outcome
            await anyio.aclose_forcefully(connection)
        return CommandOutcome(account, False, self._nobody(account))

    def _nobody(self, account: str) -> str:
        """Return why nothing was done for an account: workers that do not answer may have it."""
        if not (silent := sorted(self._silent & self.sockets().keys())):
            return f"{account}: {NOBODY}"
        numbers = ", ".join(map(str, silent))
        who = f"worker {numbers} does" if len(silent) == 1 else f"workers {numbers} do"
        return f"{account}: {SILENT.format(who)}"

    async def release(self, account: str) -> None:
        """End a hold: the worker resumes the account when its connection is gone."""
        if (connection := self._held.pop(account, None)) is not None:
            await anyio.aclose_forcefully(connection)

    async def reload(self, config: str, *, dry_run: bool) -> dict[str, Any]:
        """Have the config read again; return the answer."""
        if self.reload_config is None:
            return refuse(RefusalReason.REFUSED, "this engine cannot read its config again")
        return await self.reload_config(config, dry_run=dry_run)
