"""The diagram of a failing story: complete, bounded, and safe against what is in the texts."""

import re

import pytest

from states import Entry, State
from tests.simulation.evidence import Verdict
from tests.simulation.outcome import Happening, Outcome
from tests.simulation.story import Incident, IncidentKind, Story
from tests.simulation.story_diagram import MAX_ROWS, clock, diagram, page
from tests.simulation.telling import decision, in_order, times

VERDICT = Verdict(judge="each send once", what="'job 1.0' was sent twice", at=125.5, account="Account 1")
HAPPENINGS = (
    Happening(0.0, "program", "starts the engine (life 1)", "engine"),
    Happening(0.5, "Account 1", "opens connection 1", "datacenter"),
    Happening(60.0, "Account 1", "sends 'job 1.0'", "datacenter"),
    Happening(60.1, "process", "kill, for 5 s"),
    Happening(65.1, "program", "starts the engine (life 2)", "engine"),
    Happening(125.5, "Account 1", "sends 'job 1.0'", "datacenter"),
)


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


def test_a_diagram_has_participants_times_faults_and_the_broken_promise() -> None:
    """All that a reader needs is in it."""
    assert lines_of(diagram(HAPPENINGS, (VERDICT,))) == [
        "sequenceDiagram",
        "participant p0 as program",
        "participant p1 as engine",
        "participant p2 as Account 1",
        "participant p3 as datacenter",
        "p0->>p1: 0:00:00 starts the engine (life 1)",
        "p2->>p3: 0:00:00.50 opens connection 1",
        "p2->>p3: 0:01:00 sends 'job 1.0'",
        "Note over p1: 0:01:00.10 ⚡ kill, for 5 s",
        "p0->>p1: 0:01:05.10 starts the engine (life 2)",
        "p2->>p3: 0:02:05.50 sends 'job 1.0'",
        "Note over p0,p3: ✗ 0:02:05.50 BROKEN: each send once – Account 1: 'job 1.0' was sent twice",
    ]


def test_accounts_are_in_the_order_of_their_numbers() -> None:
    """Account 10 stands after Account 9, and the datacenter after all."""
    happenings = [Happening(1, f"Account {n}", "x") for n in (10, 9, 1)] + [Happening(2, "datacenter", "y")]
    found = re.findall("as (.*)", diagram(happenings, ()))
    assert found == ["Account 1", "Account 9", "Account 10", "datacenter"]


def test_a_cycle_is_told_by_its_first_and_last_turn() -> None:
    """Twenty attempts that fail alike are two, with how many there were between."""
    happenings = []
    for turn in range(20):
        happenings.append(Happening(turn * 10.0, "Account 1", f"asks for connection {turn}", "network"))
        happenings.append(Happening(turn * 10.0 + 1, "Account 1", f"network lost: waits {turn + 5} s"))
    rows = lines_of(diagram(happenings, ()))[3:]
    assert len(rows) == 5
    assert rows[2] == "Note over p0,p1: … these 2 steps again, 18 times, until 0:03:01 …"
    assert rows[-1] == "Note over p0: 0:03:11 network lost: waits 24 s"


def test_other_accounts_are_left_out_when_one_is_condemned() -> None:
    """The verdict is of account 1, so what account 2 did meanwhile is no part of it."""
    text = diagram([*HAPPENINGS, Happening(70, "Account 2", "opens connection 9", "datacenter")], (VERDICT,))
    assert "Account 2" not in text


def test_a_long_diagram_keeps_its_beginning_its_faults_and_its_end() -> None:
    """Its length is bounded however long the run was."""
    words = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "mu")
    happenings = [
        Happening(n, "engine", f"{words[n % 11]} {words[n * n % 7]} {'x' * (n * 31 % 97)}") for n in range(3000)
    ]
    happenings[1500] = Happening(1500, "network", "gone, for 5 s")
    text = diagram(happenings, (VERDICT,))
    assert len(lines_of(text)) <= MAX_ROWS + 10
    assert "⚡ gone, for 5 s" in text
    assert re.search(r"… \d{3,4} more steps …", text)
    assert "0:49:59" in text


@pytest.mark.parametrize(
    "hostile",
    [
        "a; b",
        "x\nend\nloop",
        "%%{init: {}}%%",
        "```\n# y",
        "<script>alert(1)</script>",
        "a->>b: c",
        "#quot;",
        "\x1b[2J\u202e",
    ],
)
def test_hostile_text_stays_text(hostile: str) -> None:
    """What is in a message or an error neither ends a statement nor leaves the fence."""
    text = page(Story(seed=1, hours=1), outcome(happenings=(Happening(1, "engine", hostile),)))
    drawn = text.partition("```mermaid\n")[2].partition("\n```\n")[0]
    assert len(drawn.splitlines()) == 4
    body = drawn.splitlines()[2].partition(": 0:00:01")[2]
    assert not re.search(r"[<>{}`\x1b\u202e]|;(?<!#\d\d;)(?<!#\d\d\d;)(?<!#lt;)(?<!#gt;)(?<!#quot;)", body)
    assert "<script>" not in text


def outcome(**changes: object) -> Outcome:
    given: dict[str, object] = {"digest": "d" * 64, "journal": "1 row\n2 rows", "verdicts": (VERDICT,), **changes}
    return Outcome(**given)  # type: ignore[arg-type]


def test_a_page_has_the_verdict_the_story_and_the_journal() -> None:
    """Whoever finds the page needs nothing else."""
    story = Story(seed=9, hours=1, incidents=(Incident(at=60.1, kind=IncidentKind.PROCESS_KILL, seconds=5),))
    text = page(story, outcome(happenings=HAPPENINGS), command="python -m tests.simulation --story 9.story.json")
    for part in (
        "# Seed 9",
        "**each send once**",
        "- 0:01:00.10 process.kill, for 5 s",
        "--story 9.story.json",
        "2 rows",
    ):
        assert part in text
    assert story.dump().rstrip() in text


def test_nothing_happened_is_still_a_diagram() -> None:
    """An engine that does nothing at all can be condemned as well."""
    assert lines_of(diagram((), (VERDICT,)))[:2] == ["sequenceDiagram", "participant p0 as engine"]


def entry(seq: int, at: float, **changes: object) -> Entry:
    given: dict[str, object] = {
        "seq": seq, "account": "Account 1", "life": 1, "at": at, "source": State.HEALTHY, "event": "NetworkLost",
        "payload": {}, "rule": "healthy.NetworkLost", "target": State.BACKOFF, "attempt": 1, "failures": 1,
        "delay": 10.0, "draw": None, "deadline": None, "effects": (), "detail": "reset by peer", "cause": (),
        "dwell": 5.0,
        **changes,
    }  # fmt: skip
    return Entry(**given)  # type: ignore[arg-type]


def test_a_decision_is_told_in_the_words_of_the_law() -> None:
    """The event, the states, the wait, the detail, and why the rule is as it is."""
    told = decision(entry(1, 0))
    assert told.startswith("network lost: healthy → backoff, waits 10 s, reset by peer (")


def test_records_get_their_virtual_times_across_steps_of_the_clock() -> None:
    """The wall clock went back by an hour at 100 s, and the lid was closed at 200 s for 50 s."""
    story = Story(
        seed=1,
        hours=1,
        incidents=(
            Incident(at=100, kind=IncidentKind.CLOCK_STEP, value=-3600),
            Incident(at=200, kind=IncidentKind.CLOCK_SUSPEND, seconds=50),
        ),
    )
    epoch = 1_000_000.0
    entries = [entry(1, epoch + 90), entry(2, epoch + 110 - 3600), entry(3, epoch + 260 - 3600)]
    assert times(entries, story, epoch) == [90, 110, 210]


def test_happenings_are_in_the_order_of_time_and_told_once() -> None:
    """The ledger and the evidence may both have told the same."""
    assert in_order([HAPPENINGS[2], HAPPENINGS[0], HAPPENINGS[0]]) == (HAPPENINGS[0], HAPPENINGS[2])


@pytest.mark.parametrize(
    ("at", "text"), [(0, "0:00:00"), (3725.25, "1:02:05.25"), (59.999, "0:01:00"), (90000, "25:00:00")]
)
def test_virtual_time_is_hours_minutes_and_seconds(at: float, text: str) -> None:
    """As on a clock that began with the story."""
    assert clock(at) == text


def test_an_outcome_is_read_back_as_it_was_written() -> None:
    """The process that ran a story hands it over as JSON."""
    given = outcome(happenings=HAPPENINGS, counters={"requests": 7})
    assert Outcome.load(given.dump()) == given
