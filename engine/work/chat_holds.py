"""Which chats wait for the end of an account's limit: no other account does there what that one may not do now."""

from collections.abc import Iterable
from typing import Any, Final

from attrs import define, evolve, field, frozen

from states.clock import move_end
from states.jobs import FLOOD_WAIT, Job, KeptBack

CHAT_KEYS: Final = ("chat", "to")
"""Where the data of a job may say which chat it is for, as those of the built-in kinds do."""
MAX_CHATS: Final = 10_000
"""Chats that are remembered; of more, those whose wait ends first are forgotten."""
_SAME_CHAT: Final = " in the same chat"
_ADDRESSES: Final = ("https://t.me/", "http://t.me/", "t.me/", "@")


def chat_of(job: Job) -> str | None:
    """Return the chat that a job is for, in one spelling; None if its data name none."""
    for key in CHAT_KEYS:
        value: Any = job.data.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and value:
            name = value.strip().casefold()
            for address in _ADDRESSES:
                name = name.removeprefix(address)
            return name.strip("/")
    return None


def details_of(request: str) -> tuple[str, str]:
    """Return the details of the jobs that wait for a hold of these requests: that met it, or another for their chat."""
    return f"{FLOOD_WAIT}{request}", f"{FLOOD_WAIT}{request}{_SAME_CHAT}"


def _awaited(job: Job) -> str | None:
    """Return whose hold a stored job waits for; None if that concerns no other account, as slow mode does not."""
    detail = job.detail.removesuffix(_SAME_CHAT)
    request = detail.removeprefix(FLOOD_WAIT)
    return None if request == detail or " in " in request else request


@frozen
class _ChatHold:
    account: str
    until: float
    length: float | None
    request: str


@define(eq=False)
class ChatHolds:
    """The waits of chats, by kind of job. Times are Unix seconds."""

    _held: dict[tuple[str, str], _ChatHold] = field(factory=dict, init=False)

    def restore(self, jobs: Iterable[Job]) -> None:
        """Take over the waits that stored jobs are in."""
        for job in jobs:
            if job.account is not None and job.due is not None and (request := _awaited(job)) is not None:
                self.hold(job, job.account, job.due, job.wait, request)

    def hold(self, job: Job, account: str, until: float, length: float | None, request: str) -> None:
        """Let no account do jobs of this kind for the job's chat before then; ``length`` s in all.

        The account met a hold of ``request``.
        """
        chat = chat_of(job)
        if chat is None:
            return
        known = self._held.get((job.kind, chat))
        if known is None or until > known.until:
            self._held[job.kind, chat] = _ChatHold(account, until, length, request)
        if len(self._held) > MAX_CHATS:
            del self._held[min(self._held, key=lambda key: self._held[key].until)]

    def keeps(self, job: Job, now: float) -> KeptBack | None:
        """Return how long a job that any account may do has to wait, and with which one; None if it may begin."""
        if not self._held or job.account is not None or (chat := chat_of(job)) is None:
            return None
        if (found := self._held.get((job.kind, chat))) is None:
            return None
        if found.until <= now:
            del self._held[job.kind, chat]
            return None
        return KeptBack(found.account, found.until, details_of(found.request)[1])

    def release(self, account: str, request: str) -> None:
        """End the waits for a limit of an account, which is over."""
        for key in [key for key, held in self._held.items() if (held.account, held.request) == (account, request)]:
            del self._held[key]

    def move(self, shift: float, now: float) -> None:
        """Move all waits with a clock that was set by ``shift`` seconds and is now at ``now``."""
        for key, held in self._held.items():
            self._held[key] = evolve(held, until=move_end(held.until, held.length, shift, now))
