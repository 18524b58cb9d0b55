"""``incidents show``, and the questions that ``incidents`` answers: from a file, with no engine running."""

import json
import time
from pathlib import Path

import pytest
from attrs import evolve

from adapters.sqlite import JournalWriter
from engine.console.format import date_and_time, iso
from engine.console.incident_page import DAY, WEEK, AccountLoss, Frequency, lines, summary, trend_of
from states import Event
from states.events import CaughtUp, Connected, Elapsed, NetworkLost, Started, StopRequested, TurnGranted
from states.incident import Incident, IncidentKind, Severity
from states.incident_signs import account_seen
from tests.engine.commands import ENGINE, Run, runs
from tests.states.harness import AccountDriver
from tests.states.incident_support import PROXY, Told

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef}
accounts:
  - {name: News, session: one}
  - {name: Shop, session: two}
"""
HOSTILE = "boom\x1b[2J\n\u202eevil"
BEFORE = Incident(
    id=7, kind=IncidentKind.OUTAGE, cause="NetworkLost", accounts=("News",), severity=Severity.WARNING,
    since=100 * DAY, opened=100 * DAY + 120, closed=100 * DAY + 600,
)  # fmt: skip


class Play:
    """Two accounts, their journal, and the law that sees them; all have one time."""

    def __init__(self, journal: JournalWriter, began: float) -> None:
        self.journal, self.law = journal, Told(now=began)
        self.drivers = {name: AccountDriver() for name in ("News", "Shop")}

    async def begin(self) -> None:
        """Begin their lives."""
        for name, driver in self.drivers.items():
            driver.now = self.law.now
            driver.snapshot = evolve(driver.snapshot, since=driver.now)
            await self.journal.begin_life(name, driver.now, driver.policy, driver.snapshot)

    async def take(self, account: str, *events: Event) -> None:
        """Let an account decide, a second before the law's time, and the law see it."""
        driver = self.drivers[account]
        for event in events:
            driver.now = self.law.now - 1
            made = driver.take(event)
            await self.journal.write(account, made.record, made.snapshot)
            self.law.tell(account_seen(account, made.snapshot, scopes=PROXY))

    async def connect(self, account: str) -> None:
        """Connect an account, or connect it again."""
        first: list[Event] = [Started()] if self.drivers[account].snapshot.generation == 0 else [Elapsed(generation=0)]
        await self.take(account, *first, TurnGranted(generation=0), Connected())


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs commands."""
    return runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


@pytest.fixture
async def began(tmp_path: Path) -> float:
    """Write what happened: both lose the network, Shop is back after 6 min and News after 10, with 7 updates late."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    began = time.time() - 4 * 3600
    journal = await JournalWriter.open(tmp_path / "data" / "engine.db", on_trouble=lambda *_: None, engine=ENGINE)
    play = Play(journal, began)
    await play.begin()
    for name in ("News", "Shop"):
        await play.connect(name)
    play.law.wait(1800)
    await play.take("News", NetworkLost(detail="a blip, which is none of it"))
    play.law.wait(60)
    await play.connect("News")
    play.law.wait(1740)
    for name in ("News", "Shop"):
        await play.take(name, NetworkLost(detail=HOSTILE))
    play.law.wait(360)
    await play.connect("Shop")
    await play.take("Shop", CaughtUp(recovered=0))
    play.law.wait(240)
    await play.connect("News")
    await play.take("News", CaughtUp(recovered=7))
    play.law.wait(3600)
    for name in ("News", "Shop"):
        await play.take(name, StopRequested(reason="SIGTERM"))
    await journal.incidents.keep(play.law.changes)
    assert await journal.aclose(5) == 0
    return began + 3600


def test_one_at_length(run: Run, began: float) -> None:
    """It says when, why, what was missed, what each account lost, worst first, and what happened; all of it safe."""
    code, out, err = run("incidents", "show", "1")
    assert (code, err) == (0, "")
    said = out.splitlines()
    assert said[0].startswith("✅ incident 1 (outage, critical): 2 accounts had no connection, and what they share is ")
    facts = dict(line.strip().split(": ", 1) for line in said[1:6])
    assert "10 min in all (an incident from " in facts["when"]
    assert facts["what to do"] == "nothing, it is over"
    assert facts["what was missed"] == "nothing: 7 updates came late and were fetched afterwards"
    assert facts["how often"].startswith("1 in a week, 10 min in all; 0 in the week before")
    table = said.index("What it cost: 2 accounts, 16 min together, worst first")
    assert said[table + 1].strip().startswith("News  10 min away in 1 outage, 7 updates came late")
    assert said[table + 2].strip().startswith("Shop  6 min away in 1 outage, 0 updates came late, well again")
    assert sum("─NetworkLost→" in line for line in said) == 2
    assert sum("─Connected→" in line for line in said) == 2
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_as_data(run: Run, began: float) -> None:
    """``--json`` has the same as one object, with what the list has, and the records as ``log`` has them."""
    code, out, _ = run("incidents", "show", "config.yaml", "1", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["lasted"] == pytest.approx(600, abs=2)
    assert [(each["account"], each["fetched"]) for each in found["lost"]] == [("News", 7), ("Shop", 0)]
    assert found["lost"][0]["away"] == pytest.approx(600, abs=2)
    assert found["trend"]["week"]["incidents"] == 1
    assert found["trend"]["verdict"] is None, "the file is a few hours old"
    assert {each["event"] for each in found["records"]} >= {"NetworkLost", "Connected"}
    assert found["all_records"] is True
    assert found.keys() >= json.loads(run("incidents", "--json")[1]).keys()


def test_what_happened_then(run: Run, began: float) -> None:
    """``--since`` and ``--until`` list what went on in a period, whenever it began."""

    def at(seconds: float) -> str:
        return str(iso(began + seconds))

    assert run("incidents", "--since", at(60), "--until", at(120))[1].startswith("✅ 1 ")
    assert run("incidents", "--since", at(-60), "--until", at(-30))[1].startswith("there were no incidents\n")
    assert run("incidents", "--since", at(700))[1].startswith("there were no incidents\n")
    assert run("incidents", "--since", at(60), "--until", at(30))[0] == 2


def test_whether_it_gets_worse(run: Run, began: float) -> None:
    """The list ends with how much there was in the last day, and in the day before."""
    last = run("incidents")[1].splitlines()[-1]
    days = "in the last 24 h: 1 began, 10 min of trouble; in the 24 h before: 0 began, 0 s of trouble"
    assert last.startswith(f"{days}; the journal begins at ")


def test_wrong_numbers(run: Run, began: float) -> None:
    """What does not exist is refused in a sentence, after those that do; no number is bad input."""
    code, out, err = run("incidents", "show", "99", "1", "1", "--json")
    assert (code, err) == (1, "there is no incident 99\n")
    assert len(out.splitlines()) == 1
    assert run("incidents", "show")[0] == 2
    assert run("incidents", "show", "nothing")[0] == 2


@pytest.mark.parametrize(
    ("lengths", "before", "verdict"),
    [
        ([], [], "new"),
        ([600], [600], "worse"),
        ([], [600, 600], "better"),
        ([], [60, 60], "mixed"),
        ([], [480], "mixed"),
    ],
)
def test_the_trend(lengths: list[float], before: list[float], verdict: str) -> None:
    """More often and longer is worse, less and shorter is better, and anything else is neither."""
    mine = evolve(BEFORE, closed=BEFORE.since + 480)
    others = [_other(mine, DAY * (1 + number), length) for number, length in enumerate(lengths)]
    others += [_other(mine, WEEK + DAY * (1 + number), length) for number, length in enumerate(before)]
    strangers = [evolve(each, id=99, accounts=("Other",)) for each in others]
    found = trend_of(mine, [mine, *others, *strangers], 101 * DAY, begins=0.0)
    assert (found.count, found.before, found.verdict) == (1 + len(lengths), len(before), verdict)
    assert trend_of(mine, others, 101 * DAY, begins=99 * DAY).verdict == ""


def _other(of: Incident, earlier: float, length: float) -> Incident:
    since = of.since - earlier
    return evolve(of, id=3, since=since, opened=since + 120, closed=since + length)


def test_the_days_are_counted_by_what_was_in_them() -> None:
    """An incident over midnight of the two is counted once, and its length in both."""
    now = 100 * DAY
    night = evolve(BEFORE, since=now - DAY - 600, closed=now - DAY + 60)
    goes_on = evolve(BEFORE, since=now - 60, closed=None)
    days = "in the last 24 h: 1 began, 2 min of trouble; in the 24 h before: 1 began, 10 min of trouble"
    assert summary([night, goes_on], now, 1.0) == days
    begins = now - DAY
    assert summary([night, goes_on], now, begins) == f"{days}; the journal begins at {date_and_time(begins)}"


def test_many_accounts_are_bounded() -> None:
    """Of ten thousand accounts the worst are shown; names and gaps that are foreign are safe."""
    trend = Frequency(count=1, seconds=1, before=0, seconds_before=0, known=True)
    names = tuple(f"{HOSTILE} {number}" for number in range(10_000))
    many = evolve(BEFORE, accounts=names, detail=HOSTILE, closed=None)
    lost = [
        AccountLoss(account=name, left=None, away=float(at), outages=1, missing=(HOSTILE,))
        for at, name in enumerate(names)
    ]
    said = lines(many, lost, trend, None, BEFORE.since + 900)
    assert len(said) < 40
    assert all(line.isprintable() for line in said)
    assert said[-1].strip() == "and 9,980 more (--json has all of them)"
    assert not any("what was missed" in line for line in said), "it is not over"
