"""What was missed in an incident: read from the engine's own file when the incident is over, and told with its end."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve, frozen

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sqlite import JournalWriter
from engine import Engine
from engine.alerts import delivery
from engine.app.missed import UNREAD, missed_in, read_missed
from states import incident_book
from states.alerts import about
from states.events import CaughtUp, Connected, NetworkLost, Started, TurnGranted
from states.incident import Incident, IncidentKind, Severity
from states.incidents import IncidentPolicy, Opened, Slot
from tests.engine.commands import write_life
from tests.engine.harness import FAST, EngineHarness, all_are
from tests.states.harness import NOW, AccountDriver
from tests.timeouts import TIMEOUT

OVER = Incident(
    id=1, kind=IncidentKind.OUTAGE, cause="NetworkLost", accounts=("News", "Shop"), severity=Severity.WARNING,
    since=NOW, opened=NOW + 120, closed=NOW + 130,
)  # fmt: skip


@frozen
class StoredAt:
    """Where a config keeps its data."""

    directory: Path
    database: str | None = None


@pytest.fixture
async def place(tmp_path: Path) -> StoredAt:
    """Write a journal: News has fetched three updates, Shop has said nothing, and two of its jobs have failed."""
    journal = await JournalWriter.open(tmp_path / "engine.db", on_trouble=lambda *_: None)
    beginning = [Started(), TurnGranted(generation=0), Connected()]
    await write_life(journal, "News", AccountDriver(), [*beginning, CaughtUp(recovered=3)])
    await write_life(journal, "Shop", AccountDriver(), [*beginning, NetworkLost()])
    members = tuple((Slot.CONNECTION, name) for name in OVER.accounts)
    await journal.incidents.keep([Opened(incident=evolve(OVER, closed=None), members=members)])
    assert await journal.aclose(5) == 0
    with closing(sqlite3.connect(tmp_path / "engine.db")) as db:
        for worker, state, ended in (
            ("Shop", "failed", 60), ("Shop", "failed", 125), ("Shop", "failed", 999), ("Shop", "done", 60),
            ("Other", "failed", 60), (None, "failed", None),
        ):  # fmt: skip
            db.execute(
                "INSERT INTO jobs (kind, data, state, added, ended, worker) VALUES ('send', '{}', ?, 0, ?, ?)",
                (state, None if ended is None else NOW + ended, worker),
            )
        db.commit()
    return StoredAt(tmp_path)


async def test_it_is_read_from_the_file(place: StoredAt) -> None:
    """Updates that came late, accounts that have said nothing, and jobs that failed meanwhile."""
    assert read_missed(place, OVER) == (
        "of Shop it is not known: no connection has fetched updates since; 3 updates came late and were fetched"
        " afterwards; 2 jobs of these accounts failed meanwhile (see 'jobs list --state failed')"
    )
    assert read_missed(place, evolve(OVER, kind=IncidentKind.CHANNEL, accounts=())) == ""


async def test_it_is_known_to_messages(place: StoredAt) -> None:
    """By the number of the incident alone: they name few of its accounts, and its end may not be in the file yet."""
    few = evolve(about(OVER), accounts=())
    assert await missed_in(place, few) == read_missed(place, OVER)


async def test_what_cannot_be_read_is_said(place: StoredAt) -> None:
    """An incident that is not there, and a file that is missing, or is no database."""
    assert await missed_in(place, about(evolve(OVER, id=2))) == UNREAD
    assert await missed_in(StoredAt(place.directory / "none"), about(OVER)) == UNREAD
    (place.directory / "engine.db").write_bytes(b"no database" * 100)
    assert await missed_in(place, about(OVER)) == UNREAD


def has_caught_up(harness: EngineHarness) -> bool:
    """Return whether updates were fetched since the last loss."""
    seen = [entry.event for entry in harness.entries()]
    return "CaughtUp" in seen[len(seen) - seen[::-1].index("NetworkLost") :]


async def test_the_end_is_told_with_it(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that came during an outage is fetched afterwards, and the command that is told says so."""
    monkeypatch.setattr(delivery, "MISSED_WITHIN", TIMEOUT)
    phone, told = "+9996620001", harness.directory / "told.jsonl"
    command = f'sh -c "cat >> {told}; echo >> {told}"'
    rest = f"{FAST}\nincidents: {{after: 300ms}}\nalerts: [{{exec: {json.dumps(command)}, on: outage, after: 0s}}]\n"

    def messages(_: EngineHarness) -> list[dict[str, object]]:
        lines = told.read_text("utf-8").splitlines() if told.exists() else []
        return [each for line in lines if line for each in json.loads(line)["incidents"]]

    async with Sandbox() as dc:
        harness.at(dc, phone, rest=rest)
        async with Engine.from_config(harness.config) as engine:
            await harness.until(all_are("healthy", 1))
            await dc.inject(Fault(FaultKind.REFUSE))
            await dc.inject(Fault(FaultKind.RESET, phone))
            await harness.until(lambda it: len(messages(it)) == 1)
            await dc.push(phone, "while it was away")
            await dc.clear()
            await harness.until(has_caught_up)
            monkeypatch.setattr(incident_book, "CALM", 0.0)
            assert engine.incidents.watch is not None
            engine.incidents.watch.use_policy(IncidentPolicy(after=0.2))
            await harness.until(lambda it: len(messages(it)) == 2)
    opened, closed = messages(harness)
    assert (opened["message"], opened["missed"]) == ("opened", "")
    assert (closed["message"], closed["missed"]) == (
        "closed", "nothing: 1 update came late and was fetched afterwards",
    )  # fmt: skip
