"""Pace: no more attempts than promised, no shorter waits, and flood waits are floors."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from tests.simulation.evidence import Evidence, Verdict
from tests.simulation.judges.shared import (
    DISK,
    MOMENT,
    any_within,
    attempts_with_key,
    commands_of,
    end_of,
    faults_of,
    forgotten,
    grouped,
    least_wait,
    lives_by_number,
    sent_at,
    unreadable,
)

FLEET = "attempts of the fleet"
BACKOFF = "back-off is a floor"
STORM = "no storm of connections"
FLOOD = "a flood wait is a floor"
FREE_TURNS: Final = 2
"""Turns that may come early besides those that run at once: when an outage begins and when it ends."""
WINDOW: Final = 60.0
PROBE_PAUSE: Final = 2.0
"""Seconds that two probes of a route are apart at least."""


def fleet_keeps_its_rate(evidence: Evidence) -> Iterator[Verdict]:
    """At most so many accounts connect at once, and on average no faster than one in each ``stagger``."""
    at_once, stagger = evidence.promises.connects_at_once, evidence.promises.stagger
    lives = lives_by_number(evidence)
    spare = FREE_TURNS + (at_once if faults_of(evidence, DISK) else 0)  # a file that waits holds its attempt back
    by_life = grouped(attempts_with_key(evidence), lambda each: str(each.life))
    for attempts in by_life.values():
        begins = [each.began for each in attempts]
        for apart in (spare + 1, 2 * spare, 8 * spare):
            soonest = (apart - spare) * stagger - MOMENT
            for first, last in zip(begins, begins[apart:], strict=False):
                if last - first < soonest:
                    what = f"{apart + 1} accounts began to connect within {last - first:.3f} s, {stagger:g} s apart"
                    yield Verdict(judge=FLEET, what=what, at=last)
                    break
        under_way: list[float] = []
        for attempt in attempts:
            under_way = [end for end in under_way if end > attempt.began + MOMENT]
            proven = [attempt.answered, attempt.first_request, end_of(attempt, lives)]
            under_way.append(min(each for each in proven if each is not None))
            if len(under_way) > at_once:
                what = f"{len(under_way)} accounts connected at once; {at_once} may"
                yield Verdict(judge=FLEET, what=what, at=attempt.began)
                break


def backoff_is_a_floor(evidence: Evidence) -> Iterator[Verdict]:
    """After a link that did not become stable, the next attempt waits at least the shortest back-off.

    Not if a person asked for it, or if something showed in between that the network works again: a probe of this route,
    or another account that got through. A link that was given up for its silence has been waited for already.
    """
    lives, floor = lives_by_number(evidence), least_wait(evidence)
    policy = evidence.promises.policy
    attempts = attempts_with_key(evidence)
    proofs = sorted(each.first_request for each in attempts if each.first_request is not None)
    for account, mine in grouped(attempts, lambda each: each.account).items():
        asked = [each.at for each in commands_of(evidence, account)]
        probes = [each for each in evidence.connections if not each.key and each.accepted is not None]
        for former, later in pairwise(mine):
            end = end_of(former, lives)
            if former.life != later.life or not account or later.began >= end + floor - MOMENT:
                continue
            held = end - (former.first_request or former.began)
            waited = min(policy.timeout.patience) if former.given_up else policy.healthy.stable_after
            if held >= waited - evidence.promises.network_delay or any_within(asked, former.began, later.began):
                continue
            answered = any(each.route == former.route and former.began <= each.began <= later.began for each in probes)
            if not answered and not any_within(proofs, end - evidence.promises.network_delay, later.began):
                what = (
                    f"an attempt began {later.began - end:.3f} s after the one before had failed; {floor:g} s are least"
                )
                yield Verdict(judge=BACKOFF, what=what, at=later.began, account=account)


def no_storm(evidence: Evidence) -> Iterator[Verdict]:
    """However the network is, an account begins few connections a minute, probes of its route included."""
    most = 5 + WINDOW / PROBE_PAUSE + WINDOW / min(WINDOW, least_wait(evidence))
    for account, mine in grouped(evidence.connections, lambda each: each.account).items():
        if not account:
            continue
        asked = sorted(each.at for each in commands_of(evidence, account))
        stable = evidence.promises.policy.healthy.stable_after
        for life, some in grouped(mine, lambda each: str(each.life)).items():
            times = sorted(each.began for each in some)
            for number, begin in enumerate(times):
                count = bisect_left(times, begin + WINDOW) - number
                commands = bisect_right(asked, begin + WINDOW) - bisect_left(asked, begin)
                if life != "0" and count > most + commands + WINDOW / stable:
                    what = f"{count} connections within a minute; {most:.0f} are the most"
                    yield Verdict(judge=STORM, what=what, at=begin, account=account)
                    break


def floods_are_floors(evidence: Evidence) -> Iterator[Verdict]:
    """After a flood wait was delivered, no request of its kind comes from that account before its time.

    Not judged where the engine cannot know: a kill before the wait was durable, or a clock that was set while none ran.
    """
    by_account = grouped(evidence.requests, lambda each: each.account)
    for demand in evidence.floods:
        told = demand.delivered
        if told is None or not demand.seconds or unreadable(evidence, told):
            continue
        begin, end = told + evidence.promises.network_delay, demand.at + demand.seconds
        if forgotten(evidence, told, end):
            continue
        for request in by_account.get(demand.account, []):
            if request.method == (demand.method or request.method) and begin < sent_at(request) < end - MOMENT:
                early = f"{request.method} was sent {end - sent_at(request):.3f} s before the end of a flood wait of"
                what = f"{early} {demand.seconds:g} s"
                yield Verdict(judge=FLOOD, what=what, at=request.at, account=demand.account)
                break
