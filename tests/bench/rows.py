"""The faults of the recovery benchmark, each as it is done to one program, and what is measured then."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
from attrs import frozen

from adapters.sandbox import FaultKind
from tests.bench.ground import Ground, Kind, Outcome, Outcomes, Seat
from tests.bench.programs import Bare, Holdfast

KINDS: tuple[Kind, ...] = (Holdfast, Bare)
REVOKED = "AUTH_KEY_UNREGISTERED"
PUSHED_AFTER = 0.5
"""Seconds into an outage at which the message comes in that must not be lost."""
PHASE_OF_TRIES = 1.0
REPEATED_WITHIN = 1.0
"""Seconds after a message was heard in which it could be heard again."""


@frozen(kw_only=True)
class Scale:
    """How long things last (seconds), and how often they are done."""

    strokes: int = 30
    """Resets, and FINs."""
    samples: int = 5
    """Programs side by side under the same long fault: what they do depends on chance and on the phase of timers."""
    spell_samples: int = 20
    """The engine's, where it waits by its back-off: whether a try comes just before the end of a fault is chance."""
    spell: float = 30.0
    flood: float = 10.0
    outage: float = 5.0
    bound: float = 100.0
    silence: float = 125.0
    """The bound of a half-open link, which Telethon notices after 60 to 120 s."""
    phase: float = 60.0
    """Faults of which timers take notice begin at moments spread over so long."""


@frozen
class Row:
    """One fault. ``run`` returns what became of each kind of program."""

    key: str
    fault: str
    """What happens, for the table; it may name fields of the scale."""
    measured: str
    run: Callable[[Ground, Scale], Awaitable[Outcomes]]
    bound: Callable[[Scale], float] = lambda scale: scale.bound
    slack: float = 0.0
    """Seconds that the engine may be slower."""


# --- over in a moment ------------------------------------------------------------------------------------------------


async def strokes(fault: FaultKind, ground: Ground, scale: Scale) -> Outcomes:
    """Cut the connection again and again, in turn; until a request is answered again."""
    found: dict[str, list[Outcome]] = {kind.__name__: [] for kind in KINDS}
    async with ground.seat(Holdfast) as ours, ground.seat(Bare) as theirs:
        for _ in range(scale.strokes):
            for kind, seat in zip(KINDS, (ours, theirs), strict=True):
                await seat.program.settle()
                await seat.begin()
                await seat.hurt(fault)
                found[kind.__name__].append(await seat.answered(scale.bound))
    return found


# --- for a while -----------------------------------------------------------------------------------------------------


async def spell(
    fault: FaultKind, length: Callable[[Scale], float], few: bool, ground: Ground, scale: Scale, **options: Any
) -> Outcomes:
    """Let a fault stand for a while, beginning with a reset; from its end until a request is answered.

    ``few`` lets but one bare client suffer it: some of them bring a storm.
    """

    async def act(seat: Seat, nth: int) -> Outcome:
        await seat.program.settle()
        await seat.begin()
        await seat.hurt(fault, **options)
        await seat.hurt(FaultKind.RESET)
        # Telethon tries once a second: whether the end falls just before a try or just after must not matter.
        await anyio.sleep(length(scale) + PHASE_OF_TRIES * ((nth + 0.5) / scale.samples % 1))
        await seat.heal()
        return await seat.answered(scale.bound)

    return await ground.side_by_side({Holdfast: scale.spell_samples, Bare: 1 if few else scale.samples}, act)


async def half_open(ground: Ground, scale: Scale) -> Outcomes:
    """Let nothing through the connection any more; until a request is answered on another one."""

    async def act(seat: Seat, nth: int) -> Outcome:
        await seat.program.settle()
        await anyio.sleep(scale.phase * nth / scale.samples)
        await seat.begin()
        seat.relay.freeze()
        return await seat.answered(scale.silence)

    return await ground.side_by_side({Holdfast: scale.samples, Bare: scale.samples}, act, relayed=True)


async def lost_update(ground: Ground, scale: Scale) -> Outcomes:
    """Let a message come in during an outage; from its end until the handler hears it, and how often."""

    async def act(seat: Seat, _: int) -> Outcome:
        text = "said while nobody listened"
        heard = seat.program.heard
        await seat.program.settle()
        await seat.begin()
        await seat.hurt(FaultKind.REFUSE)
        await seat.hurt(FaultKind.RESET)
        await anyio.sleep(PUSHED_AFTER)
        await seat.push(text)
        await anyio.sleep(scale.outage - PUSHED_AFTER)
        await seat.heal()
        at = await seat.until(lambda: next((at for at, said in heard if said == text), None), scale.bound)
        await anyio.sleep(REPEATED_WITHIN)
        return await seat.outcome(at, times=[said for _, said in heard].count(text))

    return await ground.side_by_side({Holdfast: scale.samples, Bare: scale.samples}, act)


# --- for good --------------------------------------------------------------------------------------------------------


async def revoked(ground: Ground, scale: Scale) -> Outcomes:
    """Revoke the login of a program that only listens; until it can tell."""

    async def act(seat: Seat, nth: int) -> Outcome:
        await seat.program.settle()
        await anyio.sleep(scale.phase * nth / scale.samples)
        await seat.begin()
        await seat.hurt(FaultKind.REVOKE)
        return await seat.outcome(await seat.until(lambda: seat.program.noticed, scale.bound))

    return await ground.side_by_side({Holdfast: scale.samples, Bare: 1}, act)


async def refused_difference(ground: Ground, scale: Scale) -> Outcomes:
    """Answer the update loop, which asks for an update that it misses, with 401; until the program can tell."""

    async def act(seat: Seat, _: int) -> Outcome:
        await seat.program.settle()
        await seat.hurt(FaultKind.LOST_UPDATE, times=1)
        await seat.push("lost")
        await seat.hurt(
            FaultKind.RPC_ERROR, code=401, text=REVOKED, request="updates.getDifference", duration=scale.bound
        )
        await seat.begin()
        await seat.push("the next one")
        return await seat.outcome(await seat.until(lambda: seat.program.noticed, scale.bound))

    return await ground.side_by_side({Holdfast: scale.samples, Bare: scale.samples}, act)


QUIET = (
    Row("reset", "reset", "answered", partial(strokes, FaultKind.RESET), slack=0.05),
    Row("fin", "FIN", "answered", partial(strokes, FaultKind.CLOSE), slack=0.05),
)
LONG = (
    Row(
        "refused",
        "port refused for {spell:g} s",
        "answered",
        partial(spell, FaultKind.REFUSE, lambda scale: scale.spell, False),
    ),
    Row("half-open", "blackhole: the link is half-open, new ones work", "answered", half_open, lambda s: s.silence),
    Row("revoked", "login revoked", "noticed", revoked),
    Row("update-401", "401 in the update loop", "noticed", refused_difference),
    Row("lost-update", "message during an outage of {outage:g} s", "heard", lost_update),
)
STORMS = (
    Row(
        "flood",
        "transport error −429 for {flood:g} s",
        "answered",
        partial(spell, FaultKind.TRANSPORT_ERROR, lambda scale: scale.flood, True, code=-429),
    ),
    Row(
        "accept-then-close",
        "accepted, then closed for {spell:g} s",
        "answered",
        partial(spell, FaultKind.ACCEPT_THEN_CLOSE, lambda scale: scale.spell, True),
    ),
)
