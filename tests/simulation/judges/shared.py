"""What several judges ask of evidence: times that the schedules allow, and what happened in between."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from states.schedules import Backoff
from tests.simulation.evidence import (
    CommandSeen,
    ConnectionSeen,
    ConnectionUse,
    EngineLife,
    Evidence,
    FaultSeen,
    RequestSeen,
    Standing,
    Verdict,
)

Judge = Callable[[Evidence], Iterable[Verdict]]
T = TypeVar("T")
MOMENT: Final = 1e-6
"""Seconds by which sums of times may differ."""
MAX_TEXT: Final = 400
"""Characters of a text that a verdict quotes."""
HARMLESS: Final = frozenset({"status", "jobs cancel", "jobs retry", "jobs add"})
"""Commands that change nothing about a connection."""
CREDENTIALS: Final = "credentials."
DISK: Final = "disk."
CLOCK_SECONDS: Final = 900.0
"""How long after a clock was set a client may take an answer for one of another time, and drop it."""


def growing(evidence: Evidence) -> list[Backoff]:
    """Return the growing schedules of the config."""
    schedules = evidence.promises.policy.backoff
    return [
        schedules.network, schedules.server, schedules.database, schedules.auth_key, schedules.transport_flood,
        schedules.unexpected,
    ]  # fmt: skip


def least_wait(evidence: Evidence) -> float:
    """Return the shortest back-off of any cause, in seconds."""
    return min(schedule.delay(1, 0.0) for schedule in growing(evidence))


def healing_bound(evidence: Evidence) -> float:
    """Return within how many seconds after the last fault every account has come to rest.

    In the worst case, one after the other: a silent link is noticed (the probe is due, and every patience of
    ``timeout`` passes); an attempt that hangs is given up (the longest patience); the longest back-off of any cause
    passes, or what is left of a flood wait; every account before it in the queue has its turn, five seconds each while
    they go one by one; and the attempt itself takes as long as it may, twice, because the first one may have begun
    while the fault ended. A minute is added for an engine that starts.
    """
    policy, quiet = evidence.promises.policy, evidence.quiet_from or 0.0
    noticed = max(policy.healthy.probe_every, policy.healthy.prove_every) + sum(policy.timeout.patience)
    attempt = max(*policy.connecting.patience, *policy.reconnecting.patience)
    floods = [each.at + each.seconds + policy.backoff.flood.slack - quiet for each in evidence.floods]
    wait = max([schedule.cap for schedule in growing(evidence)] + floods)
    queue = len(evidence.accounts) * max(5.0, evidence.promises.stagger)
    return noticed + wait + queue + 3 * attempt + 60.0


def came_to_rest(evidence: Evidence) -> bool:
    """Return whether the world went on for so long after the last fault that every account must have come to rest."""
    quiet = evidence.quiet_from
    return quiet is not None and evidence.seconds >= quiet + healing_bound(evidence)


def runs_at_the_end(evidence: Evidence) -> bool:
    """Return whether an engine ran all the time from the last fault on, apart from its own end at the end of all."""
    quiet = evidence.quiet_from or 0.0
    ends = [life.ended for life in evidence.lives if life.ended is not None and life.ended > quiet]
    return bool(evidence.lives) and all(end >= evidence.seconds for end in ends)


def last_standings(evidence: Evidence) -> dict[str, Standing]:
    """Return where each account was at last, by name; only what was seen once all had to be at rest."""
    rest = (evidence.quiet_from or 0.0) + healing_bound(evidence)
    found: dict[str, Standing] = {}
    for standing in sorted(evidence.standings, key=lambda each: each.at):
        if standing.at >= rest - MOMENT:
            found[standing.account] = standing
    return found


def concerns(whom: str, account: str) -> bool:
    """Return whether a fault or command for ``whom`` (empty: all) concerns an account."""
    return whom in ("", account)


def commands_of(evidence: Evidence, account: str) -> list[CommandSeen]:
    """Return the commands that may change an account's connection."""
    return [each for each in evidence.commands if each.what not in HARMLESS and concerns(each.account, account)]


def any_within(times: Iterable[float], begin: float, end: float) -> bool:
    """Return whether a time is within, ends included."""
    return any(begin - MOMENT <= at <= end + MOMENT for at in times)


def active(faults: Iterable[FaultSeen], begin: float, end: float) -> list[FaultSeen]:
    """Return the faults that were active at some time from ``begin`` to ``end``."""
    return [each for each in faults if each.at <= end and (each.ended is None or each.ended >= begin)]


def faults_of(evidence: Evidence, prefix: str, account: str = "") -> list[FaultSeen]:
    """Return the faults whose kind begins so, and that concern an account; empty: anyone."""
    return [
        each
        for each in evidence.faults
        if each.kind.startswith(prefix) and (not account or concerns(each.account, account))
    ]


def lives_by_number(evidence: Evidence) -> Mapping[int, EngineLife]:
    """Return the lives of the engine by number."""
    return {life.number: life for life in evidence.lives}


def end_of(connection: ConnectionSeen, lives: Mapping[int, EngineLife]) -> float:
    """Return when a connection was over for the engine's side: with its process at the latest."""
    life = lives.get(connection.life)
    ends = [end for end in (connection.closed, life.ended if life else None) if end is not None]
    return min(ends, default=float("inf"))


def attempts_with_key(evidence: Evidence) -> list[ConnectionSeen]:
    """Return the connections that sent a request for an account, by their beginning."""
    kinds = (ConnectionUse.ACCOUNT, ConnectionUse.UNKNOWN)
    found = [each for each in evidence.connections if each.key and each.life and each.use in kinds]
    return sorted(found, key=lambda each: each.began)


def sent_at(request: RequestSeen) -> float:
    """Return when the engine's side sent a request."""
    return request.at if request.sent is None else request.sent


def unreadable(evidence: Evidence, told: float) -> bool:
    """Return whether a client may have dropped an answer, because a clock was set not long before."""
    clocks = [*faults_of(evidence, "clock."), *faults_of(evidence, "datacenter.clock_offset")]
    return bool(active(clocks, told - CLOCK_SECONDS, told))


def forgotten(evidence: Evidence, told: float, until: float) -> bool:
    """Return whether the engine may have lost what it was told, by a kill, or what time it is meanwhile."""
    ends = [life.ended for life in evidence.lives if life.ended is not None and told <= life.ended <= until]
    if any(at <= told + evidence.promises.durable_within for at in ends):
        return True
    return bool(ends and active([*faults_of(evidence, "clock."), *faults_of(evidence, DISK)], told, until))


def grouped(items: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    """Return the items by a key, in their order."""
    found: dict[str, list[T]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return dict(found)


def sentence(text: str) -> str:
    """Return a text on one line; of a long one its beginning and its end, where the exception is."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT // 4]} … {line[-MAX_TEXT:]}"
