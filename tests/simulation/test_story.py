"""A story is plain data: it is written as JSON and read back, and says what the sandbox is to do."""

import subprocess
import sys
from pathlib import Path

import pytest

from adapters.sandbox import Fault, FaultKind
from tests.simulation.story import FOR_ALL, Incident, IncidentKind, JobOrder, Story, Workload

ROOT = Path(__file__).resolve().parents[2]
FULL = Story(
    seed=7,
    hours=2,
    accounts=3,
    settings={"states.healthy.probe_every": 120.0, "states.timeout.patience": [5, 9], "fleet.stagger": 0.5},
    incidents=(
        Incident(at=60.0, kind=IncidentKind.DATACENTER_RPC_ERROR, seconds=30.0, account=2, value="420 FLOOD_WAIT_5"),
        Incident(at=90.5, kind=IncidentKind.CLOCK_STEP, value=-3600),
    ),
    workload=Workload(updates_per_day=200, followers=1, jobs=(JobOrder(at=5.0, account=3, count=4),)),
)
VALUES: dict[IncidentKind, int | float | str] = {
    IncidentKind.DATACENTER_SLOW: 2,
    IncidentKind.DATACENTER_RPC_ERROR: "-503 Timeout",
    IncidentKind.DATACENTER_TRANSPORT_ERROR: -429,
    IncidentKind.DATACENTER_BAD_MSG: 48,
    IncidentKind.DATACENTER_CLOCK_OFFSET: -400.0,
    IncidentKind.DATACENTER_HOSTILE: "nesting",
    IncidentKind.CREDENTIALS_REVOKE: "SESSION_REVOKED",
}


def test_json_gives_the_same_story_back() -> None:
    """What is written is read back without loss, and gives the same text again."""
    assert Story.load(FULL.dump()) == FULL
    assert Story.load(FULL.dump()).dump() == FULL.dump()


def test_what_is_at_its_default_is_not_written() -> None:
    """A short story is a short text."""
    assert Story(seed=1, hours=0.5).dump() == '{\n "hours": 0.5,\n "seed": 1\n}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"seed": 1, "hours": 1, "incident": []}', "incident"),
        ('{"seed": 1, "hours": 1, "incidents": [{"at": 1, "kind": "network.rest"}]}', "network.rest"),
        ('{"seed": 1, "hours": 1, "accounts": 11}', "accounts"),
        ('{"seed": 1', "delimiter"),
    ],
)
def test_a_wrong_story_is_refused(text: str, message: str) -> None:
    """A slip in a story that a person wrote is not read as something else."""
    with pytest.raises(ValueError, match=message):
        Story.load(text)


def test_an_incident_of_nobody_and_one_after_the_end_are_refused() -> None:
    """A story whose shrinking went wrong does not run."""
    with pytest.raises(ValueError, match="number 2"):
        Story(seed=1, hours=1, incidents=(Incident(at=1, kind=IncidentKind.NETWORK_RESET, account=2),))
    with pytest.raises(ValueError, match="nothing at 3601 s"):
        Story(seed=1, hours=1, incidents=(Incident(at=3601, kind=IncidentKind.NETWORK_RESET),))


@pytest.mark.parametrize("kind", [kind for kind in IncidentKind if kind.fault])
def test_the_sandbox_takes_every_fault_of_a_story(kind: IncidentKind) -> None:
    """Each kind that is named after a fault of the sandbox makes one."""
    incident = Incident(at=0, kind=kind, seconds=9, account=1, value=VALUES.get(kind))
    fault = Fault(**incident.fault_options(), account="+9996620001")
    assert (fault.kind, fault.duration) == (kind.fault, 9)


def test_every_fault_of_the_sandbox_can_stand_in_a_story() -> None:
    """A new fault of the sandbox needs a kind here."""
    assert {kind.fault for kind in IncidentKind if kind.fault} == set(FaultKind)


def test_the_code_and_the_text_of_an_error_stand_in_one_value() -> None:
    """The value of an rpc_error is what a log would show."""
    options = FULL.incidents[0].fault_options()
    assert (options["code"], options["text"]) == (420, "FLOOD_WAIT_5")


def test_settings_become_sections() -> None:
    """Dotted paths become the sections of a config."""
    healthy, timeout = {"probe_every": 120.0}, {"patience": [5, 9]}
    assert FULL.config() == {"states": {"healthy": healthy, "timeout": timeout}, "fleet": {"stagger": 0.5}}


def test_arrivals_depend_on_the_seed_and_the_account_alone() -> None:
    """Shrinking the incidents away leaves the messages where they were."""
    bare = Story(seed=7, hours=2, workload=Workload(updates_per_day=200))
    assert list(bare.arrivals(1)) == list(FULL.arrivals(1)) != list(FULL.arrivals(2))
    assert all(0 < at < 7200 for at in bare.arrivals(1))


def test_the_quiet_begins_when_the_last_incident_ends() -> None:
    """The last to end counts, not the last to begin."""
    assert FULL.quiet_from == 90.5
    assert Story(seed=1, hours=1).quiet_from == 0


def test_what_hits_everybody_is_known() -> None:
    """The process, the clock and the datacenter are no account's."""
    assert {kind.group for kind in FOR_ALL} == {"network", "datacenter", "clock", "process"}


def test_a_story_loads_neither_telethon_nor_the_engine() -> None:
    """The world replaces chance and time before these are imported, and it needs the story for that."""
    code = (
        "import sys, tests.simulation.story; print([m for m in sys.modules if m in ('telethon', 'engine', 'states')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
