"""What was missed in an incident that is over: folded from what the journal says. Pure, and never a guess.

A link reports by ``CaughtUp`` what it has fetched of the time before it. What nobody reported is said to be unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import define, field

from engine.console.safe_text import one_line
from states.events import ASKED_AGAIN
from states.incident import Incident, IncidentKind
from states.incident_book import CALM
from states.snapshot import Action

REPORTS_WITHIN: Final = CALM
"""Seconds after the end of an incident in which its last links report what they have fetched."""
MAX_NAMES: Final = 3
"""Accounts that a sentence names; it counts the others."""
MAX_GAP: Final = 120
"""Characters of what is still missing of one account."""
_OF_CONNECTIONS: Final = (IncidentKind.OUTAGE, IncidentKind.FLAPPING, IncidentKind.NEEDS_PERSON)
_NEW_LOGINS: Final = (Action.LOG_IN.value, Action.STOP_OTHER_COPY.value)


def event_of(kind: IncidentKind) -> str | None:
    """Return the event whose records say what was missed in an incident of a kind; None if none does."""
    if kind in _OF_CONNECTIONS:
        return "CaughtUp"
    return "DatabaseRecovered" if kind is IncidentKind.STORAGE else None


class Report(Protocol):
    """A record of the event that ``event_of`` names."""

    @property
    def account(self) -> str:
        """The account's name."""

    @property
    def at(self) -> float:
        """When it was (Unix seconds)."""

    @property
    def life(self) -> int:
        """The number of the account's life."""

    @property
    def event(self) -> str:
        """The event's name."""

    @property
    def payload(self) -> Mapping[str, Any]:
        """The event's fields."""


@define
class Found:
    """What one account has fetched of the time in which it was away, and what it has not."""

    reported: bool = False
    """Whether a link has said anything."""
    fetched: int = 0
    """Updates that came later than they should have."""
    too_long: bool = False
    """Whether it was away for too long for Telegram to list all updates."""
    written: int = 0
    """Rows of its session file that waited, and are written."""
    _link: tuple[int, int] | None = field(default=None, init=False)
    _gaps: dict[str, str] = field(factory=dict, init=False)
    """What the last links have named as missing, by what it is, without the reason."""
    _last: int = field(default=0, init=False)

    @property
    def missing(self) -> tuple[str, ...]:
        """What is still missing, and why."""
        return tuple(self._gaps.values())

    def take(self, report: Report, *, over: bool) -> None:
        """Add a record; when the incident is ``over``, only what completes the last link's report counts."""
        payload = report.payload
        if report.event == "DatabaseRecovered":
            self.written += 0 if over else _number(payload.get("written"))
            return
        link, late = (report.life, _number(payload.get("link"))), bool(payload.get("late"))
        if over and self.reported and not (late and link == self._link):
            return
        if late and link == self._link:
            self.fetched -= self._last  # its number is that of the whole gap
        # What is asked for again stands in this report, too, if it is still missing; also where the link is another.
        self._gaps = {what: why for what, why in self._gaps.items() if ASKED_AGAIN not in why}
        self._last = max(0, _number(payload.get("recovered")))
        self.reported, self._link = True, link
        self.fetched += self._last
        self.too_long |= bool(payload.get("too_long"))
        missing = payload.get("missing")
        for why in missing if isinstance(missing, Sequence) and not isinstance(missing, str) else ():
            self._gaps[str(why).partition(" (")[0]] = str(why)


def found_in(incident: Incident, reports: Iterable[Report]) -> dict[str, Found]:
    """Return what each account of an incident has fetched, by what was recorded from its beginning on."""
    found = {account: Found() for account in incident.accounts}
    end = None if incident.closed is None else incident.closed + REPORTS_WITHIN
    for report in reports:
        if report.account in found and isinstance(report.at, int | float):  # another program may have spoilt the row
            found[report.account].take(report, over=end is not None and report.at > end)
    return found


def sentence(incident: Incident, found: Mapping[str, Found], failed_jobs: int = 0) -> str:
    """Return what was missed in an incident, in a sentence without its full stop; empty if nothing is known of it.

    ``failed_jobs`` is how many jobs of its accounts have failed meanwhile.
    """
    said: list[str] = []
    if incident.kind in _OF_CONNECTIONS and found:
        said += _of_updates(incident, found)
    if incident.kind is IncidentKind.STORAGE and (written := sum(each.written for each in found.values())):
        said.append(f"{_count(written, 'row')} of session files waited, and {_are(written)} written now")
    if failed_jobs:
        whose = "this account" if len(incident.accounts) == 1 else "these accounts"
        said.append(f"{_count(failed_jobs, 'job')} of {whose} failed meanwhile (see 'jobs list --state failed')")
    return one_line("; ".join(said))


def _of_updates(incident: Incident, found: Mapping[str, Found]) -> list[str]:
    fetched = sum(each.fetched for each in found.values())
    cut = [name for name, each in found.items() if each.too_long]
    gaps = {name: each.missing for name, each in found.items() if each.missing}
    unknown = [name for name, each in found.items() if not each.reported]
    anew = [name for name, each in found.items() if each.reported and not each.fetched and not each.too_long]
    if incident.kind is not IncidentKind.NEEDS_PERSON or incident.cause not in _NEW_LOGINS:
        anew = []
    said = []
    if cut:
        was = "was" if len(cut) == 1 else "were"
        said.append(f"{_names(cut)} {was} away for too long for Telegram to list all updates: read the chats for them")
    if gaps:
        said.append(f"still missing of {_gaps(gaps)}")
    if anew:
        said.append(f"of {_names(anew)} it is not known: a new login is told nothing of the time before it")
    if unknown:
        said.append(f"of {_names(unknown)} it is not known: no connection has fetched updates since")
    if fetched:
        were = f"{_count(fetched, 'update')} came late and {'was' if fetched == 1 else 'were'} fetched afterwards"
        said.append(were if said else f"nothing: {were}")
    elif not said:
        said.append("nothing: no update came meanwhile")
    return said


def _gaps(gaps: Mapping[str, Sequence[str]]) -> str:
    named = [f"{name}: {one_line(', '.join(gaps[name]), MAX_GAP)}" for name in list(gaps)[:MAX_NAMES]]
    more = len(gaps) - len(named)
    return "; ".join([*named, *([f"and of {more:,} more accounts"] if more else [])])


def _names(names: Sequence[str]) -> str:
    if len(names) > MAX_NAMES:
        return f"{', '.join(names[:MAX_NAMES])} and {len(names) - MAX_NAMES:,} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
