"""The judge of incidents accepts those that are what the accounts say, and condemns the others."""

from collections.abc import Callable, Mapping
from typing import Final

import pytest

from tests.simulation.evidence import Evidence, FaultSeen, IncidentReport, LogLine, Standing
from tests.simulation.good_evidence import ONE, TWO, clean, outage
from tests.simulation.judges import judge

Change = Callable[[Evidence], None]
TRUE: Final = "incidents are what the accounts say"
TOLD: Final = "an incident is told once"


def _outage(seen: Evidence, **changes: object) -> None:
    """Let an account have no connection for ten minutes, and an incident that says so."""
    journal, began, ended = outage()
    seen.journals, seen.readers, seen.followings = [journal], [], []
    given: dict[str, object] = {"opened": began + 120.0, "closed": ended, **changes}
    seen.incidents = [IncidentReport(number=1, kind="outage", accounts=(ONE,), since=began, **given)]  # type: ignore[arg-type]  # of the tests


def _outage_in_no_incident(seen: Evidence) -> None:
    _outage(seen)
    seen.incidents = []


def _incident_too_late(seen: Evidence) -> None:
    _, began, _ = outage()
    _outage(seen, opened=began + 500.0)


def _incident_too_early(seen: Evidence) -> None:
    _, began, _ = outage()
    _outage(seen, opened=began + 5.0)


def _open_for_nobody(seen: Evidence) -> None:
    seen.incidents = [
        IncidentReport(number=1, kind="outage", accounts=(ONE,), opened=200.0, inside=frozenset({("connection", ONE)}))
    ]


def _nobody_is_told(seen: Evidence) -> None:
    seen.faults.append(FaultSeen(at=1500.0, kind="credentials.revoked", account=TWO, ended=1500.0, parks=True))
    seen.standings.append(
        Standing(at=9000.5, account=TWO, state="auth_failed", cause="AuthKeyInvalid", action="log in", parked=True)
    )
    seen.incidents = []


def _in_two_at_once(seen: Evidence) -> None:
    inside = frozenset({("jobs", "send")})
    seen.incidents = [
        IncidentReport(number=number, kind="job_failed", cause="send", inside=inside) for number in (1, 2)
    ]


def _told_twice(seen: Evidence) -> None:
    text = "❌ Incident 7: Account 1 has no connection"
    seen.logs += [
        LogLine(at=at, life=1, level="error", event="incident_opened", account=ONE, text=text) for at in (510.0, 520.0)
    ]


BROKEN: Final[Mapping[Change, str]] = {
    _outage_in_no_incident: TRUE,
    _incident_too_late: TRUE,
    _incident_too_early: TRUE,
    _open_for_nobody: TRUE,
    _nobody_is_told: TRUE,
    _in_two_at_once: TOLD,
    _told_twice: TOLD,
}
"""What breaks a promise of incidents, and the judge that condemns it; the tests of all judges try these."""


def _told_again_after_a_kill(seen: Evidence) -> None:
    text = "❌ Incident 7: Account 1 has no connection"
    seen.logs += [
        LogLine(at=at, life=life, level="error", event="incident_opened", account=ONE, text=text)
        for at, life in ((999.0, 1), (1011.0, 2))
    ]


def _short_outage(seen: Evidence) -> None:
    journal, _, _ = outage(seconds=60.0)
    seen.journals, seen.readers, seen.followings, seen.incidents = [journal], [], [], []


def _fails_on_purpose(seen: Evidence) -> None:
    seen.incidents = [IncidentReport(number=1, kind="job_failed", cause="send", inside=frozenset({("jobs", "send")}))]


@pytest.mark.parametrize(
    "change",
    [_outage, _told_again_after_a_kill, _short_outage, _fails_on_purpose],
    ids=lambda change: change.__name__.strip("_"),
)
def test_an_incident_that_is_right_is_accepted(change: Change) -> None:
    """What the accounts bear out is not condemned."""
    seen = clean()
    change(seen)
    assert [str(each) for each in judge(seen)] == []
