"""Commands of the simulated world go over the real socket, and have the outcomes that they have on a real machine."""

from collections.abc import Callable

import pytest

from tests.simulation.children import Children
from tests.simulation.evidence import CommandSeen, Evidence, FaultSeen
from tests.simulation.good_evidence import TWO, clean
from tests.simulation.judges import judge
from tests.simulation.judges.commands import ANSWERED, PAUSED
from tests.simulation.story import Incident, IncidentKind, JobOrder, Story, Workload
from tests.simulation.test_threads import seen

K = IncidentKind


def test_a_socket_that_a_dead_engine_left_refuses_until_the_next_one_listens() -> None:
    """Without a file nobody is there, and at a file that a killed engine has left nobody listens."""
    expected = ["no such file or directory", "ok", "connection refused", "ok"]
    assert seen("unheard", "0:10") == [expected] * 10


def test_a_command_learns_that_its_engine_died_or_hangs() -> None:
    """The client is told of an engine that dies, before or after it has accepted, and waits not too long for others."""
    expected = ["it closed the connection before it answered", "hangs", "connection reset by peer"]
    assert seen("cut_off", "0:10") == [expected] * 10


def test_a_client_that_dies_leaves_nothing_in_the_engine() -> None:
    """Who dies before it asks or in half a line is not heard, and the hold of one that has asked ends with it."""
    assert seen("dead_clients", "0:10") == [[1, [], 1, "ok"]] * 10


@pytest.mark.slow
def test_one_command_too_many_is_told_so() -> None:
    """Sixteen commands wait for their answers, and the next one is refused."""
    assert seen("crowded", "0:10") == [["busy"] + ["ok"] * 16] * 10


def test_commands_of_a_story_reach_its_engine() -> None:
    """A paused account is away until it is resumed, a job is cancelled, and without an engine nothing is asked for."""
    incidents = (
        Incident(at=100, kind=K.CONTROL_STATUS),
        Incident(at=120, kind=K.CONTROL_PAUSE, seconds=60),
        Incident(at=300, kind=K.CONTROL_JOBS_CANCEL),
        Incident(at=400, kind=K.PROCESS_RESTART, seconds=60),
        Incident(at=430, kind=K.CONTROL_RECONNECT, account=1),
    )
    order = JobOrder(at=60, kind="steps", steps=30, seconds=30)
    with Children() as children:
        outcome = children.run(
            Story(seed=2, hours=0.2, accounts=2, incidents=incidents, workload=Workload(jobs=(order,)))
        )
    told = [each.text for each in outcome.happenings if "has not done it" in each.text]
    assert outcome.verdicts == ()
    assert told == ["has not done it: the engine is not running"]
    assert outcome.counters["attempts"] == 6


def _hangs(evidence: Evidence) -> None:
    evidence.commands.append(CommandSeen(at=200.0, what="retry", answered=260.0, ok=False, hung=True))


def _unreached(evidence: Evidence) -> None:
    evidence.commands.append(CommandSeen(at=200.0, what="retry", answered=200.1, ok=False, unreached=True))


def _pause_lost(evidence: Evidence) -> None:
    evidence.commands.append(CommandSeen(at=1.0, what="pause", account=TWO, answered=2.0))


BROKEN: dict[Callable[[Evidence], None], str] = {_hangs: ANSWERED, _unreached: ANSWERED, _pause_lost: PAUSED}
"""What breaks a promise of commands, and the judge that condemns it: ``test_judges`` tries it."""


def _hangs_without_disk(evidence: Evidence) -> None:
    _hangs(evidence)
    evidence.faults.append(FaultSeen(at=190.0, kind="disk.broken", ended=250.0))


def _starts(evidence: Evidence) -> None:
    began = evidence.lives[0].began
    evidence.commands.append(CommandSeen(at=began + 5, what="retry", answered=began + 5.1, ok=False, unreached=True))


def _resumed(evidence: Evidence) -> None:
    _pause_lost(evidence)
    evidence.commands.append(CommandSeen(at=2.5, what="resume", account=TWO, answered=3.0))


@pytest.mark.parametrize("change", [_hangs_without_disk, _starts, _resumed])
def test_what_commands_do_not_promise_is_allowed(change: Callable[[Evidence], None]) -> None:
    """What a disk holds back, an engine that starts, and a pause that was taken back are no faults."""
    evidence = clean()
    change(evidence)
    assert list(judge(evidence)) == []
