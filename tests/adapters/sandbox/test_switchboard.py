"""Which fault hurts whom, without sockets and with a clock of our own."""

import pytest

from adapters.sandbox import Fault, FaultKind, SandboxError
from adapters.sandbox.faults import TRAITS, Point
from adapters.sandbox.switchboard import Switchboard


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_every_kind_acts_somewhere():
    """No fault is without a point at which it acts."""
    assert set(TRAITS) == set(FaultKind)


def test_a_fault_of_one_account_spares_the_others():
    """A fault with an account hurts that account only, also while it is not yet known."""
    board = Switchboard(Clock())
    board.add(Fault(FaultKind.BLACKHOLE, "+999 66 20001"))
    assert board.at(Point.PACKET, "9996620001").kind is FaultKind.BLACKHOLE
    assert board.at(Point.PACKET, "9996620002") is None
    assert board.at(Point.PACKET, None) is None


def test_a_fault_ends_with_its_time():
    """After its duration a fault is over."""
    clock = Clock()
    board = Switchboard(clock)
    board.add(Fault(FaultKind.REFUSE, duration=5))
    clock.now = 4.9
    assert (board.at(Point.LISTEN, None).kind, board.next_end()) == (FaultKind.REFUSE, 5)
    clock.now = 5.1
    assert (board.at(Point.LISTEN, None), board.standing(), board.next_end()) == (None, [], None)


def test_a_reset_without_a_time_does_not_stand():
    """`reset` is over at once unless a duration is given."""
    board = Switchboard(Clock())
    board.add(Fault(FaultKind.RESET))
    assert board.standing() == []
    board.add(Fault(FaultKind.RESET, duration=1))
    assert board.at(Point.PACKET, None).kind is FaultKind.RESET


def test_clearing_one_account_leaves_the_rest():
    """`clear` with an account ends its faults; without one it ends all."""
    board = Switchboard(Clock())
    for account in ("9996620001", "9996620002", None):
        board.add(Fault(FaultKind.BLACKHOLE, account))
    board.clear("9996620001")
    assert [fault.account for fault in board.standing()] == ["9996620002", None]
    board.clear(None)
    assert board.standing() == []


@pytest.mark.parametrize("duration", [0, -1, 1e9, float("nan")])
def test_an_impossible_duration_is_refused(duration):
    """A fault lasts for a positive time of at most a day."""
    with pytest.raises(SandboxError, match="lasts more than 0"):
        Fault(FaultKind.REFUSE, duration=duration)
