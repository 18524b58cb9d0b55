"""What is on the screen, as text, at the widths that terminals have."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import evolve
from rich.cells import cell_len

from engine.console.account_status import AccountStatus
from engine.console.cells import wrapped
from engine.console.status import EngineInfo
from engine.console.streams import ERRORS
from engine.screen.model import Model, ScreenView
from engine.screen.source import Explained, OpenedJournal
from engine.screen.text import plain
from states import Cause, Entry, Snapshot, State
from states.incident import Incident, IncidentKind, Severity
from states.jobs import Job, JobState, JobSummary
from states.snapshot import ADVICE, Action
from tests.engine.screen.pages import FLEET, INFO, NOW, lost, picture, text

WIDTHS = (40, 80, 120, 200)
GOLDEN = Path(__file__).with_name("pictures.txt")
"""The pictures; ``HOLDFAST_WRITE_PICTURES=1`` writes them, to be looked at before they are committed."""
LOG = [
    (20, "2026-11-29 12:04:07 - INFO - ✅ Success: Account 3"),
    (30, "2026-11-29 12:04:17 - WARNING - 🔌 Network error for Account 1: connection refused"),
]
JOBS = JobSummary(
    counts={"queued": 12, "running": 1, "done": 340},
    running=(
        Job(id=351, kind="collect", worker="Account 3", state=JobState.RUNNING, done=1840, total=3000, since=NOW - 13),
    ),
)
INCIDENTS = [
    Incident(
        id=4, kind=IncidentKind.NEEDS_PERSON, cause="log_in", accounts=("News bot",), severity=Severity.CRITICAL,
        since=NOW - 191, opened=NOW - 191, detail="AUTH_KEY_UNREGISTERED",
    ),
    Incident(
        id=3, kind=IncidentKind.OUTAGE, cause="the proxy socks5://10.0.0.7:1080", fleet=True,
        accounts=tuple(f"Account {number}" for number in range(1, 31)), severity=Severity.CRITICAL,
        since=NOW - 400, opened=NOW - 280, acked=NOW - 100, detail="connection refused",
    ),
    Incident(
        id=2, kind=IncidentKind.JOB_FAILED, cause="collect", severity=Severity.WARNING, since=NOW - 7_000,
        opened=NOW - 7_000, detail="job 7 of Account 3: ValueError",
    ),
]  # fmt: skip
STUCK = {
    Action.LOG_IN: "AuthRejected",
    Action.STOP_OTHER_COPY: "SessionDuplicated",
    Action.APPEAL: "AccountBanned",
    Action.RESTORE_SESSION: "DatabaseCorrupt",
    Action.MEND_CONFIG: "ConfigRefused",
}


def entry(seq: int, event: str, detail: str = "") -> Entry:
    return Entry(
        seq=seq, account="Account 1", life=1, at=NOW - 100 + seq, source=State.RECONNECTING, event=event, payload={},
        rule="reconnecting.NetworkLost", target=State.BACKOFF, attempt=2, failures=2, delay=14.0, draw=0.5,
        deadline=NOW + 14, effects=(), detail=detail, cause=(), dwell=0.2,
    )  # fmt: skip


OPENED = OpenedJournal(
    "Account 1", [entry(1, "NetworkLost", "connection reset"), entry(2, "NetworkLost", "connection refused")]
)
PICTURES = {
    **{f"{width} columns": lambda width=width: text(width=width, height=22, jobs=JOBS, log=LOG) for width in WIDTHS},
    "an account": lambda: text(Model(view=ScreenView.ACCOUNT, selected="Account 1"), height=16, opened=OPENED),
    "an account that needs a person": lambda: text(
        Model(view=ScreenView.ACCOUNT, selected="News bot"), width=60, height=12, opened=OpenedJournal("News bot", [])
    ),
    "an account at 40 columns": lambda: text(
        Model(view=ScreenView.ACCOUNT, selected="Account 1"), width=40, height=22, opened=OPENED
    ),
    "a filter": lambda: text(Model(name="acc", hides_healthy=True, selected="Account 2"), height=12, quits=True),
    "incidents": lambda: text(Model(view=ScreenView.INCIDENTS, incident=3), height=22, incidents=INCIDENTS),
    "incidents at 40 columns": lambda: text(
        Model(view=ScreenView.INCIDENTS, incident=2), width=40, height=24, incidents=INCIDENTS
    ),
    "a name that is typed": lambda: text(Model(name="acc", typing=True), height=12),
    "the help": lambda: text(Model(view=ScreenView.HELP), height=48),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_are_these(name: str) -> None:
    """Each view, and the fleet at four widths, letter by letter."""
    if os.environ.get("HOLDFAST_WRITE_PICTURES"):
        GOLDEN.write_text("".join(f"=== {each}\n{draw()}\n" for each, draw in PICTURES.items()), "utf-8")
    golden = dict(part.split("\n", 1) for part in GOLDEN.read_text("utf-8").split("=== ")[1:])
    assert f"{PICTURES[name]()}\n" == golden[name]


@pytest.mark.parametrize("height", [6, 10, 24, 60])
@pytest.mark.parametrize("width", [20, *WIDTHS])
@pytest.mark.parametrize("view", ScreenView)
def test_a_picture_fills_the_terminal_and_no_more(view: ScreenView, width: int, height: int) -> None:
    """Each has as many lines as the terminal, none of them wider, whatever is in them."""
    fleet = {"a" * 300: lost(5), "名前" * 30: lost(6), "x\x1b[2J\ny": lost(7, last_success=NOW - 9)}
    name = "名前" * 30
    model = Model(view=view, selected=None if view is ScreenView.FLEET else name, said="what was said " * 9)
    opened = OpenedJournal(name, [entry(1, "NetworkLost", "y" * 500), entry(2, "NetworkLost", "名" * 500)])
    hostile = [evolve(each, accounts=tuple(fleet), cause="\x1b[2J" * 90, detail="名" * 300) for each in INCIDENTS]
    more = {"jobs": JOBS, "log": LOG * 4, "opened": opened, "incidents": hostile}
    made = picture(model, width=width, height=height, fleet=fleet, **more)
    assert len(made.lines) == height
    assert all(cell_len(plain(line)) <= width for line in made.lines)
    assert "\x1b" not in "".join(map(plain, made.lines))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("action", STUCK)
@pytest.mark.parametrize("view", [ScreenView.FLEET, ScreenView.ACCOUNT])
def test_what_to_do_is_never_cut(view: ScreenView, action: Action, width: int) -> None:
    """All of the advice is on the screen, after whatever cause, at every width."""
    cause = Cause(event=STUCK[action], detail="a long reason " * 40)
    at = Snapshot(state=State.AUTH_FAILED, since=NOW - 1e6, cause=cause)
    assert at.action is action
    fleet = {"An account with a rather long name": AccountStatus(at)}
    model = Model(view=view, selected=None if view is ScreenView.FLEET else next(iter(fleet)))
    words = " ".join(text(model, width=width, height=40, fleet=fleet).split())
    assert ADVICE[action] in words


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", IncidentKind)
@pytest.mark.parametrize("fleet", [False, True])
def test_what_to_do_about_an_incident_is_never_cut(kind: IncidentKind, width: int, fleet: bool) -> None:
    """All of what it means and of what to do, before what else is known of it."""
    names = tuple(f"An account with a name of three lines {'x' * 60} {number}" for number in range(90))
    incident = Incident(
        id=12, kind=kind, cause="log_in", fleet=fleet, accounts=names, severity=Severity.CRITICAL, since=NOW - 9,
        opened=NOW, detail="a long reason " * 20,
    )  # fmt: skip
    model = Model(view=ScreenView.INCIDENTS, incident=12)
    words = " ".join(text(model, width=width, height=24, incidents=[incident]).split())
    assert incident.meaning in words
    assert f"What to do: {incident.action}" in words


@pytest.mark.parametrize("chosen", range(40))
def test_the_chosen_incident_is_in_sight(chosen: int) -> None:
    """Of many; the first line says where one is."""
    incidents = [evolve(INCIDENTS[2], id=number) for number in range(40)]
    made = text(Model(view=ScreenView.INCIDENTS, incident=chosen), incidents=incidents)
    assert f" {chosen} job_failed" in made
    assert made.startswith("40 open incidents, ")


def test_open_incidents_are_counted_in_the_header() -> None:
    """And the key for them is named; where there are none, neither."""
    made = text(incidents=INCIDENTS)
    assert "1 needs you  3 incidents" in made
    assert "i incidents" in made
    assert "incident" not in text()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_counts_are_in_the_header(width: int) -> None:
    """By icon, the healthy ones first, and last how many need a person."""
    fleet = {f"h{number}": AccountStatus(Snapshot(state=State.HEALTHY)) for number in range(24)}
    fleet |= {f"b{number}": AccountStatus(lost(5)) for number in range(4)}
    fleet |= {"r": AccountStatus(Snapshot(state=State.RECONNECTING)), "c": AccountStatus(Snapshot())}
    fleet |= {"n": AccountStatus(Snapshot(state=State.AUTH_FAILED))}
    head = " ".join(text(width=width, fleet=fleet).split("\n\n")[0].split())
    assert "24 ✅ 1 🔑 4 🔌 2 🔄 1 needs you" in head


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (EngineInfo(running=False), "The engine is not running"),
        (EngineInfo(running=True, pid=5, hangs=True), "The engine (process 5) does not answer"),
    ],
)
def test_an_engine_that_is_silent_is_told_of_first(info: EngineInfo, said: str) -> None:
    """Counts of what was known last come after it."""
    assert text(info=info).startswith(said)


def test_before_the_first_account_it_starts() -> None:
    """There is nothing to count yet."""
    assert text(fleet={}).startswith("Holdfast: starting")


def test_accounts_that_were_asked_for_and_are_gone_are_not_starting() -> None:
    """A reload can take them away while they are watched."""
    assert text(fleet={}, quits=True).startswith("Holdfast: the accounts that were asked for are gone")


def test_how_long_in_trouble_stands_beside_how_long_in_this_state() -> None:
    """An account that has been in this state for seconds can be in trouble for days."""
    line = next(line for line in text().split("\n") if line.startswith("Account 1"))
    assert line.split("  ")[1:] != []
    assert "6 s" in line
    assert "Nov 26 12:04" in line


@pytest.mark.parametrize("keys", [True, False])
def test_keys_are_named_only_where_there_is_a_keyboard(keys: bool) -> None:
    """Without one the bottom line is the log's."""
    assert ("? help" in text(keys=keys)) is keys


def test_a_long_list_says_how_many_are_not_in_sight() -> None:
    """Above and below."""
    fleet = {f"Account {number:04}": AccountStatus(Snapshot(state=State.HEALTHY, since=NOW)) for number in range(1000)}
    assert "and 981 below" in text(fleet=fleet)
    lines = text(Model(selected="Account 0500"), fleet=fleet)
    assert "Account 0500" in lines
    assert "482 above, 499 below" in lines


def test_the_highlight_is_one_line_over_the_whole_width() -> None:
    """It can be seen without a colour."""
    lines = picture(Model(selected="Account 2")).lines
    reversed_ = [plain(line) for line in lines if any(style == "reverse" for _, style in line)]
    assert [line[:9] for line in reversed_] == ["Account 2"]
    assert cell_len(reversed_[0]) == 80


def test_a_letter_that_the_terminal_lacks_is_written_out_before_it_is_measured() -> None:
    """Where the encoding is ASCII, columns stay columns."""
    prepared = ERRORS
    prepare_errors()
    made = text(letters=lambda said: said.encode("ascii", prepared).decode("ascii"), jobs=JOBS, log=LOG)
    assert made.isascii()
    assert "2 [ok]  1 [key]  1 [-]  1 [?]  1 needs you" in made
    rows = [line for line in made.split("\n") if line.startswith("Account ") and "Trouble" not in line]
    assert {line.index(word) for line, word in zip(rows, ("6 s", "3 s", "4 min", "1 min"), strict=True)} == {30}


def prepare_errors() -> None:
    """Register what writes letters out, which the program does at its start."""
    import codecs

    from engine.console import streams

    codecs.register_error(ERRORS, streams._written_plainly)


def test_jobs_and_log_leave_room_for_accounts() -> None:
    """On a low terminal the accounts come first, and the newest line of the log last."""
    low = text(height=12, jobs=JOBS, log=LOG * 10)
    assert "News bot" in low
    assert "then log in again" in low
    assert "INFO - ✅ Success" in text(height=40, log=LOG)


@pytest.mark.parametrize(
    ("opened", "said"),
    [
        (None, "is being read"),
        (OpenedJournal("Account 1", []), "nothing of this account"),
        (OpenedJournal("Account 1", trouble="data/engine.db: the disk is gone"), "the disk is gone"),
        (OpenedJournal("Account 2", [entry(1, "NetworkLost", "of another account")]), "is being read"),
    ],
)
def test_a_journal_that_is_not_there_is_told(opened: OpenedJournal | None, said: str) -> None:
    """While it is read, if it is empty, and if it cannot be read; never that of the account before."""
    shown_ = text(Model(view=ScreenView.ACCOUNT, selected="Account 1"), opened=opened)
    assert said in shown_
    assert "of another account" not in shown_


@pytest.mark.parametrize(
    ("explained", "said"), [(None, "is being explained"), (Explained(4, trouble="no entry 4 any more"), "no entry 4")]
)
def test_an_explanation_that_is_not_there_is_told(explained: Explained | None, said: str) -> None:
    """While it is made, and if it cannot be."""
    assert said in text(Model(view=ScreenView.RECORD, selected="Account 1", record=4), explained=explained)


def test_the_newest_records_are_in_sight() -> None:
    """At the bottom, until an older one is chosen, which then is."""
    opened = OpenedJournal("Account 1", [entry(seq, "NetworkLost") for seq in range(1, 200)])
    model = Model(view=ScreenView.ACCOUNT, selected="Account 1")
    assert "   199 2026" in text(model, opened=opened)
    older = text(Model(view=ScreenView.ACCOUNT, selected="Account 1", record=50), opened=opened)
    assert "    50 2026" in older
    assert "   199 2026" not in older


@pytest.mark.parametrize("width", [2, 3, 7, 20, 80])
@pytest.mark.parametrize("said", ["", "one", "one two  three", "a" * 50, "名前" * 20 + " x", "ends in spaces   "])
def test_wrapping_loses_no_letter(said: str, width: int) -> None:
    """Lines fit, and together they are the text; a word is broken only where it is longer than a line."""
    lines = wrapped(said, width)
    assert all(0 < cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(said.split())
    for before, after in pairwise(lines):
        first = after.split()[0]
        assert (
            cell_len(before) + 1 + cell_len(first) > width or cell_len(before) == width or cell_len(before) >= width - 1
        )


def test_info_is_that_of_the_engine() -> None:
    """Where there is room, its process and how long it runs."""
    assert "running for 4 min 23 s (process 4711)" in text(width=120, info=INFO, fleet=FLEET)


@pytest.mark.parametrize("width", [30, 80])
def test_a_node_says_what_it_has_of_the_fleet(width: int) -> None:
    """Below the counts, in as many lines as it takes; one engine has no such line."""
    node = "node eu-1 has 4 of 100 accounts; 39 other nodes"
    shown = " ".join(text(width=width, node=node).split())
    assert node in shown
    assert "node eu-1" not in text(width=width)
    assert text(width=width, fleet={}, node=node).count("node eu-1") == 1
