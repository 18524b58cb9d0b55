"""Chaos: a random scenario of everything that heals by itself, always the same for a seed.

Time is cut into slots, and in each slot of each account one thing goes wrong. Left out is what needs the operator (a
revoked or duplicated login, a ban), what makes an account wait for long (many unknown keys in a row), what only the
next comparison of numbers shows (a lost difference, a wrong number), and what only a hostile datacenter does.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from adapters.sandbox.control.commands import MAX_SCENARIO_SECONDS, MAX_STEPS, Action, Push, TimedAction
from adapters.sandbox.errors import SandboxError
from adapters.sandbox.faults.fault import Fault
from adapters.sandbox.faults.kinds import FAULT_RULES, FaultKind

ACTIVE_FRACTION: Final = 0.8
"""After this fraction of the time no fault begins or lasts, so that every account can heal."""
QUIET_FRACTION: Final = 0.02
SLOT_SECONDS: Final = 8.0
MAX_FAULT_FRACTION: Final = 0.6
"""How much of its slot a fault may last; in the rest its account recovers."""

Incident: TypeAlias = tuple[float, Action]
"""Seconds since the start of the slot, and the action."""
Recipe: TypeAlias = Callable[[random.Random, str, float], Sequence[Incident]]
"""One thing that goes wrong, for an account (its phone), over in so many seconds."""


def chaos(seed: int, phones: Sequence[str], duration: float) -> tuple[TimedAction, ...]:
    """Return a scenario of ``duration`` seconds for these accounts. Pure: the same arguments give the same steps.

    Each recipe occurs at least once, and every account is hit unless there are more than a scenario has room for.
    Raises SandboxError without accounts, and for a duration out of range.
    """
    if not phones:
        raise SandboxError("Chaos needs an account; name at least one phone number.")
    if not 0 < duration <= MAX_SCENARIO_SECONDS:
        raise SandboxError(f"Chaos lasts more than 0 and at most {MAX_SCENARIO_SECONDS:.0f} s, not {duration} s.")
    rng = random.Random(seed)
    begin, end = duration * QUIET_FRACTION, duration * ACTIVE_FRACTION
    max_recipes = MAX_STEPS // MAX_INCIDENTS
    affected = rng.sample(list(phones), min(len(phones), max_recipes))
    wanted = max(int((end - begin) / SLOT_SECONDS), -(-len(RECIPES) // len(affected)), 1)
    slots = max(1, min(wanted, max_recipes // len(affected)))
    length = (end - begin) / slots
    steps: list[TimedAction] = []
    for phone, hand in zip(affected, _deal(rng, len(affected), slots), strict=True):
        for slot, recipe in enumerate(hand):
            start = begin + slot * length
            late = rng.uniform(0, length * (1 - MAX_FAULT_FRACTION) / 2)
            for offset, action in recipe(rng, phone, length * MAX_FAULT_FRACTION):
                steps.append(TimedAction(start + late + offset, action))
    return tuple(sorted(steps, key=lambda step: step.at))


def _deal(rng: random.Random, accounts: int, slots: int) -> list[list[Recipe]]:
    """Deal recipes to the slots of each account, from as many shuffled decks as it takes.

    A recipe that heals slowly is dealt to an account at most once, and comes first: after a transport flood an engine
    waits for half a minute, and after each unknown key in a row twice as long.
    """
    deck = _endless_recipes(rng)
    hands: list[list[Recipe]] = [[] for _ in range(accounts)]
    kept: list[Recipe] = []
    for hand, _ in itertools.product(hands, range(slots)):
        index = next((i for i, recipe in enumerate(kept) if recipe not in hand), None)
        recipe = kept.pop(index) if index is not None else next(deck)
        while recipe in SLOW_TO_HEAL and recipe in hand:
            if recipe not in kept:
                kept.append(recipe)
            recipe = next(deck)
        hand.append(recipe)
    for hand in hands:
        hand.sort(key=lambda recipe: recipe not in SLOW_TO_HEAL)
    return hands


def _endless_recipes(rng: random.Random) -> Iterator[Recipe]:
    while True:
        yield from rng.sample(RECIPES, len(RECIPES))


# The recipes


def _lasting(kind: FaultKind) -> Recipe:
    def recipe(rng: random.Random, phone: str, max_seconds: float) -> Sequence[Incident]:
        return [(0, Fault(kind, phone, rng.uniform(0.3, 1) * max_seconds))]

    return recipe


def _at_once(kind: FaultKind) -> Recipe:
    return lambda rng, phone, max_seconds: [(rng.uniform(0, max_seconds), Fault(kind, phone))]


def _unreachable(kind: FaultKind, cut: FaultKind) -> Recipe:
    """Turn new connections away, and cut the existing one so that the client notices."""

    def recipe(rng: random.Random, phone: str, max_seconds: float) -> Sequence[Incident]:
        return [(0, Fault(kind, phone, rng.uniform(0.3, 1) * max_seconds)), (0, Fault(cut, phone))]

    return recipe


def _on_a_request(kind: FaultKind) -> Recipe:
    # With a time, because a request that never comes must not be hit after the end.
    return lambda rng, phone, max_seconds: [(0, Fault(kind, phone, max_seconds, times=1))]


def _slow(rng: random.Random, phone: str, max_seconds: float) -> Sequence[Incident]:
    return [(0, Fault(FaultKind.SLOW, phone, max_seconds, seconds=rng.uniform(0.05, 0.5) * max_seconds))]


def _refused(code: int, text: str) -> Recipe:
    def recipe(rng: random.Random, phone: str, max_seconds: float) -> Sequence[Incident]:
        times = rng.randint(1, 2)
        error = Fault(
            FaultKind.RPC_ERROR, phone, max_seconds, times=times, request="updates.getState", code=code, text=text
        )
        return [(0, error)]

    return recipe


def _flood(rng: random.Random, phone: str, max_seconds: float) -> Sequence[Incident]:
    return [(0, Fault(FaultKind.TRANSPORT_ERROR, phone, max_seconds, times=1, code=-429))]


def _unknown_key(rng: random.Random, phone: str, max_seconds: float) -> Sequence[Incident]:
    return [(0, Fault(FaultKind.TRANSPORT_ERROR, phone, max_seconds, times=rng.randint(1, 2), code=-404))]


def _bad_salt(rng: random.Random, phone: str, max_seconds: float) -> Sequence[Incident]:
    return [(0, Fault(FaultKind.BAD_SALT, phone, max_seconds, times=rng.randint(1, 5)))]


def _bad_msg(rng: random.Random, phone: str, max_seconds: float) -> Sequence[Incident]:
    code = rng.choice(FAULT_RULES[FaultKind.BAD_MSG].codes)
    return [(0, Fault(FaultKind.BAD_MSG, phone, max_seconds, times=1, code=code))]


def _wrong_clock(rng: random.Random, phone: str, max_seconds: float) -> Sequence[Incident]:
    return [
        (0, Fault(FaultKind.CLOCK_OFFSET, phone, rng.uniform(0.3, 1) * max_seconds, seconds=rng.choice((-400, 60))))
    ]


def _lost_updates(rng: random.Random, phone: str, max_seconds: float) -> Sequence[Incident]:
    """Return two messages that are not pushed, and one afterwards that shows the gap."""
    lost = [(max_seconds * part, Push(phone, f"Lost {rng.randrange(10**6)}")) for part in (0.2, 0.5)]
    found = (max_seconds * 0.9, Push(phone, f"Found {rng.randrange(10**6)}"))
    return [(0, Fault(FaultKind.LOST_UPDATE, phone, max_seconds * 0.8)), *lost, found]


def _unknown_update(rng: random.Random, phone: str, max_seconds: float) -> Sequence[Incident]:
    """Return a message whose update no client knows."""
    return [
        (0, Fault(FaultKind.UNKNOWN_UPDATE, phone, max_seconds * 0.8)),
        (max_seconds * 0.4, Push(phone, f"Unknown {rng.randrange(10**6)}")),
    ]


MAX_INCIDENTS: Final = 4
RECIPES: Final[tuple[Recipe, ...]] = (
    _at_once(FaultKind.RESET),
    _at_once(FaultKind.CLOSE),
    _at_once(FaultKind.GARBAGE),
    _lasting(FaultKind.BLACKHOLE),
    _lasting(FaultKind.WRONG_MSG_KEY),
    _unreachable(FaultKind.REFUSE, FaultKind.CLOSE),
    _unreachable(FaultKind.SYN_DROP, FaultKind.RESET),
    _unreachable(FaultKind.ACCEPT_THEN_CLOSE, FaultKind.RESET),
    _on_a_request(FaultKind.RESET_BEFORE),
    _on_a_request(FaultKind.RESET_AFTER),
    _slow,
    _refused(500, "INTERNAL"),
    _refused(-503, "Timeout"),
    _refused(420, "FLOOD_WAIT_2"),
    _flood,
    _unknown_key,
    _bad_salt,
    _bad_msg,
    _wrong_clock,
    _lost_updates,
    _unknown_update,
)
SLOW_TO_HEAL: Final = (_flood, _unknown_key)
