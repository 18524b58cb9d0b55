"""When a worker is started again."""

from engine.workers.restarts import FIRST_DELAY, LONGEST_DELAY, STABLE_SECONDS, Restarts


def test_a_worker_that_dies_again_and_again_is_started_more_and_more_seldom() -> None:
    """Each wait is longer than the one before, up to a limit."""
    restarts = Restarts()
    delays = [restarts.delay(1.0) for _ in range(9)]
    assert delays[:3] == [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY]
    assert delays == sorted(delays)
    assert delays[-2:] == [LONGEST_DELAY, LONGEST_DELAY]


def test_a_worker_may_die_for_days() -> None:
    """The parent, which has other workers, goes on."""
    restarts = Restarts()
    assert {restarts.delay(1.0) for _ in range(3_000)} >= {LONGEST_DELAY}


def test_a_worker_that_has_lived_is_started_again_soon() -> None:
    """What was before its last life does not count."""
    restarts = Restarts()
    for _ in range(9):
        restarts.delay(1.0)
    assert restarts.delay(STABLE_SECONDS) == FIRST_DELAY
