"""What was missed in an incident, as the engine's database says it. A composition root."""

from itertools import islice
from typing import Final

import anyio.to_thread
from attrs import evolve

from adapters.sqlite import StorageError
from engine.app.records import StoragePlace, open_records
from engine.app.stored_incidents import open_incidents
from engine.app.stored_jobs import open_jobs
from engine.incidents.missed import Found, event_of, found_in, sentence
from states.alerts import About
from states.incident import Incident

MAX_REPORTS: Final = 50_000
"""Records that are read for one incident."""
LATE_REPORTS: Final = 86_400.0
"""Seconds after the end of an incident in which is looked for what its last links still fetched."""
UNREAD: Final = "it is not known: the journal could not be read"
"""What is said of an incident if the database did not say it."""


def read_found(place: StoragePlace, incident: Incident) -> dict[str, Found]:
    """Return what each account of an incident has fetched since. Blocks. Raises ``StorageError``."""
    event = event_of(incident.kind)
    if event is None or not incident.accounts:
        return {}
    until = None if incident.closed is None else incident.closed + LATE_REPORTS
    with open_records(place) as reader:
        reader.on_unreadable = lambda row: None  # of an account without a report, nothing is known
        reports = reader.entries(accounts=incident.accounts, event=event, since=incident.since, until=until)
        return found_in(incident, islice(reports, MAX_REPORTS))


def read_missed(place: StoragePlace, incident: Incident) -> str:
    """Return what was missed in an incident that is over; empty if not known. Blocks. Raises ``StorageError``."""
    found = read_found(place, incident)
    with open_jobs(place) as jobs:
        until = incident.opened if incident.closed is None else incident.closed
        failed = jobs.count_failed(incident.accounts, incident.since, until)
    return sentence(incident, found, failed)


async def missed_in(place: StoragePlace, about: About) -> str:
    """Return what was missed in an incident that messages tell of, and which is over; see ``read_missed``."""
    return await anyio.to_thread.run_sync(_read_or_say, place, about, abandon_on_cancel=True)


def _read_or_say(place: StoragePlace, about: About) -> str:
    try:
        with open_incidents(place) as reader:
            incident = reader.incident(about.id)
        # Its end is stored behind, and what is told of it names few of its accounts.
        return UNREAD if incident is None else read_missed(place, evolve(incident, closed=about.closed))
    except StorageError:
        return UNREAD
