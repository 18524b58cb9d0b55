"""The faults of the recovery benchmark, each as it is done to one program, and what is measured then."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
from attrs import frozen

from adapters.sandbox import FaultKind
from tests.bench.harness import Kind, Outcome, Outcomes, RecoveryHarness, Subject
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
    run: Callable[[RecoveryHarness, Scale], Awaitable[Outcomes]]
    bound: Callable[[Scale], float] = lambda scale: scale.bound
    slack: float = 0.0
    """Seconds that the engine may be slower."""
    paced: bool = False
    """Whether the engine promises few connections here, and not that it is the first to be back: the time is shown and
    not judged."""


# --- over in a moment ------------------------------------------------------------------------------------------------


async def strokes(fault: FaultKind, harness: RecoveryHarness, scale: Scale) -> Outcomes:
    """Cut the connection again and again, in turn; until a request is answered again."""
    found: dict[str, list[Outcome]] = {kind.__name__: [] for kind in KINDS}
    async with harness.subject(Holdfast) as ours, harness.subject(Bare) as theirs:
        for _ in range(scale.strokes):
            for kind, subject in zip(KINDS, (ours, theirs), strict=True):
                await subject.program.settle()
                await subject.begin()
                await subject.hurt(fault)
                found[kind.__name__].append(await subject.answered(scale.bound))
    return found


# --- for a while -----------------------------------------------------------------------------------------------------


async def spell(
    fault: FaultKind,
    length: Callable[[Scale], float],
    few: bool,
    harness: RecoveryHarness,
    scale: Scale,
    **options: Any,
) -> Outcomes:
    """Let a fault stand for a while, beginning with a reset; from its end until a request is answered.

    ``few`` lets but one bare client suffer it: some of them bring a storm.
    """

    async def act(subject: Subject, nth: int) -> Outcome:
        await subject.program.settle()
        await subject.begin()
        await subject.hurt(fault, **options)
        await subject.hurt(FaultKind.RESET)
        # Telethon tries once a second: whether the end falls just before a try or just after must not matter.
        await anyio.sleep(length(scale) + PHASE_OF_TRIES * ((nth + 0.5) / scale.samples % 1))
        await subject.heal()
        return await subject.answered(scale.bound)

    return await harness.side_by_side({Holdfast: scale.spell_samples, Bare: 1 if few else scale.samples}, act)


async def half_open(harness: RecoveryHarness, scale: Scale) -> Outcomes:
    """Let nothing through the connection any more; until a request is answered on another one."""

    async def act(subject: Subject, nth: int) -> Outcome:
        await subject.program.settle()
        await anyio.sleep(scale.phase * nth / scale.samples)
        await subject.begin()
        subject.relay.freeze()
        return await subject.answered(scale.silence)

    return await harness.side_by_side({Holdfast: scale.samples, Bare: scale.samples}, act, relayed=True)


async def lost_update(harness: RecoveryHarness, scale: Scale) -> Outcomes:
    """Let a message come in during an outage; from its end until the handler hears it, and how often."""

    async def act(subject: Subject, _: int) -> Outcome:
        text = "said during the outage"
        heard = subject.program.heard
        await subject.program.settle()
        await subject.begin()
        await subject.hurt(FaultKind.REFUSE)
        await subject.hurt(FaultKind.RESET)
        await anyio.sleep(PUSHED_AFTER)
        await subject.push(text)
        await anyio.sleep(scale.outage - PUSHED_AFTER)
        await subject.heal()
        at = await subject.until(lambda: next((at for at, said in heard if said == text), None), scale.bound)
        await anyio.sleep(REPEATED_WITHIN)
        return await subject.outcome(at, times=[said for _, said in heard].count(text))

    return await harness.side_by_side({Holdfast: scale.samples, Bare: scale.samples}, act)


# --- for good --------------------------------------------------------------------------------------------------------


async def revoked(harness: RecoveryHarness, scale: Scale) -> Outcomes:
    """Revoke the login of a program that only listens; until it can tell."""

    async def act(subject: Subject, nth: int) -> Outcome:
        await subject.program.settle()
        await anyio.sleep(scale.phase * nth / scale.samples)
        await subject.begin()
        await subject.hurt(FaultKind.REVOKE)
        return await subject.outcome(await subject.until(lambda: subject.program.noticed, scale.bound))

    return await harness.side_by_side({Holdfast: scale.samples, Bare: 1}, act)


async def refused_difference(harness: RecoveryHarness, scale: Scale) -> Outcomes:
    """Answer the update loop, which asks for an update that it misses, with 401; until the program can tell."""

    async def act(subject: Subject, _: int) -> Outcome:
        await subject.program.settle()
        await subject.hurt(FaultKind.LOST_UPDATE, times=1)
        await subject.push("lost")
        await subject.hurt(
            FaultKind.RPC_ERROR, code=401, text=REVOKED, request="updates.getDifference", duration=scale.bound
        )
        await subject.begin()
        await subject.push("the next one")
        return await subject.outcome(await subject.until(lambda: subject.program.noticed, scale.bound))

    return await harness.side_by_side({Holdfast: scale.samples, Bare: scale.samples}, act)


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
        paced=True,
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
