"""The swarm: every seed is answered for, whatever its run does, and what failed is kept, shrunk and counted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from attrs import evolve

from tests.simulation.__main__ import main
from tests.simulation.children import CRASHED, NO_ANSWER, Children, Stopped
from tests.simulation.evidence import Verdict
from tests.simulation.nursery import Nursery
from tests.simulation.outcome import Outcome
from tests.simulation.story import Incident, IncidentKind, Story
from tests.simulation.swarm import SAME, Tally, commit_of, keep_findings, run_all, twice
from tests.timeouts import TIMEOUT

ROOT = Path(__file__).resolve().parents[2]
ANSWER = """
import json, sys
story = json.load(sys.stdin)
journal = f"row of seed {story['seed']}"
verdicts = [{"judge": "each send once", "what": "sent twice"}] if story["seed"] % 3 == 0 else []
counters = {"requests": 100, "incident.network.reset": 2}
print(json.dumps({"digest": "d", "journal": journal, "verdicts": verdicts, "counters": counters, "happenings": []}))
"""


def children(code: str, patience: float = TIMEOUT) -> Children:
    """Return children that run a small program instead of a world."""
    return Children(patience=patience, command=[sys.executable, "-c", code])


def stories(*seeds: int) -> list[Story]:
    incidents = tuple(Incident(at=60.0 * n, kind=IncidentKind.NETWORK_RESET) for n in range(1, 9))
    return [Story(seed=seed, hours=1, accounts=2, incidents=incidents) for seed in seeds]


def tally() -> Tally:
    return Tally(commit="abc", began=time.monotonic())


def test_all_seeds_are_run_and_counted() -> None:
    """What they simulated adds up, and those that failed are in the order of their seeds."""
    found = tally()
    run_all(stories(9, 1, 2, 3, 4, 5), children(ANSWER).run, found, jobs=3)
    assert (found.seeds, found.clean) == (6, 4)
    assert [each.story.seed for each in found.failed] == [3, 9]
    assert found.by_judge() == {"each send once": [3, 9]}
    assert (found.account_hours, found.virtual_seconds) == (12, 6 * 3600)
    assert (found.counters["requests"], found.incidents()) == (600, {"network.reset": 12})


def test_the_summary_has_what_was_simulated() -> None:
    """People and programs read the same numbers."""
    found = tally()
    run_all(stories(1, 3), children(ANSWER).run, found, jobs=1)
    text = "\n".join(found.lines(found.began + 2))
    for part in (
        "2 seeds: 1 clean, 1 failed, on commit abc",
        "4 incidents of 1 kinds",
        "200 requests",
        "3,600 virtual",
    ):
        assert part in text
    data = json.loads(json.dumps(found.as_data(found.began + 2)))
    assert (data["clean"], data["virtual_to_real"], data["failed"][0]["seed"]) == (1, 3600, 3)


@pytest.mark.parametrize(
    ("code", "judge", "text"),
    [
        ("import time; time.sleep(60)", NO_ANSWER, "no answer within 0.3 s"),
        ("import sys; sys.exit('KeyError: 7')", CRASHED, "exit code 1: KeyError: 7"),
        ("import os; os.kill(os.getpid(), 9)", CRASHED, "signal 9: it said nothing"),
        ("print('{')", CRASHED, "cannot be read"),
    ],
)
def test_a_run_that_hangs_or_crashes_fails_its_own_seed(code: str, judge: str, text: str) -> None:
    """The swarm goes on, and says which seed it was."""
    patience = 0.3 if judge == NO_ANSWER else TIMEOUT
    (verdict,) = children(code, patience).run(stories(1)[0]).verdicts
    assert verdict.judge == judge
    assert text in verdict.what


def test_after_a_stop_no_run_begins() -> None:
    """What was running is over, and its answer does not count."""
    some = children(ANSWER)
    some.stop()
    with pytest.raises(Stopped):
        some.run(stories(1)[0])


def test_no_seed_begins_when_the_time_is_over() -> None:
    """A budget is for beginning: what runs may end."""
    found = tally()
    run_all(stories(*range(50)), children(ANSWER).run, found, jobs=1, until=time.monotonic() - 1)
    assert found.seeds == 0


def test_a_second_run_that_differs_is_condemned() -> None:
    """The first line that differs is named."""
    journals = iter(["a\nb", "a\nc"])
    differing = twice(lambda story: Outcome(digest="", journal=next(journals)))(stories(1)[0])
    assert [verdict.judge for verdict in differing.verdicts] == [SAME]
    assert "line 2 of the journal is 'b' and 'c'" in differing.verdicts[0].what
    assert twice(lambda story: Outcome(digest="", journal="same"))(stories(1)[0]).verdicts == ()


def three_resets(story: Story) -> Outcome:
    """Fail when there are three incidents, and in another way when there are fewer."""
    judge = "three" if len(story.incidents) >= 3 else "other"
    return Outcome(digest="", journal="row", verdicts=(Verdict(judge=judge, what="x"),))


def test_a_finding_is_shrunk_for_its_own_judge_and_written(tmp_path: Path) -> None:
    """Another judge's verdict is another failure; the page has the shrunk story, and the drawn one is beside it."""
    found = tally()
    run_all(stories(7), three_resets, found, jobs=1)
    (page,) = keep_findings(found, three_resets, tmp_path, most=5, minutes=1)
    short = Story.load((tmp_path / "7.story.json").read_text())
    assert (len(short.incidents), short.accounts) == (3, 1)
    assert Story.load((tmp_path / "7.drawn.json").read_text()) == stories(7)[0]
    assert page.name == "7.md"
    assert "sequenceDiagram" in page.read_text()
    assert f"--story {tmp_path / '7.story.json'}" in page.read_text()


def test_one_story_of_each_judge_is_shrunk(tmp_path: Path) -> None:
    """A hundred seeds that fail alike are not shrunk a hundred times."""
    found = tally()
    run_all(stories(7, 8), three_resets, found, jobs=1)
    keep_findings(found, three_resets, tmp_path, most=5, minutes=1)
    assert Story.load((tmp_path / "8.story.json").read_text()) == stories(8)[0]


def test_the_commit_says_whether_files_differ_from_it() -> None:
    """A clean run of uncommitted files is not one of the commit."""
    assert commit_of(Path("/")) == "unknown"
    assert 7 <= len(commit_of()) <= 13


@pytest.mark.parametrize(
    "text",
    ['{"seed": "x"}', "[1]", "null", "[" * 100_000, '{"seed": 1, "hours": 1, "workload": []}']
    + [f'{{"seed": 1, "hours": {hours}}}' for hours in ("-5", "0", "NaN", "1e308")]
    + ['{"seed": 1, "hours": 1, "incidents": [{"at": -1, "kind": "process.kill"}]}'],
    ids=range(10),
)  # fmt: skip
def test_a_story_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """No traceback for a wrong file."""
    (tmp_path / "x.json").write_text(text)
    assert main(["--story", str(tmp_path / "x.json")]) == 2
    assert "x.json cannot be run" in capsys.readouterr().err


def test_where_findings_cannot_be_written_nothing_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A swarm of a night must not lose what it found because its directory is a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as ended:
        main(["--seeds", "1", "--out", str(tmp_path / "file" / "out")])
    assert ended.value.code == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--budget", "--patience", "--shrink-minutes"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x"])
def test_a_time_is_above_0(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str) -> None:
    """With no time at all no seed would be run, and a swarm of none would pass."""
    with pytest.raises(SystemExit) as ended:
        main(["--seeds", "1", "--out", str(tmp_path), option, value])
    assert ended.value.code == 2
    assert "is not a number above 0" in capsys.readouterr().err


def test_ctrl_c_gives_the_summary_so_far(tmp_path: Path) -> None:
    """Runs that go on are ended, and what was counted is printed and written."""
    code = (
        "import sys, tests.simulation.children as c\n"
        f"c.CHILD = (sys.executable, '-c', {slow_after_two(tmp_path)!r})\n"
        "from tests.simulation.__main__ import main\n"
        f"sys.exit(main(['--seeds', '50', '--hours', '1', '--jobs', '1', '--out', {str(tmp_path)!r}]))\n"
    )
    swarm = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + TIMEOUT
    while not (tmp_path / "third").exists() and time.monotonic() < deadline and swarm.poll() is None:
        time.sleep(0.02)
    swarm.send_signal(signal.SIGINT)
    said, errors = swarm.communicate(timeout=TIMEOUT)
    assert swarm.returncode == 130, errors
    assert "2 seeds: 2 clean, 0 failed" in said
    assert json.loads((tmp_path / "summary.json").read_text())["seeds"] == 2
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "third").read_text()), 0)


def slow_after_two(directory: Path) -> str:
    """Return a child that answers for two seeds, and for the third one never."""
    waiting = f"""
import os, pathlib, time
if story["seed"] >= 3:
    path = pathlib.Path({str(directory)!r})
    (path / "new").write_text(str(os.getpid()))
    (path / "new").rename(path / "third")
    time.sleep(600)
"""
    return ANSWER.replace("journal = f", waiting + "journal = f", 1)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="a nursery there waits for its run alone, and ends after it")
def test_a_nursery_ends_with_its_swarm() -> None:
    """A swarm that is killed leaves no run behind that goes on for nobody."""
    nursery = Nursery()
    process = nursery.process
    assert process.stdin is not None
    process.stdin.write(json.dumps(Story(seed=1, hours=24 * 365, accounts=1, incidents=()).dump()).encode() + b"\n")
    process.stdin.close()
    try:
        assert process.wait(TIMEOUT) == 1
    finally:
        nursery.end()


def test_an_outcome_without_verdicts_is_clean() -> None:
    """Only broken promises fail a seed."""
    found = tally()
    run_all(stories(1), lambda story: evolve(three_resets(story), verdicts=()), found, jobs=1)
    assert found.clean == 1
