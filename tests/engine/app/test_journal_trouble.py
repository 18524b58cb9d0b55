"""What the log says of a journal that cannot be written for long."""

from typing import Any

from structlog.testing import capture_logs

from engine.app.journal import SAID_SECONDS, JournalTrouble
from states.events import DatabaseUnavailable, Failure


class Heard:
    """The incidents, which hear of every try."""

    def __init__(self) -> None:
        self.all: list[Failure | None] = []

    def storage_trouble(self, failure: Failure | None) -> None:
        self.all.append(failure)


def test_a_long_outage_is_said_once_a_minute() -> None:
    """The first try, another cause, a minute later, and the end; the incidents hear of every try."""
    heard: Any = Heard()
    now = 0.0
    told = JournalTrouble(heard, clock=lambda: now)
    away, full = DatabaseUnavailable(detail="the server is away"), DatabaseUnavailable(detail="the disk is full")
    with capture_logs() as lines:
        told(away, 1)
        for now in (1.0, 2.0, SAID_SECONDS - 1):  # noqa: B007 - the clock has it
            told(away, 2)
        told(full, 3)
        now += SAID_SECONDS
        told(full, 4)
        told(None, 0)
        told(full, 5)
    written = ("journal_written", None)
    waits = [("journal_waits", rows) for rows in (1, 3, 4, 5)]
    assert [(each["event"], each.get("rows")) for each in lines] == [*waits[:3], written, waits[3]]
    assert len(heard.all) == 8
