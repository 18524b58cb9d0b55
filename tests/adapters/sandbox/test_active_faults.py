"""Which fault hits which account, without sockets and with a clock of our own."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adapters.sandbox import Fault, FaultKind, SandboxError
from adapters.sandbox.faults.active_faults import ActiveFaults
from adapters.sandbox.faults.kinds import FAULT_RULES, FaultPoint

ROOT = Path(__file__).parents[3]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def kind_of(fault: Fault | None) -> FaultKind | None:
    """Return the kind of a fault, if there is one."""
    return None if fault is None else fault.kind


def test_every_kind_acts_somewhere() -> None:
    """Every kind of fault has a point at which it acts."""
    assert set(FAULT_RULES) == set(FaultKind)


def test_every_point_is_used() -> None:
    """Every point of a connection's life has a fault that acts there."""
    assert {rule.point for rule in FAULT_RULES.values()} == set(FaultPoint)


def test_a_fault_of_one_account_spares_the_others() -> None:
    """A fault with an account hits that account only, and not a connection whose account is unknown."""
    faults = ActiveFaults(Clock())
    faults.add(Fault(FaultKind.BLACKHOLE, "+999 66 20001"))
    assert kind_of(faults.find(FaultPoint.PACKET, "9996620001")) is FaultKind.BLACKHOLE
    assert faults.find(FaultPoint.PACKET, "9996620002") is None
    assert faults.find(FaultPoint.PACKET, None) is None


def test_a_fault_ends_with_its_time() -> None:
    """After its duration a fault is over."""
    clock = Clock()
    faults = ActiveFaults(clock)
    faults.add(Fault(FaultKind.REFUSE, duration=5))
    clock.now = 4.9
    assert (kind_of(faults.find(FaultPoint.LISTEN, None)), faults.next_end()) == (FaultKind.REFUSE, 5)
    clock.now = 5.1
    assert (faults.find(FaultPoint.LISTEN, None), faults.active(), faults.next_end()) == (None, [], None)


def test_a_reset_without_a_time_does_not_stand() -> None:
    """``reset`` is over at once unless a duration is given."""
    faults = ActiveFaults(Clock())
    faults.add(Fault(FaultKind.RESET))
    assert faults.active() == []
    faults.add(Fault(FaultKind.RESET, duration=1))
    assert kind_of(faults.find(FaultPoint.PACKET, None)) is FaultKind.RESET


def test_clearing_one_account_leaves_the_rest() -> None:
    """``clear`` with an account ends its faults; without one it ends all."""
    faults = ActiveFaults(Clock())
    for account in ("9996620001", "9996620002", None):
        faults.add(Fault(FaultKind.BLACKHOLE, account))
    faults.clear("9996620001")
    assert [fault.account for fault in faults.active()] == ["9996620002", None]
    faults.clear(None)
    assert faults.active() == []


@pytest.mark.parametrize("duration", [0, -1, 1e9, float("nan")])
def test_an_impossible_duration_is_refused(duration: float) -> None:
    """A fault lasts for a positive time of at most a day."""
    with pytest.raises(SandboxError, match="lasts more than 0"):
        Fault(FaultKind.REFUSE, duration=duration)


def test_a_counted_fault_is_over_after_its_times() -> None:
    """Each act counts, looking does not, and afterwards no fault is active."""
    faults = ActiveFaults(Clock())
    faults.add(Fault(FaultKind.BAD_SALT, times=2))
    assert faults.find(FaultPoint.SALT, None) is not None
    assert [faults.trigger(FaultPoint.SALT, None) is not None for _ in range(3)] == [True, True, False]
    assert (faults.active(), faults.acted) == ([], {"bad_salt": 2})


@pytest.mark.parametrize("kind", [kind for kind, rule in FAULT_RULES.items() if rule.once])
def test_what_is_momentary_acts_once(kind: FaultKind) -> None:
    """Without ``times`` and a duration it acts once; with a duration as often as it can."""
    text = (*FAULT_RULES[kind].texts, "PEER_FLOOD")[0]
    values: dict[str, Any] = {"code": 420 if kind is FaultKind.RPC_ERROR else 18, "text": text}
    needed = {key: values[key] for key in FAULT_RULES[kind].required}
    assert Fault(kind, **needed).max_acts == 1
    assert Fault(kind, duration=5, **needed).max_acts is None
    assert Fault(kind, duration=5, times=3, **needed).max_acts == 3


def test_the_newest_fault_acts() -> None:
    """Of two at one point the newer one acts, and when it is over the older one again."""
    faults = ActiveFaults(Clock())
    faults.add(Fault(FaultKind.DUPLICATE))
    faults.add(Fault(FaultKind.RPC_ERROR, code=420, text="FLOOD_WAIT_3"))
    kinds = [kind_of(faults.trigger(FaultPoint.REQUEST, None, "updates.getState")) for _ in range(3)]
    assert kinds == [FaultKind.RPC_ERROR, FaultKind.DUPLICATE, FaultKind.DUPLICATE]


@pytest.mark.parametrize(
    ("pattern", "name", "hit"),
    [
        (None, "updates.getState", True),
        (None, "ping", False),
        ("*", "ping", True),
        ("ping*", "pingDelayDisconnect", True),
        ("ping*", "updates.getState", False),
        ("updates.*", "updates.getDifference", True),
        ("updates.getstate", "updates.getState", True),
        ("updates.getState", "updates.getDifference", False),
    ],
)
def test_a_request_is_meant_by_its_pattern(pattern: str | None, name: str, hit: bool) -> None:
    """A pattern matches method names in any case; without one every request but the message layer's own is hit."""
    assert Fault(FaultKind.SLOW, seconds=1, request=pattern).matches_request(name) is hit


WRONG = [
    ({"kind": FaultKind.RESET, "request": "*"}, "'reset' has no request"),
    ({"kind": FaultKind.REFUSE, "times": 2}, "'refuse' has no times"),
    ({"kind": FaultKind.RESET, "code": 5, "text": "A"}, "has no code and no text"),
    ({"kind": FaultKind.SLOW}, "'slow' needs seconds"),
    ({"kind": FaultKind.RPC_ERROR}, "needs code and text; add it, such as code -404 or 420, text FLOOD_WAIT_30"),
    ({"kind": FaultKind.RESET, "times": 0}, "acts 1 to 10000 times, not 0"),
    ({"kind": FaultKind.TRANSPORT_ERROR, "code": -405}, "one of the codes -404, -429, -444"),
    ({"kind": FaultKind.BAD_MSG, "code": 21}, "one of the codes 16, 17"),
    ({"kind": FaultKind.RPC_ERROR, "code": 0, "text": "A"}, "such as 420, 500 or -503"),
    ({"kind": FaultKind.RPC_ERROR, "code": 420, "text": ""}, "printable characters"),
    ({"kind": FaultKind.SLOW, "seconds": -1}, "A delay is more than 0"),
    ({"kind": FaultKind.SLOW, "seconds": float("nan")}, "A delay is more than 0"),
    ({"kind": FaultKind.CLOCK_OFFSET, "seconds": 0}, "A clock is at most"),
    ({"kind": FaultKind.SLOW, "seconds": 1, "request": "updates.getStat"}, "No request is called 'updates.getStat'"),
]


@pytest.mark.parametrize(("values", "sentence"), WRONG)
def test_a_fault_that_makes_no_sense_is_refused(values: dict[str, Any], sentence: str) -> None:
    """A key that is missing, unknown or out of range is refused with a sentence."""
    with pytest.raises(SandboxError, match=sentence):
        Fault(**values)


def test_the_kinds_of_faults_can_be_read_without_telethon() -> None:
    """The config reads them, and must not wait a second for Telethon."""
    program = "import sys, adapters.sandbox.faults.kinds; sys.exit('telethon' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
