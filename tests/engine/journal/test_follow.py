"""``log replay --follow``: records are checked as they are written, whatever happens to the file meanwhile."""

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sqlite import DatabaseUnusable, JournalReader, JournalWriter
from adapters.sqlite.renames import Rename, rename
from engine.cli.log_follow import FollowedJournal
from engine.cli.log_replay import as_data, as_text, follow_until_incident
from engine.journal.watch import Irregularity
from states import Event, Policy
from states.events import Closed, Connected, Elapsed, NetworkLost, ProbeAnswered, Stable, Started, StopRequested
from states.events import TurnGranted as Granted
from tests.engine.commands import Run, write_life
from tests.engine.journal.conftest import next_life
from tests.states.harness import AccountDriver

BEGINNING: tuple[Event, ...] = (Started(), Granted(generation=0), Connected(), ProbeAnswered(proof=True))
OUTAGE: tuple[Event, ...] = (NetworkLost(), Elapsed(generation=0), Granted(generation=0), Connected())
STOP: tuple[Event, ...] = (StopRequested(), Closed(generation=0))


class Scene:
    """An engine's journal that grows, and whoever follows it."""

    def __init__(self, path: Path, journal: JournalWriter) -> None:
        self.path, self.journal = path, journal
        self.drivers: dict[str, AccountDriver] = {}

    async def begin(self, name: str, *events: Event) -> None:
        """Let a new account begin its first life."""
        self.drivers[name] = AccountDriver(Policy())
        await write_life(self.journal, name, self.drivers[name], events)
        await self.journal.flush()

    async def again(self, name: str, *events: Event) -> None:
        """Let the next life of an account begin."""
        self.drivers[name] = next_life(self.drivers[name])
        await write_life(self.journal, name, self.drivers[name], events)
        await self.journal.flush()

    async def go_on(self, name: str, *events: Event) -> None:
        """Let an account's life go on."""
        for event in events:
            made = self.drivers[name].take(event)
            await self.journal.write(name, made.record, made.snapshot)
        await self.journal.flush()

    def change(self, *statements: str) -> None:
        """Change the file by hand."""
        with closing(sqlite3.connect(self.path)) as db:
            for statement in statements:
                db.execute(statement)
            db.commit()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Write a journal in which two accounts are connected."""
    file = tmp_path / "data" / "engine.db"
    journal = await JournalWriter.open(file, on_trouble=lambda *_: None)
    made = Scene(file, journal)
    await made.begin("One", *BEGINNING)
    await made.begin("Two", *BEGINNING)
    yield made
    await journal.aclose(5)


@pytest.fixture
def followed(scene: Scene) -> Iterator[FollowedJournal]:
    """Follow the journal."""
    one = FollowedJournal(scene.path, None, json=False)
    one.open()
    yield one
    one.close()


def checked(followed: FollowedJournal) -> int:
    """Check what is there; return how many records agreed so far."""
    while True:
        full, incident = followed.step()
        assert incident is None, incident.sentence
        if not full:
            return int(followed.report(None).records)


def incident_of(followed: FollowedJournal) -> Irregularity:
    """Check what is there; return the incident that it raises."""
    _, found = followed.step()
    assert found is not None
    return found


async def test_what_is_written_is_checked(scene: Scene, followed: FollowedJournal) -> None:
    """Records of lives that go on, of a new account and of a next life agree; what was there before is not read."""
    assert checked(followed) == 0
    await scene.go_on("One", Stable(generation=0), NetworkLost(), Granted(generation=0), Connected())
    assert checked(followed) == 4
    await scene.begin("Three", *BEGINNING)
    await scene.go_on("Two", *STOP)
    assert checked(followed) == 9
    await scene.again("Two", *BEGINNING)
    await scene.again("Two", Started())  # it was killed before that
    assert checked(followed) == 13
    report = followed.report(None)
    assert (report.accounts, report.lives) == (3, 5)


async def test_many_records(scene: Scene, followed: FollowedJournal) -> None:
    """More records than fit into a page are checked one page after the other."""
    for _ in range(300):
        await scene.go_on("One", *OUTAGE)
    assert checked(followed) == 1200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("UPDATE journal SET delay = delay + 0.001 WHERE seq = 7", "delay"),
        ("UPDATE journal SET target = source WHERE seq = 7", "target"),
        ("UPDATE journal SET rule = (SELECT id FROM names WHERE name = 'One') WHERE seq = 8", "rule"),
        ("UPDATE journal SET life = 9223372036854775807 WHERE seq = 8", "life"),
        ("UPDATE journal SET life = -1 WHERE seq = 8", "life"),
        ("UPDATE journal SET account = (SELECT id FROM names WHERE name = 'Two') WHERE seq = 8", "source"),
        ("DELETE FROM journal WHERE seq = 8", "seq"),
        (
            "UPDATE snapshots SET snapshot = replace(snapshot, '\"links\":2', '\"links\":9')",
            "the stored snapshot: links",
        ),
    ],
)  # fmt: skip
async def test_an_incident_names_the_record(scene: Scene, followed: FollowedJournal, change: str, field: str) -> None:
    """A record that the rules do not make, one that is missing and a snapshot that does not follow are incidents."""
    await scene.go_on("One", *OUTAGE)
    scene.change(change)
    found = incident_of(followed)
    assert found.difference is not None
    assert found.difference.field == field
    assert found.sentence.startswith("incident: record ")
    assert "\n" not in found.sentence


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE journal SET body = 'x' WHERE seq = 8",
        "UPDATE journal SET account = 999 WHERE seq = 8",
        "UPDATE journal SET at = x'00ff' WHERE seq = 8",
        "UPDATE journal SET life = 'first' WHERE seq = 8",
    ],
)
async def test_a_row_that_cannot_be_read_is_an_incident(scene: Scene, followed: FollowedJournal, change: str) -> None:
    """A row without a meaning cannot be vouched for: the incident says which it is."""
    await scene.go_on("One", *OUTAGE)
    scene.change(change)
    found = incident_of(followed)
    assert found.unreadable is not None
    assert "record 8" in found.sentence


async def test_what_cannot_have_happened_is_an_incident(scene: Scene, followed: FollowedJournal) -> None:
    """A runner that reports a turn nobody asked for breaks the law, though the rules have an answer to it."""
    await scene.go_on("One", NetworkLost(), Elapsed(generation=0), Granted(generation=0), Granted(generation=0))
    found = incident_of(followed)
    assert found.difference is not None
    assert (found.difference.breaks, found.difference.seq) == ("possible", 10)
    assert "a turn is granted, and none was asked for" in found.sentence


async def test_retention_takes_what_was_read(scene: Scene, followed: FollowedJournal) -> None:
    """Rows that are deleted after they were checked do not matter."""
    await scene.go_on("One", *OUTAGE)
    assert checked(followed) == 4
    scene.change("DELETE FROM journal WHERE seq <= 9")
    await scene.go_on("One", *OUTAGE)
    assert checked(followed) == 8


async def test_retention_takes_what_was_not_read(
    scene: Scene, followed: FollowedJournal, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows that are deleted before they were read are told, and the check goes on from the stored snapshots."""
    await scene.go_on("One", *OUTAGE)
    scene.change("DELETE FROM journal WHERE seq <= 9")
    assert checked(followed) == 0
    assert "Records 7 to 9 were deleted before they were read" in capsys.readouterr().err
    await scene.go_on("One", *OUTAGE)
    assert checked(followed) == 4


async def test_the_file_is_replaced_by_its_copy(
    scene: Scene, followed: FollowedJournal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A database made anew, with everything that the lost one had, is gone on with where the check was."""
    await scene.go_on("One", *OUTAGE)
    assert checked(followed) == 4
    await scene.go_on("Two", *OUTAGE)
    assert await scene.journal.aclose(5) == 0
    _copy(scene.path, tmp_path / "copy.db")
    (tmp_path / "copy.db").replace(scene.path)
    capsys.readouterr()
    assert checked(followed) == 8
    assert capsys.readouterr().err == ""


async def test_the_file_is_replaced_by_another(
    scene: Scene, followed: FollowedJournal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A database without the records that were checked is said to be another, and followed from its end."""
    await scene.go_on("One", *OUTAGE)
    assert checked(followed) == 4
    assert await scene.journal.aclose(5) == 0
    _copy(scene.path, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as db:
        db.execute("DELETE FROM journal WHERE seq > 6")
        db.commit()
    (tmp_path / "copy.db").replace(scene.path)
    checked(followed)
    assert "Another database has the name" in capsys.readouterr().err


@pytest.mark.parametrize("table", ["journal", "snapshots", "lives"])
async def test_a_table_is_taken_away(scene: Scene, followed: FollowedJournal, table: str) -> None:
    """A database without one of its tables is damaged: one sentence, as of a file that is no database."""
    await scene.again("One", *BEGINNING)
    scene.change("PRAGMA foreign_keys = OFF", f"DROP TABLE {table}")
    with pytest.raises(DatabaseUnusable, match=f"the database is damaged .no such table: .*{table}.; restore it"):
        followed.step()


async def test_a_missing_record_is_not_shown(scene: Scene, followed: FollowedJournal) -> None:
    """What is said of it claims neither an account nor that another command shows it."""
    await scene.go_on("One", *OUTAGE)
    scene.change("DELETE FROM journal WHERE seq = 9")
    text = as_text(followed.report(incident_of(followed)))
    assert text.startswith("❌ Record 9 is missing from the journal.\n")
    assert "explain" not in text


async def test_an_infinite_number_is_json(scene: Scene, followed: FollowedJournal) -> None:
    """A row may hold infinity, which JSON has not: whoever reads the lines must be able to."""
    await scene.go_on("One", *OUTAGE)
    scene.change("UPDATE journal SET at = 9e999 WHERE seq = 10")
    assert json.dumps(as_data(followed.report(incident_of(followed))), allow_nan=False)


async def test_accounts_change_their_names(scene: Scene, followed: FollowedJournal) -> None:
    """Two accounts that swap their names go on under them, and a single one is followed under its new name."""
    with closing(FollowedJournal(scene.path, "One", json=False)) as single:
        single.open()
        await scene.go_on("One", *OUTAGE, *STOP)
        await scene.go_on("Two", *STOP)
        assert (checked(followed), checked(single)) == (8, 6)
        assert await scene.journal.aclose(5) == 0
        rename(scene.path, [Rename(former="One", name="Two"), Rename(former="Two", name="One")], [], 2_000_000.0)
        scene.journal = await JournalWriter.open(scene.path, on_trouble=lambda *_: None)
        scene.drivers = {"One": scene.drivers["Two"], "Two": scene.drivers["One"]}
        await scene.again("One", *BEGINNING)
        await scene.again("Two", *BEGINNING)
        assert (checked(followed), checked(single)) == (14, 9)
        assert single.account == "Two"
        await scene.journal.aclose(5)


async def test_one_account_alone(scene: Scene) -> None:
    """With an account, only its records are checked, and those of the others are no gap."""
    with closing(FollowedJournal(scene.path, "Two", json=False)) as single:
        single.open()
        await scene.go_on("One", *OUTAGE)
        await scene.go_on("Two", *OUTAGE)
        scene.change("UPDATE journal SET delay = 7 WHERE seq = 7", "DELETE FROM journal WHERE seq = 8")
        assert checked(single) == 4


def test_the_end_of_a_follow(scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl+C ends it with exit code 0 and what ``log replay`` prints; a locked, missing file was waited for."""
    followed, aside, looks = FollowedJournal(scene.path, None, json=True), scene.path.with_name("aside"), iter("abcd")

    def sleep(seconds: float) -> None:
        assert 0 < seconds <= 5
        match next(looks):
            case "a":
                scene.path.rename(aside)
            case "b":
                aside.rename(scene.path)
            case "d":
                raise KeyboardInterrupt

    monkeypatch.setattr("engine.cli.log_follow.time.sleep", sleep)
    follow_until_incident(followed)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["event"] for each in told] == ["following", "waiting", "resumed", "ended"]
    assert told[-1]["agrees"] is True


async def test_an_incident_on_the_terminal(run: Run, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is exit code 1, what ``log replay`` prints, and one sentence on stderr; ``--json`` has it as an event."""

    def sleep(_: float) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute(
                """INSERT INTO journal SELECT (SELECT max(seq) + 1 FROM journal), at, account, life, source, event,
                target, rule, attempt, failures, delay, draw, deadline, dwell, body FROM journal WHERE seq = 15"""
            )
            db.commit()

    monkeypatch.setattr("engine.cli.log_follow.time.sleep", sleep)
    code, out, err = run("replay", "--follow")
    assert code == 1
    assert "❌ Record 16 of News 1 is not what the rules make of it" in out
    assert err.splitlines()[-1].startswith("incident: record 16 of News 1 is not what the rules make of it")
    code, out, err = run("replay", "--follow", "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert (code, [each["event"] for each in told]) == (1, ["following", "incident"])
    assert (told[1]["agrees"], told[1]["difference"]["seq"], told[1]["unreadable"]) == (False, 17, None)


def test_without_a_journal(run: Run, path: Path) -> None:
    """Where no engine has run there is nothing to follow: one sentence, as of the other commands."""
    path.unlink()
    code, _, err = run("replay", "--follow")
    assert code == 1
    assert "start the engine once" in err


def test_an_unknown_account(run: Run, path: Path) -> None:
    """The suggestion names what exists."""
    code, _, err = run("replay", "--follow", "--account", "Newz 1")
    assert code == 2
    assert "did you mean 'News 1'?" in err


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def test_the_reader_finds_few_snapshots(scene: Scene) -> None:
    """The snapshots of some accounts are those that all have, and an unknown name is left out."""
    with JournalReader.open(scene.path) as reader:
        assert reader.snapshots_of(["Two", "Nobody"]) == {"Two": reader.snapshots()["Two"]}
