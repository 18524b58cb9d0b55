"""``incidents show``: one incident at length."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from adapters.stores.journal_rows import UnreadableRow
from adapters.system import Holder
from engine.app.missed import read_found, read_missed
from engine.app.records import StoragePlace, open_records
from engine.app.stored_incidents import open_incidents
from engine.app.stored_jobs import open_jobs
from engine.cli.common import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    AsJson,
    config_and_numbers,
    fail,
    have_engine_look,
    reporting_errors,
)
from engine.cli.incidents import ConfigAndIncidents
from engine.cli.log_common import tell_unreadable
from engine.cli.measured import measured
from engine.config import load_outline
from engine.console import journal_lines
from engine.console.format import iso
from engine.console.incident_page import WEEK, AccountLoss, Frequency, lines, show_data, trend_of
from engine.console.safe_text import json_text, one_line
from engine.console.shell import engine_command
from engine.incidents.missed import Found
from engine.journal.stats import COUNTED_STATES, Figures
from states import Entry, State
from states.incident import Incident, IncidentKind
from states.job import Job, JobState

if TYPE_CHECKING:  # only the types
    from engine.journal.ports import JournalRecords

EDGE: Final = 10
"""Records that are shown from the beginning of an incident, and as many from its end."""
MAX_JOBS: Final = 5
"""Failed jobs that are shown."""
AROUND: Final = 2.0
"""Seconds before and after an incident whose records belong to it: it is noted a moment later than they are."""


@frozen(kw_only=True)
class Story:
    """What the files say of an incident."""

    incident: Incident
    lost: Sequence[AccountLoss]
    trend: Frequency
    missed: str | None
    """What was missed, empty if that is not known; None if the incident is not over."""
    first: Sequence[Entry]
    """Its first records."""
    last: Sequence[Entry]
    """Its last ones, as far as they are not among the first."""
    jobs: Sequence[Job]
    """Failed jobs of the kind that it is about."""

    @property
    def whole(self) -> bool:
        """Whether these are all of its records."""
        return len(self.last) < EDGE


def show(*words: ConfigAndIncidents, as_json: AsJson = False) -> None:
    """Show incidents at length: what each of their accounts lost, what was missed, how often that was, the records.

    Exit code 0, or 1 if one of them does not exist.
    """
    with reporting_errors():
        config, numbers = config_and_numbers(words)
        if not numbers:
            fail(EXIT_BAD_INPUT, "say which incident: its number, as 'incidents' lists it")
        outline = load_outline(config)
        holder = have_engine_look(outline.directory)
        now, unreadable, unknown = time.time(), list[UnreadableRow](), list[str]()
        for number in dict.fromkeys(numbers):
            story = read_story(outline, holder, number, now, unreadable.append)
            if story is None:
                unknown.append(f"there is no incident {number}")
            elif as_json:
                print(json_text(story_data(story, now)))
            else:
                _print(story, config, now)
        tell_unreadable(unreadable)
        if unknown:
            fail(EXIT_FAILED, *unknown)


def read_story(
    place: StoragePlace,
    holder: Holder | None,
    number: int,
    now: float,
    on_unreadable: Callable[[UnreadableRow], None],
) -> Story | None:
    """Return what the files say of an incident; None if there is none of this number. Raises ``StorageError``."""
    with open_incidents(place) as incidents:
        if (incident := incidents.incident(number)) is None:
            return None
        left = incidents.left(number)
        end = now if incident.closed is None else incident.closed
        others = incidents.incidents(since=end - 2 * WEEK, until=end)
    found = read_found(place, incident)
    with open_records(place) as journal:
        journal.on_unreadable = on_unreadable
        begins = min((at for _, at in journal.oldest(1)), default=None)
        figures = _figures(journal, holder, incident, end)
        first, last = _records(journal, incident, end)
    lost = [_loss(name, figures.get(name), found.get(name, Found()), left.get(name)) for name in incident.accounts]
    missed = None if incident.is_open else read_missed(place, incident)
    jobs: list[Job] = []
    if incident.kind is IncidentKind.JOB_FAILED:
        with open_jobs(place) as reader:
            jobs = list(reader.jobs({"kind": [incident.cause], "state": [JobState.FAILED.value]}, last=MAX_JOBS))
    trend = trend_of(incident, others, now, begins)
    return Story(incident=incident, lost=lost, trend=trend, missed=missed, first=first, last=last, jobs=jobs)


def _figures(journal: "JournalRecords", holder: Holder | None, incident: Incident, end: float) -> dict[str, Figures]:
    """Return how the accounts of an incident were connected in it."""
    if not incident.accounts:
        return {}
    with journal.read_transaction():
        return measured(journal, holder, incident.since, end, frozenset(incident.accounts)).accounts


def _loss(account: str, figures: Figures | None, found: Found, left: float | None) -> AccountLoss:
    away, outages = 0.0, 0
    if figures is not None:
        away = sum(figures.seconds[state] for state in COUNTED_STATES if state is not State.HEALTHY)
        outages = sum(count for _, count, _ in figures.causes)
    return AccountLoss(
        account=account,
        left=left,
        away=away,
        outages=outages,
        fetched=found.fetched if found.reported else None,
        too_long=found.too_long,
        missing=found.missing,
    )


def _records(journal: "JournalRecords", incident: Incident, end: float) -> tuple[list[Entry], list[Entry]]:
    """Return the first records of an incident, and its last ones that are not among them."""
    if not incident.accounts:
        return [], []
    since, until = incident.since - AROUND, end + AROUND
    entries = partial(journal.entries, accounts=incident.accounts, since=since, until=until)
    first = list(islice(entries(), EDGE))
    if len(first) < EDGE:
        return first, []
    return first, [entry for entry in entries(limit=EDGE) if entry.seq > first[-1].seq]


def story_data(story: Story, now: float) -> dict[str, Any]:
    """Return what ``incidents show --json`` prints."""
    return {
        **show_data(story.incident, story.lost, story.trend, story.missed, now),
        "records": [journal_lines.as_data(entry) for entry in (*story.first, *story.last)],
        "all_records": story.whole,
        "failed_jobs": [{"id": job.id, "detail": job.detail} for job in story.jobs],
    }


def _print(story: Story, config: Path, now: float) -> None:
    from rich.console import Console  # noqa: PLC0415 - JSON needs none of it

    console = Console(highlight=False)

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    for line in lines(story.incident, story.lost, story.trend, story.missed, now, config=config):
        say(line)
    for job in story.jobs:
        say(one_line(f"   job {job.id}: {job.detail}"))
    if not story.first:
        return
    say("\nWhat happened:")
    for entry in story.first:
        console.print(journal_lines.as_text(entry), soft_wrap=True)
    if not story.whole:
        say(f"     … all of it: {_all_records(story.incident, config, now)}")
    for entry in story.last:
        console.print(journal_lines.as_text(entry), soft_wrap=True)


def _all_records(incident: Incident, config: Path, now: float) -> str:
    """Return the command that prints all records of the time of an incident."""
    end = now if incident.closed is None else incident.closed
    options = ["--since", str(iso(incident.since - AROUND)), "--until", str(iso(end + AROUND))]
    if len(incident.accounts) == 1:
        options += ["--account", incident.accounts[0]]
    return engine_command("log", config, options=options)
