"""Draws a story from a seed, as swarm testing has it: each seed switches a random subset of all kinds of trouble on.

A run that has everything at once seldom comes to the states that one kind needs undisturbed, so the subset, how often
each of its kinds occurs, the settings and the work differ from seed to seed (Groce and others, "Swarm Testing", 2012).
The story of a seed depends on the seed and the hours alone. Each aspect is drawn from a source of its own, so that a
change of one leaves the others as they were.

What a run costs is nearly proportional to the requests in it, which the constants here keep to some thousands a day.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from attrs import evolve

from adapters.sandbox.faults.kinds import FAULT_RULES, FaultKind
from tests.simulation.story import FOR_ALL, HOUR, Incident, IncidentKind, JobOrder, Story, Workload
from tests.simulation.story_settings import draw_settings, healing_seconds

ACCOUNTS: Final = (1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 7, 10)
"""One of these: about three on average."""
SUBSETS: Final = (0.08, 0.15, 0.25, 0.4)
"""The part of the kinds that a story switches on is one of these."""
DAILY: Final = (1, 1, 2, 2, 4, 8)
"""How often a kind that is on occurs in a day, before the cap."""
MAX_INCIDENTS_A_DAY: Final = 60
MAX_UPDATES_A_DAY: Final = 600
"""Of all accounts together."""
RARE: Final[dict[IncidentKind, float]] = {
    IncidentKind.CREDENTIALS_REVOKE: 0.4,
    IncidentKind.CREDENTIALS_DUPLICATE: 0.4,
    IncidentKind.CREDENTIALS_FORGET_KEY: 0.4,
    IncidentKind.DATACENTER_HOSTILE: 0.5,
}
"""How much less often than the others a kind is on: those that end an account's day, and the costly."""

SILENT: Final = (
    IncidentKind.DATACENTER_LOST_DIFFERENCE,
    IncidentKind.DATACENTER_WRONG_PTS,
    IncidentKind.DATACENTER_UNKNOWN_UPDATE,
)
"""What only the datacenter's numbers show. An aspect of its own, so that the stories of earlier seeds have the rest as
they had it."""
SILENT_PART: Final = 0.12
"""In what part of the stories each of them occurs."""

DEAD_LOGINS: Final = ("SESSION_REVOKED", "AUTH_KEY_UNREGISTERED", "USER_DEACTIVATED", "AUTH_KEY_INVALID")
ERRORS: Final = (
    "500 INTERNAL",
    "-503 Timeout",
    "420 FLOOD_WAIT_2",
    "420 FLOOD_WAIT_90",
    "420 FLOOD_WAIT_300",
    "400 PEER_ID_INVALID",
)
REQUESTS: Final = (None, "updates.getState", "updates.getDifference", "messages.sendMessage", "messages.getHistory")
CHEAP_HOSTILE: Final = ("gzip_result", "packed", "nesting", "drip", "frame")
"""What costs its reader less than a second of ours."""

CUT_WITH: Final = {
    IncidentKind.NETWORK_REFUSED: IncidentKind.NETWORK_RESET,
    IncidentKind.NETWORK_SYN_DROPPED: IncidentKind.NETWORK_RESET,
    IncidentKind.DATACENTER_REFUSE: IncidentKind.DATACENTER_CLOSE,
    IncidentKind.DATACENTER_SYN_DROP: IncidentKind.DATACENTER_RESET,
    IncidentKind.DATACENTER_ACCEPT_THEN_CLOSE: IncidentKind.DATACENTER_RESET,
}
"""What turns new links away shows only when the open one is cut as well, so most of them come together."""


def draw(seed: int, hours: float = 24.0) -> Story:
    """Return the story of a seed. After its last incident there is time for everything to heal."""
    accounts = _chance(seed, "accounts").choice(ACCOUNTS)
    settings = draw_settings(_chance(seed, "settings"), accounts)
    seconds = hours * HOUR
    active = seconds - min(healing_seconds(settings), seconds / 2)
    return Story(
        seed=seed,
        hours=hours,
        accounts=accounts,
        settings=settings,
        incidents=_with_silent(seed, _draw_incidents(seed, accounts, active), accounts, active),
        workload=_draw_workload(_chance(seed, "workload"), accounts, active),
    )


def _chance(seed: int, purpose: str) -> random.Random:
    return random.Random(f"{seed}:{purpose}")


def spread(chance: random.Random, lowest: float, highest: float) -> float:
    """Draw a number such that each order of magnitude is equally likely; one decimal."""
    return round(math.exp(chance.uniform(math.log(lowest), math.log(highest))), 1)


# --- incidents --------------------------------------------------------------------------------------------------------


def _draw_incidents(seed: int, accounts: int, active: float) -> tuple[Incident, ...]:
    chance = _chance(seed, "incidents")
    part = chance.choice(SUBSETS)
    kinds = [kind for kind in IncidentKind if kind not in SILENT]
    switched_on = [kind for kind in kinds if chance.random() < part * RARE.get(kind, 1.0)]
    clusters = [chance.uniform(0, active) for _ in range(chance.choice((0, 0, 1, 3)))]
    drawn: list[Incident] = []
    for kind in switched_on:
        # At most so many, but each kind that is on at least once: an hour has its incidents as a day has.
        wanted = max(1, round(chance.choice(DAILY) * active / (24 * HOUR)))
        for _ in range(wanted):
            at = chance.uniform(0, active)
            if clusters and chance.random() < 0.6:
                at = min(active, chance.choice(clusters) + chance.uniform(0, 120))
            drawn += _draw_one(chance, kind, at, accounts, active)
    most = max(len(switched_on), round(MAX_INCIDENTS_A_DAY * active / (24 * HOUR)))
    kept = drawn if len(drawn) <= most else chance.sample(drawn, most)
    return _in_order(kept)


def _in_order(incidents: Iterable[Incident]) -> tuple[Incident, ...]:
    return tuple(sorted(incidents, key=lambda each: (each.at, each.kind, each.account or 0, each.seconds)))


def _with_silent(seed: int, incidents: tuple[Incident, ...], accounts: int, active: float) -> tuple[Incident, ...]:
    """Return the incidents with those that only numbers show, as far as a day has room for them."""
    chance = _chance(seed, "silent")
    switched_on = [kind for kind in SILENT if chance.random() < SILENT_PART]
    more = [
        each
        for kind in switched_on
        for _ in range(chance.choice((1, 2, 4)))
        for each in _draw_one(chance, kind, chance.uniform(0, active), accounts, active)
    ]
    return _in_order((*incidents, *more[: max(0, MAX_INCIDENTS_A_DAY - len(incidents))]))


def _draw_one(chance: random.Random, kind: IncidentKind, at: float, accounts: int, active: float) -> Iterator[Incident]:
    incident = Incident(at=round(at, 3), kind=kind, account=_draw_account(chance, kind, accounts))
    incident = RECIPES.get(kind, _for_a_moment)(chance, incident)
    # What would go on in the quiet time ends with it; a fault without an end is one for the operator, and has none.
    incident = evolve(incident, seconds=round(min(incident.seconds, max(0.0, active - at)), 3))
    if kind.fault is not None and incident.seconds == 0 and not FAULT_RULES[kind.fault].once:
        incident = evolve(incident, seconds=1.0) if not FAULT_RULES[kind.fault].needs_operator else incident
    yield incident
    if kind in CUT_WITH and chance.random() < 0.8:
        yield Incident(at=incident.at, kind=CUT_WITH[kind], account=incident.account)
    if kind.group == "credentials" and chance.random() < 0.7:
        after = min(active, incident.ends + spread(chance, 1, 600))
        yield Incident(at=round(after, 3), kind=IncidentKind.CONTROL_RECONNECT, account=incident.account)


def _draw_account(chance: random.Random, kind: IncidentKind, accounts: int) -> int | None:
    if kind in FOR_ALL or kind.value.startswith("control.jobs"):
        return None
    if kind.group == "disk":
        return chance.choice((None, chance.randint(1, accounts)))
    if kind.group == "credentials":
        return chance.randint(1, accounts)
    return None if chance.random() < 0.3 else chance.randint(1, accounts)


Recipe = Callable[[random.Random, Incident], Incident]
"""Gives an incident its length and its value."""


def _for_a_moment(chance: random.Random, incident: Incident) -> Incident:
    return incident


def _for(lowest: float, highest: float, *values: int | float | str) -> Recipe:
    """Last that many seconds, and have one of the values."""

    def recipe(chance: random.Random, incident: Incident) -> Incident:
        value = chance.choice(values) if values else None
        return evolve(incident, seconds=spread(chance, lowest, highest), value=value)

    return recipe


def _some_requests(*values: int | float | str, most: int = 3) -> Recipe:
    """Hit a few requests in some minutes; with a time, for a request that never comes must not be hit in the end."""

    def recipe(chance: random.Random, incident: Incident) -> Incident:
        return evolve(
            incident,
            seconds=spread(chance, 60, 1800),
            times=chance.randint(1, most),
            value=chance.choice(values) if values else None,
            request=chance.choice(REQUESTS),
        )

    return recipe


def _a_few_times(*values: int | float | str, most: int = 3) -> Recipe:
    def recipe(chance: random.Random, incident: Incident) -> Incident:
        return evolve(_some_requests(*values, most=most)(chance, incident), request=None)

    return recipe


_K = IncidentKind
RECIPES: Final[dict[IncidentKind, Recipe]] = {
    _K.NETWORK_LATENCY: _for(10, 1800, 0.2, 1.5, 6, 25),
    _K.NETWORK_HALF_OPEN: _for(5, 1200),
    _K.NETWORK_SILENT_UP: _for(5, 1200),
    _K.NETWORK_SILENT_DOWN: _for(5, 1200),
    _K.NETWORK_REFUSED: _for(5, 1200),
    _K.NETWORK_SYN_DROPPED: _for(5, 1200),
    _K.NETWORK_DRIP: _for(10, 600, 1, 7, 100),
    _K.NETWORK_GONE: _for(5, 7200),
    _K.DATACENTER_RESTART: _for(1, 900),
    _K.DATACENTER_BLACKHOLE: _for(5, 1200),
    _K.DATACENTER_REFUSE: _for(5, 1200),
    _K.DATACENTER_SYN_DROP: _for(5, 1200),
    _K.DATACENTER_ACCEPT_THEN_CLOSE: _for(5, 600),
    _K.DATACENTER_SLOW: _for(10, 1800, 0.5, 4, 15, 45),
    _K.DATACENTER_RPC_ERROR: _some_requests(*ERRORS),
    _K.DATACENTER_RESET_BEFORE: _some_requests(),
    _K.DATACENTER_RESET_AFTER: _some_requests(),
    _K.DATACENTER_TRANSPORT_ERROR: _a_few_times(-404, -429, -444, most=2),
    _K.DATACENTER_BAD_SALT: _a_few_times(most=5),
    _K.DATACENTER_BAD_MSG: _a_few_times(*FAULT_RULES[FaultKind.BAD_MSG].codes, most=2),
    _K.DATACENTER_CLOCK_OFFSET: _for(10, 1800, -400, 60, -20, 400),
    _K.DATACENTER_WRONG_MSG_KEY: _for(5, 300),
    _K.DATACENTER_LOST_UPDATE: _for(60, 3600),
    _K.DATACENTER_LOST_DIFFERENCE: _for(60, 3600),
    _K.DATACENTER_WRONG_PTS: _for(60, 3600),
    _K.DATACENTER_UNKNOWN_UPDATE: _for(60, 3600),
    _K.DATACENTER_TOO_LONG: _for(60, 3600),
    _K.DATACENTER_HOSTILE: _some_requests(*CHEAP_HOSTILE, most=1),
    _K.CREDENTIALS_REVOKE: _for(60, 3600, *DEAD_LOGINS),
    _K.CREDENTIALS_DUPLICATE: _for(60, 3600),
    _K.CREDENTIALS_FORGET_KEY: _for(60, 3600),
    _K.CLOCK_STEP: lambda chance, incident: evolve(
        incident, value=chance.choice((-86400, -3600, -30, -1, 1, 30, 3600, 86400))
    ),
    _K.CLOCK_SUSPEND: _for(30, 8 * HOUR),
    _K.DISK_FULL: _for(1, 900),
    _K.DISK_BROKEN: _for(1, 300),
    _K.DISK_SLOW: _for(10, 600, 0.05, 0.5, 4),
    _K.DISK_LOCKED: _for(1, 900),
    _K.PROCESS_KILL: _for(1, 900),
    _K.PROCESS_KILL_AT_WRITE: lambda chance, incident: evolve(
        _for(1, 900)(chance, incident), value=round(spread(chance, 1, 300))
    ),
    _K.PROCESS_POWER_CUT: _for(1, 900),
    _K.PROCESS_RESTART: _for(1, 900),
    _K.CONTROL_PAUSE: _for(1, 3600),
}


# --- work -------------------------------------------------------------------------------------------------------------


def _draw_workload(chance: random.Random, accounts: int, active: float) -> Workload:
    updates = 0.0 if chance.random() < 0.2 else spread(chance, 10, MAX_UPDATES_A_DAY)
    return Workload(
        updates_per_day=round(updates / accounts, 1),
        handler_seconds=chance.choice((0.0, 0.0, 0.5, 5.0, 90.0)),
        handler_failing=chance.choice((0.0, 0.0, 0.05, 0.3)),
        followers=chance.choice((0, 0, 1, 2)),
        subscribers=chance.choice((0, 0, 1, 2)),
        jobs=tuple(sorted(_draw_jobs(chance, accounts, active), key=lambda order: (order.at, order.kind))),
    )


def _draw_jobs(chance: random.Random, accounts: int, active: float) -> Sequence[JobOrder]:
    orders = []
    for _ in range(chance.choice((0, 1, 2, 4, 6))):
        kind = chance.choice(("send", "send", "collect", "steps"))
        count = 1 if kind == "collect" else chance.choice((1, 3, 10, 20))
        every = chance.choice((0.0, 1.0, 60.0, 600.0)) if count > 1 else 0.0
        last = max(0.0, active - every * count)
        options: dict[str, Any] = {}
        if kind == "steps":
            options = {
                "steps": chance.choice((1, 3, 10)),
                "seconds": chance.choice((0.0, 1.0, 30.0, 300.0)),
                "failing": chance.choice((0.0, 0.0, 0.2)),
            }
        account = chance.choice((None, chance.randint(1, accounts)))
        at = round(chance.uniform(0, last), 3)
        orders.append(JobOrder(at=at, kind=kind, account=account, count=count, every=every, **options))
    return orders
