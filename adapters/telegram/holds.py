"""Holds on kinds of requests, and the requests that wait in place until their hold is over.

A request that meets a hold, or a flood wait, that is over soon enough for its caller waits here and is sent then. Those
that wait for the same hold stand in a line: the first one is sent when the hold is over, and the next one when that was
answered. So a hold that comes back costs one request, and nothing is ever sent into a hold.
"""

import asyncio
import contextvars
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import attrs
from attrs import define, field
from telethon import errors, utils
from telethon.tl.functions.help import GetAppConfigRequest

from adapters.system import ContinuousClock
from adapters.telegram.cancellation import begin_request
from adapters.telegram.classify import (
    WAIT_ERRORS,
    RequestDropped,
    RequestHeld,
    Unanswered,
    is_of_chat,
    kind_in_chat,
    kind_of,
)
from adapters.telegram.limits import freeze_of, limits_on, proves_end
from states.events import AccountLimited, Event, LimitLifted
from states.limits import LIMIT_SECONDS, OF_REQUESTS, WRITES
from states.waits import RequestWait

T = TypeVar("T")

CLOCK: Final = ContinuousClock()
"""What holds are measured by: it cannot be set, and goes on while the machine sleeps."""
SLACK_SECONDS: Final = 1.0
"""Added to a wait that the server asked for, until the account's own decision takes its place."""
MAX_BOUND: Final = 86_400.0
"""Seconds of the longest wait in place that can be asked for, as in Telethon."""
MAX_WAITING: Final = 100
"""Requests of one client that may wait in place; the next one is refused at once."""
MAX_FLOODS: Final = 5
"""Holds of its kind, one after the other, that a request waits for; Telethon tries as often."""
FLOODS: Final = (errors.FloodError, *WAIT_ERRORS)
CONFIG_TIMEOUT: Final = 10.0
"""Seconds that the datacenter has to say more about a frozen account."""
SLICE_SECONDS: Final = 5.0
"""The longest sleep: timers stand still while the machine sleeps, and holds do not."""


@define(eq=False)
class _WaitingPlace:
    """A request's place in a line."""

    bound: float
    context: contextvars.Context = field(factory=contextvars.copy_context)
    """That of the caller, by which others find out whose request it is."""
    kind: str | None = None
    """The hold in whose line it stands; None while it stands in none."""
    floods: int = 0
    """Floods that its request met, and holds that have begun while it waited."""
    out: bool = False
    """Whether it was sent, and has no answer yet."""
    _changed: asyncio.Event = field(factory=asyncio.Event)

    def waits(self, kind: str, seconds: float) -> bool:
        """Return whether it waits for a hold with so much left: not for the end of a limit, which nobody knows."""
        patient = 0 < self.bound >= seconds - SLACK_SECONDS
        return patient and self.floods <= MAX_FLOODS and kind not in OF_REQUESTS

    def wake(self) -> None:
        """Have it look again."""
        self._changed.set()

    async def sleep(self, seconds: float | None) -> None:
        """Sleep until it is woken, at most for so long."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


@define(eq=False)
class _HoldLine:
    """Requests that wait for one hold, in order; the first one may be out."""

    places: list[_WaitingPlace] = field(factory=list)
    open: bool = False
    """Whether one was answered since the hold ended: those that come now need not wait."""


@define(eq=False)
class RequestHolds:
    """The holds of one client. Times are those of ``now``, in seconds."""

    now: Callable[[], float] = CLOCK.now
    _until: dict[str, float] = field(factory=dict, init=False)
    _lines: dict[str, _HoldLine] = field(factory=dict, init=False)
    _closed: bool = field(default=False, init=False)

    def __bool__(self) -> bool:
        """Return whether a request may have to wait."""
        return bool(self._until or self._lines)

    def hold(self, kind: str, until: float) -> None:
        """Send no request of this kind until then, whatever was said before."""
        self._until[kind] = until
        self._wake(kind)

    def release(self, kind: str, until: float) -> None:
        """End the hold that ends then; any other stays."""
        if self._until.get(kind) == until:
            self.hold(kind, 0.0)

    def flood(self, kind: str, seconds: float) -> None:
        """Send no request of this kind for this long at least: the server has just said so."""
        now = self.now()
        before = self._until.get(kind, 0.0)
        if (line := self._lines.get(kind)) is not None:
            line.open = False
            for place in line.places if before <= now else ():
                place.floods += not place.out
        self._until[kind] = max(before, now + seconds + SLACK_SECONDS)
        self._wake(kind)

    @property
    def concern_chats(self) -> bool:
        """Whether there is a hold, or a line, of a single chat."""
        return any(map(is_of_chat, (*self._until, *self._lines)))

    def waits(self) -> tuple[RequestWait, ...]:
        """Return what waits in place now, by kind; times are Unix seconds."""
        shift, now, found = time.time() - self.now(), self.now(), []
        for kind, line in sorted(self._lines.items()):
            if count := sum(not place.out for place in line.places):
                found.append(RequestWait(kind, max(self._until.get(kind, now), now) + shift, count))
        return tuple(found)

    def contexts(self) -> Iterable[contextvars.Context]:
        """Yield the contexts of the callers whose requests wait in place."""
        for line in self._lines.values():
            yield from (place.context for place in line.places if not place.out)

    def check(self, request: Any, kinds: Iterable[str]) -> None:
        """Raise ``RequestHeld`` if a request of these kinds is held."""
        kind, until = self._longest(kinds)
        if until:
            raise RequestHeld(request, math.ceil(until - self.now()), kind)

    async def send(self, request: Any, kinds: Sequence[str], bound: float, send: Callable[[], Awaitable[T]]) -> T:
        """Send a request by ``send`` as soon as none of its kinds is held; wait for that, ``bound`` s for each hold.

        A flood wait of at most ``bound`` s is waited for as well, and the request sent again. Raises ``RequestHeld``
        for a hold that lasts longer, and ``RequestDropped`` when the link is over.
        """
        place = _WaitingPlace(bound)
        try:
            while True:
                await self._admit(request, kinds, place)
                place.out = True
                try:
                    answer = await send()
                except FLOODS as exc:
                    place.out, place.floods = False, place.floods + 1
                    kind, until = self._longest(kinds)
                    unmet = isinstance(exc, RequestHeld) or not until  # it is of another request, or no wait at all
                    if unmet or not place.waits(kind, until - self.now()):
                        raise
                except (ConnectionError, Unanswered):
                    raise
                except Exception:  # any other refusal is an answer, too
                    self._open(place)
                    raise
                else:
                    self._open(place)
                    return answer
        finally:
            self._leave(place)

    def close(self) -> None:
        """End all waiting: the link is over."""
        self._closed = True
        for kind in list(self._lines):
            self._wake(kind)

    async def _admit(self, request: Any, kinds: Sequence[str], place: _WaitingPlace) -> None:
        """Return when the request may be sent."""
        while self:
            kind, until = self._longest(kinds)
            left = until - self.now()
            if until:
                if not place.waits(kind, left):
                    raise RequestHeld(request, math.ceil(left), kind)
            elif place.kind is not None:
                if self._lines[place.kind].places[0] is place:
                    return
                kind = place.kind
            elif place.bound and (probed := self._probed(kinds)) is not None:
                kind = probed
            else:
                return
            if self._closed:
                raise RequestDropped
            if place.kind != kind:
                self._leave(place)
                self._join(request, kind, place, math.ceil(max(left, 1.0)))
            first = self._lines[kind].places[0] is place
            await place.sleep(min(left, SLICE_SECONDS) if until and first else None)

    def _longest(self, kinds: Iterable[str]) -> tuple[str, float]:
        """Return the longest of the holds on these kinds, and its end; 0 if there is none."""
        now = self.now()
        for kind in [kind for kind, until in self._until.items() if until <= now]:
            del self._until[kind]
        return max(((kind, self._until.get(kind, 0.0)) for kind in kinds), key=lambda each: (each[1], each[0]))

    def _probed(self, kinds: Iterable[str]) -> str | None:
        """Return which of these kinds has a line whose first request has not been answered since the hold."""
        return next((kind for kind in kinds if kind in self._lines and not self._lines[kind].open), None)

    def _join(self, request: Any, kind: str, place: _WaitingPlace, seconds: int) -> None:
        if sum(len(line.places) for line in self._lines.values()) >= MAX_WAITING:
            raise RequestHeld(request, seconds, kind)
        self._lines.setdefault(kind, _HoldLine()).places.append(place)
        place.kind = kind

    def _open(self, place: _WaitingPlace) -> None:
        """Let those pass that come from now on, unless several were sent at once and one of them met a flood."""
        if place.kind is not None:
            self._lines[place.kind].open = self._until.get(place.kind, 0.0) <= self.now()

    def _leave(self, place: _WaitingPlace) -> None:
        kind, place.kind = place.kind, None
        if kind is None:
            return
        line = self._lines[kind]
        line.places.remove(place)
        if line.places:
            line.places[0].wake()
        else:
            del self._lines[kind]

    def _wake(self, kind: str) -> None:
        line = self._lines.get(kind)
        for place in line.places if line is not None else ():
            place.wake()


class HoldingClient:
    """The part of ``LinkClient`` that keeps requests from being sent into a hold."""

    holds: RequestHolds
    wait_up_to: Callable[[], float] = staticmethod(float)
    """Returns the seconds that a request waits in place for a hold, unless its caller or a borrower says otherwise."""
    limits: frozenset[str] = frozenset()
    """The limits of some requests that are in force, as far as is known; each is a kind that is held, too."""
    known: dict[int, bool]
    """People who know the account, by id; see ``limits_on``."""
    number: int
    request_timeout: float
    report: Callable[[Event], None]
    _borrowed_bound: float | None = None
    _sender: Any

    @property
    def flood_sleep_threshold(self) -> float:
        """Seconds that a request waits in place for a flood wait; whoever borrows the client may set it."""
        return self.wait_up_to() if self._borrowed_bound is None else self._borrowed_bound

    @flood_sleep_threshold.setter
    def flood_sleep_threshold(self, value: float | None) -> None:
        self._borrowed_bound = _bounded(value or 0.0)

    def hold(self, request: str, until: float) -> None:
        """Send no request of this kind until then (Unix seconds), however the clock is set meanwhile."""
        self.holds.hold(request, CLOCK.now() + (until - time.time()))
        if request in OF_REQUESTS:
            self.limits = self.limits | {request} if until else self.limits - {request}

    def _bound_of(self, threshold: float | None) -> float:
        """Return how long a request may wait for each hold: not at all before the connection is proven."""
        if not self._sender.gated:
            return 0.0
        return self.flood_sleep_threshold if threshold is None else _bounded(threshold)

    async def _check_holds(self, request: Any) -> None:
        """Raise ``RequestHeld`` if a request is held: it does not wait."""
        if self.holds:
            self.holds.check(request, await self._kinds(request))

    async def _kinds(self, request: Any, *, resolve: bool = False) -> list[str]:
        """Return the kinds under which a request may be held; for a chat's slow mode its peer must be known.

        With ``resolve`` it is made known now, so that what is asked for that may wait before the request's own deadline
        begins.
        """
        kinds = ["any", kind_of(request)]
        if (resolve or self.holds.concern_chats) and hasattr(request, "resolve"):
            await request.resolve(self, utils)
            kinds.append(kind_in_chat(request))
        if self.limits:
            kinds += await limits_on(self, request, self.limits)
        return kinds

    def _note_limit(self, event: AccountLimited) -> None:
        """Hold what a limit concerns from now on, and report it; of a frozen account, with what is known of its end."""
        known = event.limit in self.limits
        self.limits |= {event.limit}
        self.holds.hold(event.limit, CLOCK.now() + LIMIT_SECONDS)
        if known or event.limit != WRITES:
            self.report(event)
            return

        def conclude(answer: Callable[[], object]) -> None:
            deletion, appeal = None, ""
            with suppress(Exception):  # whatever came of it: the limit is told
                deletion, appeal = freeze_of(answer())
            self.report(attrs.evolve(event, deletion=deletion, appeal=appeal))

        begin_request(partial(self._sender.direct.send, GetAppConfigRequest(0)), CONFIG_TIMEOUT, conclude)

    def _probing(
        self, request: Any, kinds: Sequence[str], send: Callable[[], Awaitable[T]]
    ) -> Callable[[], Awaitable[T]]:
        """Return what sends a request: alone, if it finds out whether a limit is over whose hold has ended.

        However many wait for that end, one is sent, and the others are held until it was answered.
        """
        limits = [limit for limit in self.limits.intersection(kinds) if proves_end(request, limit)]
        return partial(self._send_alone, limits, send) if limits else send

    async def _send_alone(self, limits: Sequence[str], send: Callable[[], Awaitable[T]]) -> T:
        until = CLOCK.now() + self.request_timeout + SLACK_SECONDS
        for limit in limits:
            self.holds.hold(limit, until)
        try:
            return await send()
        finally:
            for limit in limits:
                self.holds.release(limit, until)

    def _note_success(self, request: Any, kinds: Sequence[str]) -> None:
        """Report that a limit is over, if a request was carried out that it concerned."""
        for limit in self.limits.intersection(kinds):
            if proves_end(request, limit):
                self.limits -= {limit}
                self.report(LimitLifted(link=self.number, limit=limit))


def _bounded(seconds: float) -> float:
    return min(max(0.0, float(seconds)), MAX_BOUND)


def waits_of(client: Any) -> tuple[RequestWait, ...]:
    """Return which requests of a client wait in place; none of a client that does not wait itself."""
    return client.holds.waits() if isinstance(client, HoldingClient) and client.holds else ()


def contexts_of(client: Any) -> Iterable[contextvars.Context]:
    """Return the contexts of the callers whose requests wait in place."""
    return client.holds.contexts() if isinstance(client, HoldingClient) and client.holds else ()


class _FloodMet(Exception):
    """Carries a flood wait past Telethon, which would sleep through it without a word to the account."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class AwakeOutlet:
    """What Telethon sends a request through, so that it does not sleep through a flood wait by itself."""

    __slots__ = ("_send",)

    def __init__(self, send: Callable[..., Any]) -> None:
        self._send = send

    def send(self, request: Any, ordered: bool = False) -> Any:
        """Return what to await for the answer, or a list of that for several requests: for those it never sleeps."""
        answer = self._send(request, ordered=ordered)
        return answer if isinstance(answer, list) else _awake(answer)


async def _awake(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except WAIT_ERRORS as exc:
        raise _FloodMet(exc) from None


async def unwrapped(answer: Awaitable[T]) -> T:
    """Await what Telethon makes of an ``AwakeOutlet``'s answer; raise a flood wait as it came."""
    try:
        return await answer
    except _FloodMet as met:
        error = met.error
    try:
        raise error  # out of the handler, or the two would refer to each other until a collection
    finally:
        del error
