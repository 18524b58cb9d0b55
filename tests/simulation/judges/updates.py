"""Updates: each message is heard once and in time, and each record followed once."""

from collections.abc import Iterator
from typing import Final

from tests.simulation.evidence import Ending, EngineLife, Evidence, Hearing, Standing, Verdict
from tests.simulation.judges.shared import (
    DISK,
    active,
    any_within,
    came_to_rest,
    commands_of,
    faults_of,
    grouped,
    healing_bound,
    last_standings,
    lives_by_number,
)

HEARD = "each message is heard once"
LEDGER = "the ledger is true"
NOTICED = "missing updates are noticed"
FOLLOWED = "each record is followed once"
LOOKED_AGAIN: Final = 20.0
"""Seconds after a proof within which what is missing is seen to be missing."""
WATCHED_EVERY: Final = 30.0
"""Seconds between two looks at where the accounts are."""
LOST: Final = "datacenter.lost_update"
BEFORE: Final = 1.0
"""An update may be heard again if it came less than so many seconds before one whose handler was cut off."""


def heard_once(evidence: Evidence) -> Iterator[Verdict]:
    """Each update is heard, once by each handler; again only where the end of a process cut handlers off.

    Then it is that update, what came after it, or less than a second before. After a kill it may also be one that was
    handled in the last moments, or while the session file could not be written: how far updates were handled is
    written a moment later.
    """
    lives = lives_by_number(evidence)
    came = {(each.account, each.mark): each.at for each in evidence.updates}
    cut = grouped(
        (each for each in evidence.hearings if each.ended is None), lambda each: f"{each.life}\0{each.account}"
    )
    for hearings in grouped(evidence.hearings, lambda each: f"{each.account}\0{each.mark}\0{each.handler}").values():
        for number, again in enumerate(hearings[1:], 1):
            former = hearings[number - 1]
            what = None
            if again.life == former.life and former.ended is None:
                continue  # a pause of the account cut it off
            if again.life == former.life:
                what = f"{again.mark!r} was heard twice in life {again.life}"
            elif not _may_repeat(evidence, former, came, lives[former.life], cut):
                what = f"{again.mark!r} was heard in life {former.life} and again in life {again.life}"
            if what is not None:
                yield Verdict(judge=HEARD, what=what, at=again.at, account=again.account)
                break
    yield from _missing(evidence)


def ledger_is_true(evidence: Evidence) -> Iterator[Verdict]:
    """Whatever the ledger claims was handled: a handler has heard it to the end, in that life or before."""
    handled: dict[tuple[str, str], int] = {}
    for hearing in evidence.hearings:
        if hearing.ended is not None:
            key = hearing.account, hearing.mark
            handled[key] = min(hearing.life, handled.get(key, hearing.life))
    for inspection in evidence.inspections:
        for each in evidence.updates:
            claims = inspection.claims.get(each.account, ())
            if each.position and any(after < each.position <= upto for after, upto in claims):
                life = handled.get((each.account, each.mark))
                if life is None or life > inspection.life:
                    what = f"{each.mark!r} (position {each.position}) is claimed and was not handled"
                    yield Verdict(judge=LEDGER, what=what, at=inspection.at, account=each.account)
                    return


def _may_repeat(
    evidence: Evidence,
    former: Hearing,
    came: dict[tuple[str, str], float],
    life: EngineLife,
    cut: dict[str, list[Hearing]],
) -> bool:
    """Return whether an update that was heard in a life may be heard again in a later one."""
    mine = came.get((former.account, former.mark), former.at)
    for each in cut.get(f"{former.life}\0{former.account}", []):
        if mine >= came.get((each.account, each.mark), each.at) - BEFORE or former.at >= each.at - BEFORE:
            return True
    if life.ending is Ending.STOPPED or life.ended is None:
        return False
    handled = former.ended if former.ended is not None else life.ended
    saved = handled + evidence.promises.durable_within
    return saved >= life.ended or bool(active(faults_of(evidence, DISK), handled, life.ended))


def _missing(evidence: Evidence) -> Iterator[Verdict]:
    """Condemn an update that nobody heard to the end, though its account has been healthy for long enough."""
    if not came_to_rest(evidence):
        return
    healthy = {account for account, at in last_standings(evidence).items() if at.state == "healthy"}
    whole = {(each.account, each.mark) for each in evidence.hearings if each.ended is not None}
    begun = {(each.account, each.mark) for each in evidence.hearings}
    late = evidence.seconds - healing_bound(evidence)
    lost = {account: bool(faults_of(evidence, "datacenter.too_long", account)) for account in healthy}
    for update in evidence.updates:
        key = update.account, update.mark
        if key in whole or not update.promised or update.account not in healthy or update.at > late:
            continue
        if lost[update.account]:
            continue  # the datacenter itself has forgotten some
        how = "was cut off, and not heard again" if key in begun else "was not heard"
        yield Verdict(judge=HEARD, what=f"{update.mark!r} {how}", at=update.at, account=update.account)


def noticed_in_time(evidence: Evidence) -> Iterator[Verdict]:
    """What is not pushed to a healthy account is missed at the next proof, asked for, and heard.

    Only what is told by numbers counts here: nothing was wrong with the account but that updates were not pushed, and
    another message, which would have shown the gap, need not come.
    """
    bound = missing_bound(evidence)
    begun = {(each.account, each.mark): each.at for each in reversed(evidence.hearings)}
    standings = grouped(evidence.standings, lambda each: each.account)
    for update in evidence.updates:
        end = update.at + bound
        heard = begun.get((update.account, update.mark), float("inf"))
        if not update.promised or heard <= end or end > evidence.seconds:
            continue
        if _undisturbed(evidence, standings.get(update.account, []), update.account, update.at, end):
            when = "never" if heard == float("inf") else f"only {heard - update.at:.0f} s later"
            yield Verdict(judge=NOTICED, what=f"{update.mark!r} was heard {when}", at=update.at, account=update.account)


def missing_bound(evidence: Evidence) -> float:
    """Return within how many seconds a healthy account has what was not pushed to it: it is missed, and asked for."""
    policy = evidence.promises.policy
    proof = policy.healthy.prove_every + policy.healthy.probe_every + policy.timeout.nth(1)
    return proof + LOOKED_AGAIN + policy.healthy.catch_up_within + WATCHED_EVERY


def _undisturbed(evidence: Evidence, standings: list[Standing], account: str, begin: float, end: float) -> bool:
    """Return whether an account was healthy all the time, and nothing happened but that updates were not pushed."""
    others = [each for each in faults_of(evidence, "", account) if each.kind != LOST]
    if active(others, begin, end) or any_within((each.at for each in commands_of(evidence, account)), begin, end):
        return False
    lives = [life for life in evidence.lives if life.began <= begin and (life.ended is None or life.ended >= end)]
    floods = [each for each in evidence.floods if each.at <= end and each.at + each.seconds >= begin]
    seen = [each for each in standings if begin - 2 * WATCHED_EVERY <= each.at <= end + 2 * WATCHED_EVERY]
    healthy = len(seen) >= 2 and all(each.state == "healthy" for each in seen)
    return bool(lives) and not floods and healthy


def followed_once(evidence: Evidence) -> Iterator[Verdict]:
    """A reader is given every record after its place, in order, once; only retention may take some away before."""
    kept_from = evidence.journals[-1].first_seq if evidence.journals else 0
    known = {reader.name: reader for reader in evidence.readers}
    for name, given in grouped(evidence.followings, lambda each: each.reader).items():
        place = known[name].after if name in known and known[name].after else given[0].seq - 1
        for each in given:
            if each.seq <= place:
                what = f"{name} was given record {each.seq} again, after record {place}"
            elif each.seq > place + 1 and each.seq > max(kept_from, 1):
                what = f"{name} was given record {each.seq} after record {place}"
            else:
                place = each.seq
                continue
            yield Verdict(judge=FOLLOWED, what=what, at=each.at, account=each.account)
            break
        else:
            yield from _unfinished(evidence, name, place)


def _unfinished(evidence: Evidence, name: str, place: int) -> Iterator[Verdict]:
    """Condemn a reader that read to the clean end of the last life, and was not given the last record."""
    reader = next((each for each in evidence.readers if each.name == name), None)
    stopped = bool(evidence.lives) and evidence.lives[-1].ending is Ending.STOPPED
    followed = [each.life for each in evidence.followings if each.reader == name]
    if reader is None or not reader.reached_end or not stopped or not evidence.journals:
        return
    journal, last_life = evidence.journals[-1], evidence.lives[-1].number
    if followed[-1] == last_life and journal.entries and journal.entries[-1].seq > place:
        what = f"{name} read to the end, and was given nothing after record {place} of {journal.entries[-1].seq}"
        yield Verdict(judge=FOLLOWED, what=what, at=journal.at)
