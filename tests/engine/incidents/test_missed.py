"""What was missed in an incident: said by what links reported, and what nobody reported is said to be unknown."""

from collections.abc import Mapping
from typing import Any

import pytest
from attrs import evolve, field, frozen

from engine.incidents.missed import REPORTS_WITHIN, event_of, found_in, sentence
from states.events import ASKED_AGAIN, EVENT_BY_NAME
from states.incident import Incident, IncidentKind, Severity

OUTAGE = Incident(
    id=1, kind=IncidentKind.OUTAGE, cause="NetworkLost", accounts=("A",), severity=Severity.WARNING, since=1000.0,
    opened=1120.0, closed=2000.0,
)  # fmt: skip
BOTH = evolve(OUTAGE, accounts=("A", "B"), fleet=True)
WAITS = f"channel 7 (flood; {ASKED_AGAIN} 30 s)"
GONE = "channel 8, which is no longer readable (left)"


@frozen(kw_only=True)
class Said:
    """What a link reported."""

    account: str = "A"
    at: float = 2001.0
    life: int = 1
    event: str = "CaughtUp"
    payload: Mapping[str, Any] = field(factory=dict)


def said(recovered: int = 0, link: int = 1, *, account: str = "A", at: float = 2001.0, **more: Any) -> Said:
    """Return a report of a link."""
    return Said(account=account, at=at, payload={"link": link, "recovered": recovered, **more})


def missed(incident: Incident, *reports: Said, failed: int = 0) -> str:
    """Return the sentence."""
    return sentence(incident, found_in(incident, reports), failed)


@pytest.mark.parametrize(
    ("reports", "sentence"),
    [
        ([said()], "nothing: no update came meanwhile"),
        ([said(1)], "nothing: 1 update came late and was fetched afterwards"),
        ([said(1200), said(34, 2)], "nothing: 1,234 updates came late and were fetched afterwards"),
        ([said(5, missing=[WAITS]), said(9, late=True)], "nothing: 9 updates came late and were fetched afterwards"),
        ([said(5, missing=[WAITS]), said(9, 2)], "nothing: 14 updates came late and were fetched afterwards"),
        ([said(5, missing=[WAITS])], f"still missing of A: {WAITS}; 5 updates came late and were fetched afterwards"),
        ([said(missing=[GONE]), said(0, 2)], f"still missing of A: {GONE}"),
        (
            [said(too_long=True)],
            "A was away for too long for Telegram to list all updates: read the chats for them",
        ),
        ([], "of A it is not known: no connection has fetched updates since"),
    ],
)
def test_what_links_reported(reports: list[Said], sentence: str) -> None:
    """Numbers are added up, a late report replaces its first, and only what is asked for again is ever forgotten."""
    assert missed(OUTAGE, *reports) == sentence


def test_each_account_is_told_of() -> None:
    """Those without a report are named, and those whose gap is whole do not hide it."""
    assert missed(BOTH, said(3, account="B"), said(4, account="C")) == (
        "of A it is not known: no connection has fetched updates since; 3 updates came late and were fetched afterwards"
    )


def test_what_came_after_is_of_another_outage() -> None:
    """After the end counts what completes the last report, and the first report of who has none; nothing else."""
    later = OUTAGE.closed or 0.0
    late = said(6, at=later + REPORTS_WITHIN + 100, late=True)
    other = said(50, 2, at=later + REPORTS_WITHIN + 200)
    assert "5 updates" in missed(OUTAGE, said(5, missing=[WAITS]), other)
    assert missed(OUTAGE, said(5, missing=[WAITS]), late, other).startswith("nothing: 6 updates")
    assert missed(OUTAGE, other).startswith("nothing: 50 updates")


@pytest.mark.parametrize("cause", ["log_in", "stop_other_copy"])
def test_a_new_login_knows_nothing_of_before(cause: str) -> None:
    """Nothing that was fetched is not nothing that was missed, where the login is another one."""
    anew = evolve(OUTAGE, kind=IncidentKind.NEEDS_PERSON, cause=cause)
    assert missed(anew, said()) == "of A it is not known: a new login is told nothing of the time before it"
    assert missed(anew, said(3)) == "nothing: 3 updates came late and were fetched afterwards"
    assert missed(evolve(anew, cause="retry"), said()) == "nothing: no update came meanwhile"


def test_files_and_jobs() -> None:
    """Rows that waited, and jobs that failed meanwhile, are counted; of other kinds nothing is known."""
    files = evolve(OUTAGE, kind=IncidentKind.STORAGE, cause="DatabaseLocked")
    written = Said(event="DatabaseRecovered", payload={"written": 12}, at=1999.0)
    assert missed(files, written) == "12 rows of session files waited, and are written now"
    assert missed(files) == ""
    assert missed(evolve(OUTAGE, kind=IncidentKind.LIMITED), failed=2) == (
        "2 jobs of this account failed meanwhile (see 'jobs list --state failed')"
    )
    assert missed(evolve(OUTAGE, kind=IncidentKind.CHANNEL, accounts=())) == ""


def test_hostile_and_many() -> None:
    """Names and reasons that are foreign or many make one line of bounded length; spoilt numbers count nothing."""
    names = tuple(f"\x1b{number}\n" for number in range(1000))
    many = evolve(BOTH, accounts=names)
    text = missed(many, *(said(1, account=name, missing=["x" * 10_000, "\u202e"]) for name in names))
    assert text.isprintable()
    assert len(text) < 4200
    assert missed(OUTAGE, Said(payload={"recovered": "x", "missing": "abc", "link": None})).startswith("nothing")


@pytest.mark.parametrize("kind", IncidentKind)
def test_the_events_exist(kind: IncidentKind) -> None:
    """The event that is read for a kind is one of the law's."""
    event = event_of(kind)
    assert event is None or event in EVENT_BY_NAME
