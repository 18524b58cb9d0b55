"""``incidents`` and ``incidents ack``; ``incidents show`` is in ``incidents_show``."""

import time
from typing import Annotated

from engine.app.records import StoragePlace, open_records
from engine.app.stored_incidents import note_incident, open_incidents
from engine.cli.common import (
    DEFAULT_CONFIG,
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    AsJson,
    ConfigPath,
    config_and_numbers,
    fail,
    have_engine_look,
    is_older,
    reporting_errors,
    say,
)
from engine.cli.declared import CommandGroup, Parameter
from engine.cli.times import Period, Since, Until, parse_period
from engine.config import load_outline
from engine.console.incident_lines import acknowledged, as_data, paragraph
from engine.console.incident_page import DAY, none_found, summary
from engine.console.safe_text import json_text
from states.incident import Incident

DEFAULT_LAST = 50
"""Incidents that are listed if nothing else is said."""

app = CommandGroup(name="incidents", help="What went wrong for so long, or so badly, that somebody should know.")
app.commands["show"] = "engine.cli.incidents_show:show"


@app.default
def show(
    config: ConfigPath = DEFAULT_CONFIG,
    *,
    open_only: Annotated[bool, Parameter(name="--open", negative="", help="Only those that are not over.")] = False,
    last: Annotated[int | None, Parameter(name=["--last", "-n"], help="Only the newest so many.")] = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """List incidents, oldest first: what is the matter, since when, for whom, and what to do.

    Without --open, the newest 50; with it, all that are not over; with --since or --until, all that went on then. The
    last line says whether it is getting worse. --json prints one object per line. Exit code 0 if no incident is open, 1
    if one is.
    """
    period = parse_period(since, until)
    if last is not None and last < 1:
        fail(EXIT_BAD_INPUT, "-n must be at least 1")
    with reporting_errors():
        outline = load_outline(config)
        have_engine_look(outline.directory)
        unreadable: list[str] = []
        limit = last if last is not None or open_only or period != Period() else DEFAULT_LAST
        now = time.time()
        with open_incidents(outline) as reader:
            reader.on_unreadable = lambda number, why: unreadable.append(why)
            found = reader.incidents(open_only=open_only, last=limit, since=period.since, until=period.until)
            recent = [] if as_json else reader.incidents(since=now - 2 * DAY)
            is_any_open = any(each.is_open for each in found) or bool(reader.incidents(open_only=True, last=1))
        if as_json:
            for each in found:
                print(json_text(as_data(each)))
        else:
            begins, healthy = _from_journal(outline, found)
            for each in found:
                print("\n".join(paragraph(each, now, config, healthy)))
            if not found:
                print("no incident is open" if open_only else none_found(period.until, begins))
            if recent:
                print(summary(recent, now, begins))
        if unreadable:
            fail(EXIT_FAILED, *unreadable)
        raise SystemExit(EXIT_FAILED if is_any_open or is_older() else 0)


def _from_journal(place: StoragePlace, found: list[Incident]) -> tuple[float | None, set[str]]:
    """Return the time of the oldest record, None if there is none, and which accounts of open incidents are healthy."""
    from engine.cli.stored_status import read_statuses  # noqa: PLC0415 - JSON needs none of it

    with open_records(place) as journal:
        journal.on_unreadable = lambda row: None  # nothing is known of that account
        begins = min((at for _, at in journal.oldest(1)), default=None)
        statuses = (
            read_statuses(place.directory, journal) if any(each.is_open and each.accounts for each in found) else {}
        )
    return begins, {name for name, at in statuses.items() if at.healthy}


ConfigAndIncidents = Annotated[
    str,
    Parameter(name="[CONFIG] NUMBER…", negative="", help="The config file (config.yaml), and numbers of incidents."),
]


@app.command("ack")
def ack(*words: ConfigAndIncidents, as_json: AsJson = False) -> None:
    """Say that you know of incidents: they stay open until they are over, and nobody is reminded of them any more.

    Exit code 0 if all of them are acknowledged, 1 if one is over already, or does not exist.
    """
    with reporting_errors():
        config, numbers = config_and_numbers(words)
        if not numbers:
            fail(EXIT_BAD_INPUT, "say which incidents: their numbers, as 'incidents --open' lists them")
        outline = load_outline(config)
        have_engine_look(outline.directory)
        known, refused = [], []
        for number in dict.fromkeys(numbers):
            incident, _ = note_incident(outline, number, time.time())
            if incident is None:
                refused.append(f"there is no incident {number}")
            elif incident.acked is None:
                refused.append(acknowledged(number, incident))
            else:
                known.append(incident)
        have_engine_look(outline.directory)
        if as_json:
            for each in known:
                print(json_text(as_data(each)))
        else:
            say(*(acknowledged(each.id, each) for each in known))
        if refused:
            fail(EXIT_FAILED, *refused)


def acknowledge(place: StoragePlace, number: int) -> Incident | None:
    """Note that a person knows of an incident, and have a running engine see that; return it as it is now.

    None if there is no such incident; one that is over stays as it is. Raises ``StorageError``.
    """
    have_engine_look(place.directory)
    incident, _ = note_incident(place, number, time.time())
    have_engine_look(place.directory)
    return incident
