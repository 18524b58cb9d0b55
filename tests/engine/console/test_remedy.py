"""What to do about an incident comes with commands that can be typed as they are."""

import pytest

from engine.alerts.messages import details
from engine.console.incident_lines import paragraph
from engine.console.remedy import commands_for
from states.alerts import About, ChannelAlert, MessageKind
from states.incident import Incident, IncidentKind, Severity

ME = "python -m engine"


@pytest.mark.parametrize(
    ("kind", "cause", "accounts", "commands"),
    [
        ("needs_person", "log_in", ("News 7",), [f"{ME} login c.yaml 'News 7'"]),
        ("needs_person", "stop_other_copy", ("A",), [f"{ME} doctor c.yaml", f"{ME} login c.yaml A"]),
        ("needs_person", "restore_session", ("A",), [f"{ME} session restore c.yaml A"]),
        (
            "needs_person",
            "mend_config",
            ("A", "B"),
            [f"{ME} doctor c.yaml", f"{ME} reload c.yaml", f"{ME} retry c.yaml A"],
        ),
        (
            "needs_person",
            "retry",
            ("-x",),
            [f"{ME} log c.yaml --account=-x --failed -n 10", f"{ME} retry -- c.yaml -x"],
        ),
        ("outage", "NetworkLost", ("A",), [f"{ME} log c.yaml --account A --failed -n 10"]),
        ("outage", "NetworkLost", ("A", "B"), [f"{ME} doctor c.yaml"]),
        ("flapping", "NetworkLost", ("A", "B"), [f"{ME} log stats c.yaml --since 24h"]),
        ("job_failed", "send it", (), [f"{ME} jobs list c.yaml --state failed --kind 'send it'"]),
        ("channel", "json", (), [f"{ME} alerts test c.yaml"]),
        ("storage", "the disk", (), [f"{ME} doctor c.yaml"]),
        ("limited", "PeerFlood", ("A\x1b\n",), [f"{ME} retry c.yaml $'A\\x1b\\n'"]),
        ("limited", "PeerFlood", ("A" * 900,), []),
        ("a kind of later", "x", ("A",), []),
    ],
)
def test_each_incident_has_its_commands(kind: str, cause: str, accounts: tuple[str, ...], commands: list[str]) -> None:
    """They name the config and the account, quoted as the shell reads them."""
    assert commands_for(kind, cause, accounts, "c.yaml") == commands


def an_incident(**changes: object) -> Incident:
    """Return one that needs a person."""
    found = {
        "id": 3,
        "kind": IncidentKind.NEEDS_PERSON,
        "cause": "log_in",
        "accounts": ("A", "B"),
        "severity": Severity.CRITICAL,
        "since": 100.0,
        "opened": 100.0,
    }
    return Incident(**{**found, **changes})  # type: ignore[arg-type]


def test_the_list_of_incidents_has_them() -> None:
    """Of several accounts, the first; and it says so."""
    lines = paragraph(an_incident(), 160.0, "c.yaml")
    assert lines[-1] == f"   how: {ME} login c.yaml A (so for each account)"


def test_where_all_are_healthy_again_there_is_nothing_to_do() -> None:
    """It is open until that has lasted; one of two that is not leaves all as it was."""
    outage = an_incident(kind=IncidentKind.OUTAGE, cause="NetworkLost")
    assert paragraph(outage, 160.0, "c.yaml", {"A", "B"})[-1] == (
        "   what to do: nothing, all are healthy now; it is over when that has lasted"
    )
    assert paragraph(outage, 160.0, "c.yaml", {"A"})[-1] == f"   how: {ME} doctor c.yaml"
    job = an_incident(kind=IncidentKind.JOB_FAILED, cause="send")
    assert "nothing" not in paragraph(job, 160.0, "c.yaml", {"A", "B"})[-1]


def test_what_is_over_has_none() -> None:
    """There is nothing to do."""
    assert not [line for line in paragraph(an_incident(closed=130.0), 160.0, "c.yaml") if "how:" in line]


def test_a_message_has_them() -> None:
    """Whoever reads it on a phone knows what to type, before they know the documents."""
    about = About(
        id=3, kind="needs_person", cause="log_in", accounts=("A",), accounts_total=1, since=100.0, opened=100.0
    )
    alert = ChannelAlert(channel="exec", about=about, message=MessageKind.OPENED, due=None)
    assert f"How: {ME} login c.yaml A" in details(alert, 160.0, "c.yaml").splitlines()
