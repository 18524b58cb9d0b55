"""Who is told of what befalls a fleet. ``python -m tests.soak.alerts`` does the same for three minutes, at length."""

from pathlib import Path

import pytest
from attrs import evolve

from states.incident import Incident, IncidentKind, Severity
from tests.soak import alerts
from tests.soak.inboxes import Inbox, told_in

PLAN = alerts.Plan(accounts=6, seconds=6.0, kills=3, seed=2, program="tests.soak.quick_alerts")
INCIDENT = Incident(
    id=1, kind=IncidentKind.OUTAGE, cause="NetworkLost", severity=Severity.WARNING, since=1.0, opened=2.0, closed=3.0
)


@pytest.mark.slow
async def test_each_incident_is_told_once_across_three_kills(tmp_path: Path) -> None:
    """At a mail server and a webhook that refuse messages now and then; a kill repeats one message at most."""
    figures = await alerts.run(tmp_path, PLAN)
    assert figures.lives == 4
    assert figures.incidents["needs_person"] >= 2
    assert sum(figures.again.values()) > 0, "no kill has hit a message between its arrival and its mark"


def test_messages_are_read() -> None:
    """One about one incident, and a digest."""
    assert told_in("❌ A needs you: log in again", "Who: A\n\nIncident 7. To hear no more of it: …") == [(7, "opened")]
    assert told_in("✅ Over: A needed you (it lasted 5 s)", "Who: A\n\nIncident 7") == [(7, "closed")]
    digest = (
        "4 messages came together, so they are in one:\n\n"
        "❌ A needs you – since 2026-01-01 00:00:00 (UTC+0000), incident 1\n"
        "✅ Over: B had no connection (it lasted 5 s) – since 2026-01-01 00:00:00 (UTC+0000), incident 2\n"
        "and 2 more, incidents 3, 4\n\nAll of them, with what to do: …"
    )
    assert told_in("❌ 4 messages at once", digest) == [(1, "opened"), (2, "closed"), (3, "some"), (4, "some")]


@pytest.mark.parametrize(
    ("taken", "says"),
    [
        ([], "incident 1 (outage) was told to nobody"),
        ([[(1, "opened")]], "the end of incident 1 (outage) was told to nobody"),
        ([[(1, "opened"), (1, "closed")], [(2, "opened")]], "opened of an incident 2 that is not in the file"),
    ],
)
def test_a_difference_is_told(taken: list[list[tuple[int, str]]], says: str) -> None:
    """What is missing, and what is too much."""
    inbox = Inbox(taken=taken)
    assert list(alerts.differences([INCIDENT], inbox, "c", ())) == [says]


def test_what_is_as_it_should_be_is_no_difference() -> None:
    """An end that says all of it, an incident that went on in another, a channel that is not told of itself."""
    assert not list(alerts.differences([INCIDENT], Inbox(taken=[[(1, "closed")]]), "c", ()))
    assert not list(alerts.differences([INCIDENT], Inbox(taken=[[(1, "opened")]]), "c", {1}))
    own = evolve(INCIDENT, kind=IncidentKind.CHANNEL, cause="c", closed=None)
    assert not list(alerts.differences([own], Inbox(), "c", ()))
    assert Inbox(taken=[[(1, "opened")], [(2, "opened"), (1, "opened")]]).again() == [[(2, "opened"), (1, "opened")]]


def test_the_same_seed_hurts_in_the_same_way() -> None:
    """What a run found can be run again."""
    assert alerts.Plan(seed=3).steps() == alerts.Plan(seed=3).steps()
    assert alerts.Plan(seed=3).steps() != alerts.Plan(seed=4).steps()
