"""Retention and a clock that is wrong for a while: nothing is deleted that a right clock would keep."""

from engine.journal.retention import DOUBTED_FOR, TrustedTime, last_sign
from states import Snapshot

YEAR = 365 * 86_400.0


class Hands:
    """A clock that is set by hand."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


def trusted(last_known: float | None = None, *, at: float = 1e9) -> tuple[TrustedTime, Hands, Hands]:
    """Return the time by which entries are deleted, and its two clocks."""
    wall, continuous = Hands(at), Hands(50.0)
    return TrustedTime(wall, continuous, last_known), wall, continuous


def test_a_clock_that_is_a_year_ahead_is_not_believed() -> None:
    """It goes on as before, and is right again when the clock is."""
    time, wall, continuous = trusted()
    wall.at += YEAR
    assert time.now() == 1e9
    wall.at, continuous.at = wall.at + 60, continuous.at + 60
    assert time.now() == 1e9 + 60
    wall.at -= YEAR
    assert time.now() == 1e9 + 60


def test_it_is_believed_after_a_day() -> None:
    """The clock may have been wrong before."""
    time, wall, continuous = trusted()
    wall.at += YEAR
    time.now()
    wall.at, continuous.at = wall.at + DOUBTED_FOR, continuous.at + DOUBTED_FOR
    assert time.now() == 1e9 + YEAR + DOUBTED_FOR


def test_a_clock_that_is_set_back_is_believed_at_once() -> None:
    """Then less is deleted; and the machine may have slept, which both clocks know."""
    time, wall, continuous = trusted()
    wall.at -= YEAR
    assert time.now() == 1e9 - YEAR
    wall.at, continuous.at = wall.at + 90_000, continuous.at + 90_000
    assert time.now() == 1e9 - YEAR + 90_000


def test_an_engine_that_starts_with_a_clock_ahead_deletes_nothing() -> None:
    """What an earlier engine has stored says about when it is; an hour without an engine is no reason for doubt."""
    time, *_ = trusted(1e9 - YEAR)
    assert time.now() == 1e9 - YEAR
    time, *_ = trusted(1e9 - 3600)
    assert time.now() == 1e9


def test_the_last_sign_is_the_newest_time_of_all_accounts() -> None:
    """None, if no engine ever ran."""
    assert last_sign([]) is None
    assert last_sign([Snapshot(since=5.0, last_success=9.0), Snapshot(since=7.0)]) == 9.0
