"""What was missed in an incident, as the engine's file says it. A composition root."""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from attrs import define, field

from adapters.sqlite import JournalReader, StorageError
from adapters.sqlite.job_reader import JobReader
from engine.incidents.missed import Found, event_of, found_in, sentence
from states import alerts
from states.incident import Incident
from states.incidents import Change, Closed

MAX_REPORTS: Final = 50_000
"""Records that are read for one incident."""
LATE_REPORTS: Final = 86_400.0
"""Seconds after the end of an incident in which is looked for what its last links still fetched."""
TIMEOUT: Final = 2.0
"""Seconds that the engine looks for what was missed; its messages do not wait longer for that."""
UNREAD: Final = "it is not known: the journal could not be read"
"""What is said of an incident if it was not found in time."""


def read_found(path: Path, incident: Incident) -> dict[str, Found]:
    """Return what each account of an incident has fetched since. Blocks. Raises ``StorageError``."""
    event = event_of(incident.kind)
    if event is None or not incident.accounts:
        return {}
    until = None if incident.closed is None else incident.closed + LATE_REPORTS
    with JournalReader.open(path) as reader:
        reader.on_unreadable = lambda row: None  # of an account without a report, nothing is known
        reports = reader.entries(accounts=incident.accounts, event=event, since=incident.since, until=until)
        return found_in(incident, islice(reports, MAX_REPORTS))


def read_missed(path: Path, incident: Incident) -> str:
    """Return what was missed in an incident that is over; empty if not known. Blocks. Raises ``StorageError``."""
    found = read_found(path, incident)
    with JobReader.open(path) as jobs:
        until = incident.opened if incident.closed is None else incident.closed
        failed = jobs.count_failed(incident.accounts, incident.since, until)
    return sentence(incident, found, failed)


@define(eq=False)
class Missed:
    """What was missed in the incidents whose end is told next."""

    path: Path | None = None
    _known: dict[int, str] = field(factory=dict, init=False)

    def of(self, incident: alerts.Incident) -> str:
        """Return what was missed in an incident, in a sentence; empty if nothing is known of it."""
        return self._known.get(incident.id, "")

    async def look_up(self, changes: Sequence[Change]) -> None:
        """Look for what was missed in those that are over; of a file that cannot be read in time, that is said."""
        over = [each.incident for each in changes if isinstance(each, Closed) and each.into is None]
        ended = [incident for incident in over if incident.accounts]
        self._known = {incident.id: UNREAD for incident in ended}
        with anyio.move_on_after(TIMEOUT):
            for incident in ended:
                read = partial(_read_or_say, self.path, incident)
                self._known[incident.id] = await anyio.to_thread.run_sync(read, abandon_on_cancel=True)


def _read_or_say(path: Path | None, incident: Incident) -> str:
    try:
        return UNREAD if path is None else read_missed(path, incident)
    except StorageError:
        return UNREAD
