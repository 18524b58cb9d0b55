"""What the log says of a journal that cannot be written for long."""

from types import SimpleNamespace
from typing import Any

from structlog.testing import capture_logs

from engine.app.journal import SAID_SECONDS, JournalTrouble, unwritten
from engine.app.outward import OutwardParts
from engine.control.protocol import Unwritten
from engine.web.health import examine, hangs, problems
from states.events import DatabaseUnavailable, Failure


class Heard:
    """The incidents, which hear of every try."""

    def __init__(self) -> None:
        self.all: list[Failure | None] = []

    def storage_trouble(self, failure: Failure | None, of: object) -> None:
        assert isinstance(of, JournalTrouble)
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


def test_a_node_without_a_lease_says_why_nothing_is_written() -> None:
    """No row waits then, and what is stored says that its accounts are healthy; nothing is said while it has one."""
    trouble: DatabaseUnavailable | None = None

    class Journal:
        waiting = 3

        @property
        def pulse(self) -> Any:
            return SimpleNamespace(trouble=trouble)

    journal: Any = Journal()
    assert unwritten(journal, "") is None
    assert unwritten(journal, "engine.db: the disk is full") == Unwritten(3, "engine.db: the disk is full")
    trouble = DatabaseUnavailable(detail="the disk is full")
    assert unwritten(journal, "the store is silent") == Unwritten(3, "the disk is full")


async def test_a_node_that_has_no_lease_for_long_does_not_live() -> None:
    """A heartbeat stops then, and somebody is told: no row waits, and no incident can be stored."""
    fleet = SimpleNamespace(stop=SimpleNamespace(is_set=lambda: False))
    pulse = SimpleNamespace(trouble=None, behind=0.0, silent=0.0)
    journal, jobs = SimpleNamespace(pulse=pulse, waiting=0), SimpleNamespace(dispatcher=None)
    parts = SimpleNamespace(fleet=fleet, journal=journal)
    node = SimpleNamespace(silence="engine.db: the disk is full", silent_for=31.0)
    given: Any = (parts, jobs, None, None, None, SimpleNamespace(node=node))
    at = OutwardParts(*given).vitals()
    (problem,) = problems(examine(at))
    assert problem.endswith("and 0 rows wait (engine.db: the disk is full)")
    assert not hangs(examine(at))
    node.silence = ""
    assert not problems(examine(OutwardParts(*given).vitals()))
