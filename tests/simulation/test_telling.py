"""What a diagram needs is told: syncs of the disk, what a life has left on it, and the runs of jobs."""

from tests.simulation.evidence import (
    Ending,
    EngineLife,
    Evidence,
    Inspection,
    JobAttempt,
    SyncSeen,
    UpdateSeen,
    Write,
)
from tests.simulation.story import Story
from tests.simulation.telling import tell

ONE = "Account 1"


def told(evidence: Evidence) -> list[tuple[str, str, str | None]]:
    return [(each.who, each.text, each.to) for each in tell(evidence, Story(seed=1, hours=1), 0.0)]


def acknowledged(*syncs: SyncSeen) -> Evidence:
    write = Write(kind="job", key="1", value="steps", asked=10.0, acknowledged=10.5, life=1)
    return Evidence(writes=[write], syncs=list(syncs))


def test_the_sync_behind_an_acknowledgement_is_told() -> None:
    """It is the last one of the engine's file between the question and the answer."""
    rows = told(acknowledged(SyncSeen(at=10.2, file="engine.db-wal"), SyncSeen(at=11.0, file="engine.db")))
    assert ("engine", "syncs engine.db-wal", "disk") in rows
    assert ("engine", "says that job 1 is on the disk: steps", "program") in rows


def test_an_acknowledgement_without_a_sync_says_so() -> None:
    """A sync before it, or of another file, does not count."""
    rows = told(acknowledged(SyncSeen(at=9.0, file="engine.db-wal"), SyncSeen(at=10.2, file="account1.session")))
    assert [text for _, text, _ in rows] == ["says that job 1 is on the disk (and has synced nothing): steps"]


def test_what_a_killed_life_has_left_is_told() -> None:
    """Of what was acknowledged it says what is there and what is not, and how far each session file has come."""
    seen = acknowledged(SyncSeen(at=10.2, file="engine.db-wal"))
    seen.lives = [EngineLife(number=1, began=0.0, ended=20.0, ending=Ending.KILLED)]
    seen.updates = [UpdateSeen(at=15.0, account=ONE, mark="update 1.1", position=7)]
    found = {("checkpoint", "1"): '{"done": 1}'}
    seen.writes.append(Write(kind="checkpoint", key="1", value='{"done": 1}', asked=11.0, acknowledged=11.1, life=1))
    seen.inspections = [
        Inspection(at=20.0, life=1, found=found, kinds=frozenset({"job", "checkpoint"}), positions={ONE: 6})
    ]
    rows = told(seen)
    assert ("disk", 'has 0 jobs, checkpoint 1 {"done": 1}; it has no job 1', "disk") in rows
    assert ("disk", "the session file has position 6 as handled", ONE) in rows
    assert ("datacenter", "has 'update 1.1' for it (position 7)", ONE) in rows
    seen.lives[0].ending = Ending.STOPPED
    assert not [row for row in told(seen) if row[0] == "disk"]


def test_runs_of_a_job_are_told_with_their_number_and_their_end() -> None:
    """A reader sees whether a run returned, failed, or was cut off, and from where the next one goes on."""
    run = JobAttempt(number=1, life=1, account=ONE, began=1.0, ended=2.0, attempt=1)
    again = JobAttempt(number=1, life=1, account=ONE, began=3.0, checkpoint='{"done": 1}', attempt=2, ended=4.0)
    again.returned = True
    assert told(Evidence(attempts=[run, again])) == [
        (ONE, "begins job 1, attempt 1", "program"),
        ("program", "the function of job 1 is cut off", None),
        (ONE, 'begins job 1, attempt 2, from {"done": 1}', "program"),
        ("program", "the function of job 1 returns", None),
    ]
