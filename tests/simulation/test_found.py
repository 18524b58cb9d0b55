"""Stories in which the simulation once found a fault of the engine, as short as they could be made."""

import pytest

from tests.simulation.children import Children
from tests.simulation.story import Incident, IncidentKind, JobOrder, Story, Workload


def test_a_link_that_is_asked_for_proofs_is_not_given_up() -> None:
    """Only pings restart the datacenter's timer: where every second question is a proof, it takes a ping along."""
    settings = {"states.healthy.probe_every": 300, "states.healthy.prove_every": 600}
    with Children() as children:
        outcome = children.run(Story(seed=2, hours=1, settings=settings))
    assert outcome.verdicts == ()
    assert outcome.counters["attempts"] == 1


@pytest.mark.slow
def test_a_reader_gets_the_records_of_the_end() -> None:
    """The last rows are written when the journal closes; readers end after that, with nothing raised."""
    orders = (JobOrder(at=60, kind="steps", steps=3, seconds=1),)
    workload = Workload(updates_per_day=500, followers=1, subscribers=2, jobs=orders)
    with Children() as children:
        for seed in (1, 2):
            assert children.run(Story(seed=seed, hours=0.2, accounts=3, workload=workload)).verdicts == ()


@pytest.mark.slow
def test_what_a_silent_link_could_not_deliver_does_not_destroy_the_login() -> None:
    """A request that a closed link could not deliver never arrives: late, it would be a second use of the key."""
    silence = Incident(at=300, kind=IncidentKind.NETWORK_HALF_OPEN, seconds=75)
    settings = {"states.healthy.prove_every": 20, "states.timeout.patience": [10, 20]}
    with Children() as children:
        outcome = children.run(Story(seed=1, hours=0.5, incidents=(silence,), settings=settings))
    assert outcome.verdicts == ()
    assert outcome.counters["attempts"] == 2


def test_a_full_disk_keeps_no_session_file_open() -> None:
    """Whether the ledger can be stored or not, an engine that is stopped closes the session files in its time."""
    incidents = (
        Incident(at=60, kind=IncidentKind.DISK_FULL, seconds=60),
        Incident(at=60, kind=IncidentKind.CLOCK_SUSPEND, seconds=240),
        Incident(at=100, kind=IncidentKind.PROCESS_RESTART, seconds=3),
    )
    with Children() as children:
        outcome = children.run(Story(seed=33, hours=0.09, incidents=incidents))
    assert outcome.verdicts == ()
    assert outcome.counters["life.stopped"] == 2
