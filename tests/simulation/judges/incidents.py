"""Incidents: each long trouble is in one, each is told once, and none is open when all is well."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tests.simulation.evidence import Evidence, IncidentReport, JournalSeen, Verdict
from tests.simulation.judges.shared import (
    DISK,
    MOMENT,
    came_to_rest,
    faults_of,
    healing_bound,
    last_standings,
    runs_at_the_end,
)

TRUE = "incidents are what the accounts say"
TOLD = "an incident is told once"
SLACK: Final = 90.0
"""Seconds by which an incident may come late: the engine looks at the time twice a minute at least."""
OF_ACCOUNTS: Final = frozenset({"connection", "person", "file", "limit"})
"""The slots of troubles that an account itself has."""
AT_ONCE: Final = frozenset({"needs_person", "limited", "job_failed"})
"""Kinds that are incidents from the first moment."""
DOWN: Final = frozenset({"timeout", "backoff", "reconnecting", "connecting"})


def incidents_are_told_once(evidence: Evidence) -> Iterator[Verdict]:
    """The log names an incident once, unless the engine died before it was durable; none has two of one account."""
    deaths = [life.ended for life in evidence.lives if life.ended is not None]
    told: dict[str, float] = {}
    for line in evidence.logs:
        if line.event != "incident_opened":
            continue
        number = line.text.partition("Incident ")[2].partition(":")[0]
        before = told.get(number)
        if before is not None and not any(before <= at <= line.at for at in deaths):
            yield Verdict(judge=TOLD, what=f"incident {number} was told twice", at=line.at, account=line.account)
        told[number] = line.at
    inside = Counter(member for each in evidence.incidents or () if each.closed is None for member in each.inside)
    for (slot, name), count in inside.items():
        if count > 1:
            yield Verdict(judge=TOLD, what=f"the {slot} of {name} is in {count} open incidents at once")


def incidents_are_true(evidence: Evidence) -> Iterator[Verdict]:
    """Whoever is well is in none, whoever needs a person is in one, and so is each outage that has lasted."""
    if evidence.incidents is None:
        return
    yield from _at_rest(evidence, evidence.incidents)
    if faults_of(evidence, "clock.") or faults_of(evidence, "datacenter.clock_offset"):
        return  # its times are those of a clock that was set
    for each in evidence.incidents:
        if each.kind not in AT_ONCE and each.opened - each.since < evidence.promises.incident_after - MOMENT:
            what = f"incident {each.number} ({each.kind}) began {each.opened - each.since:.1f} s before it was one"
            yield Verdict(judge=TRUE, what=what)
    if not faults_of(evidence, DISK):
        for journal in evidence.journals:
            yield from _long_outages(evidence, evidence.incidents, journal)


def _at_rest(evidence: Evidence, incidents: list[IncidentReport]) -> Iterator[Verdict]:
    """Compare the open incidents with where the accounts are, once both must have come to rest."""
    calm = max(evidence.promises.incident_after, evidence.promises.incident_calm)
    rest = (evidence.quiet_from or 0.0) + healing_bound(evidence)
    if not (came_to_rest(evidence) and runs_at_the_end(evidence)):
        return
    members = [(name, each) for each in incidents if each.closed is None for slot, name in each.inside
               if slot in OF_ACCOUNTS]  # fmt: skip
    inside = dict(members)
    for standing in last_standings(evidence).values():
        mine = inside.get(standing.account)
        if standing.state == "healthy" and mine is not None and evidence.seconds > rest + calm + 2 * SLACK:
            what = f"it is healthy, and incident {mine.number} ({mine.kind}: {mine.cause}) is open"
            yield Verdict(judge=TRUE, what=what, at=standing.at, account=standing.account)
        if standing.action and standing.state != "paused" and mine is None:
            what = f"it needs a person ({standing.action}), and no incident is open"
            yield Verdict(judge=TRUE, what=what, at=standing.at, account=standing.account)


def _long_outages(evidence: Evidence, incidents: list[IncidentReport], journal: JournalSeen) -> Iterator[Verdict]:
    """Find outages of the journal that lasted, and that are in no incident."""
    after = evidence.promises.incident_after
    for account, began, ended in _outages(journal):
        if ended - began < after + 2 * SLACK:
            continue
        mine = [each for each in incidents if account in each.accounts]
        if not any(_covers(each, began, began + after + SLACK) for each in mine):
            what = f"it had no connection for {ended - began:.0f} s, from {began:.0f} on, and was in no incident"
            yield Verdict(judge=TRUE, what=what, at=journal.at, account=account)


def _covers(incident: IncidentReport, began: float, due: float) -> bool:
    return incident.opened <= due and (incident.closed is None or incident.closed > began)


def _outages(journal: JournalSeen) -> Iterator[tuple[str, float, float]]:
    """Yield the account, the first and the last record of each time without a connection, within one life of it."""
    spans: dict[tuple[str, int], tuple[float, float]] = {}
    for entry in journal.entries:
        key = entry.account, entry.life
        if entry.target in DOWN and (key in spans or entry.failures or entry.cause):
            spans[key] = spans.get(key, (entry.at, 0.0))[0], entry.at
        elif (span := spans.pop(key, None)) is not None:
            # Where it went to another state than ``healthy``, somebody acted: it was an outage until its last record.
            yield entry.account, span[0], entry.at if entry.target == "healthy" else span[1]
    for (account, _), (began, last) in spans.items():
        yield account, began, last
