"""Rest: where accounts are when all is over, how engines end, and that nothing stands still."""

from collections.abc import Iterator
from typing import Final

from tests.simulation.evidence import Ending, Evidence, Standing, Verdict
from tests.simulation.judges.shared import (
    CREDENTIALS,
    DISK,
    active,
    came_to_rest,
    concerns,
    faults_of,
    healing_bound,
    last_standings,
    runs_at_the_end,
    sentence,
)

RESTED = "every account comes to rest"
STOPPED = "a stop ends in time"
ENDED = "an engine ends only when it is told to"
MOVES = "something can go on"
STOP_MARGIN: Final = 10.0
"""Seconds that a stop may take beyond its grace, while everything is written and user code is cancelled."""
DISK_MARGIN: Final = 30.0
"""The same where the disk makes trouble."""


def accounts_come_to_rest(evidence: Evidence) -> Iterator[Verdict]:
    """After the last fault and ``healing_bound``, each account is healthy, or stopped for a reason that it names."""
    if not came_to_rest(evidence) or not runs_at_the_end(evidence):
        return
    since = (evidence.quiet_from or 0.0) + healing_bound(evidence)
    last = last_standings(evidence)
    for account in evidence.accounts:
        standing = last.get(account.name)
        if standing is None:
            if evidence.standings:
                what = f"nobody saw where it was after {since:.0f} s, when it had to be at rest"
                yield Verdict(judge=RESTED, what=what, at=since, account=account.name)
        elif (wrong := _restless(evidence, standing)) is not None:
            yield Verdict(judge=RESTED, what=wrong, at=standing.at, account=account.name)


def _restless(evidence: Evidence, at: Standing) -> str | None:
    """Return why an account is not at rest; None if it is."""
    if at.state == "healthy":
        return None
    if at.state == "paused":
        mine = [each for each in evidence.commands if concerns(each.account, at.account)]
        # A pause without an answer counts, too: the engine may have stored it before it died.
        last = [each.what for each in mine if each.ok or (each.unknown and each.what == "pause")]
        paused = [what for what in last if what in ("pause", "resume")][-1:] == ["pause"]
        return None if paused else "it is paused, and no command paused it last"
    if not (at.state == "auth_failed" or at.parked):
        how_long = evidence.seconds - (evidence.quiet_from or 0.0)
        return f"it is in {at.state} ({at.cause or 'no cause'}) {how_long:.0f} s after the last fault"
    if not at.cause or not at.action:
        return f"it is {'parked' if at.parked else at.state}, without a cause or without what to do about it"
    parking = [each for each in evidence.faults if each.parks and concerns(each.account, at.account)]
    refused = [each for each in evidence.dead_keys if each.account == at.account and each.by_fault]
    harmed = parking or refused or faults_of(evidence, CREDENTIALS, at.account)
    if at.state == "auth_failed" and not harmed and not faults_of(evidence, DISK, at.account):
        return f"it is in auth_failed ({at.cause}), and nothing had happened to its login"
    return None


def stops_end_in_time(evidence: Evidence) -> Iterator[Verdict]:
    """An engine that is told to stop has ended within its grace and a margin."""
    grace = evidence.promises.policy.shutting_down.grace
    for life in evidence.lives:
        if life.asked_to_stop is None or life.ending in (Ending.KILLED, Ending.POWER_CUT):
            continue
        end = life.ended if life.ended is not None else evidence.seconds
        trouble = active(faults_of(evidence, DISK), life.asked_to_stop, end)
        bound = grace + (DISK_MARGIN if trouble else STOP_MARGIN)
        if end - life.asked_to_stop > bound:
            how = "took" if life.ended is not None else "has taken"
            what = f"the stop of life {life.number} {how} {end - life.asked_to_stop:.1f} s; {bound:g} s are the most"
            yield Verdict(judge=STOPPED, what=what, at=end)


def engines_end_when_told(evidence: Evidence) -> Iterator[Verdict]:
    """No engine ends by itself, whatever happens to it."""
    for life in evidence.lives:
        if life.ending is Ending.FAILED:
            what = f"life {life.number} ended by itself: {sentence(life.detail) or 'nobody knows why'}"
            yield Verdict(judge=ENDED, what=what, at=life.ended or life.began)


def nothing_stands_still(evidence: Evidence) -> Iterator[Verdict]:
    """At every moment something can run or a timer is set, as long as anything is waited for."""
    for each in evidence.standstills:
        yield Verdict(judge=MOVES, what=f"nothing can go on any more: {sentence(each.detail)}", at=each.at)
