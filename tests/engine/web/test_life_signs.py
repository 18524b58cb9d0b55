"""Whether an account that is called healthy is still asked for signs of life."""

import anyio
import pytest

from engine.web.life_signs import SLACK, LifeSigns
from states import Policy
from states.events import NetworkLost, ProbeAnswered, ProbeDue, Stable, TimedOut
from states.schedules import Health
from tests.states.harness import AccountDriver

pytestmark = pytest.mark.virtual


def seen() -> tuple[LifeSigns, AccountDriver]:
    """Return what observes an account that has just become healthy, and what drives it."""
    signs, driver = LifeSigns(), AccountDriver()
    driver.connect()
    signs.observe("A", driver.last)
    return signs, driver


async def test_an_account_that_is_asked_in_time_is_never_overdue() -> None:
    """For as long as the timers go off and answers come."""
    signs, driver = seen()
    for _ in range(20):
        await anyio.sleep(driver.policy.healthy.probe_every)
        signs.observe("A", driver.take(ProbeDue(generation=driver.snapshot.generation)))
        await anyio.sleep(driver.policy.timeout.nth(1))
        signs.observe("A", driver.take(ProbeAnswered(link=driver.snapshot.link)))
        assert signs.count() == (1, 0)


async def test_a_timer_that_does_not_go_off_is_noticed() -> None:
    """The account says that it is healthy, and nothing asks whether it is."""
    signs, driver = seen()
    await anyio.sleep(driver.policy.healthy.probe_every + SLACK - 1)
    assert signs.count() == (1, 0)
    await anyio.sleep(2)
    assert signs.count() == (1, 1)


async def test_a_probe_that_neither_is_answered_nor_gives_up_is_noticed() -> None:
    """The link does not report any more."""
    signs, driver = seen()
    signs.observe("A", driver.take(ProbeDue(generation=driver.snapshot.generation)))
    await anyio.sleep(driver.policy.timeout.nth(1) + SLACK - 1)
    assert signs.count() == (1, 0)
    await anyio.sleep(2)
    assert signs.count() == (1, 1)


@pytest.mark.parametrize("event", [NetworkLost(), TimedOut()])
async def test_an_account_that_is_not_healthy_owes_nothing(event: NetworkLost | TimedOut) -> None:
    """It waits by its schedule, for hours if that is what it says; nor does one that was removed."""
    signs, driver = seen()
    signs.observe("B", driver.last)
    signs.observe("A", driver.take(event))
    signs.forget("B")
    await anyio.sleep(10_000)
    assert signs.count() == (0, 0)


async def test_what_waits_by_former_schedules_is_not_late() -> None:
    """A reload makes them shorter, and the timer that was set already is what was decided."""
    signs, driver = LifeSigns(), AccountDriver(Policy(healthy=Health(probe_every=3600.0)))
    driver.connect()
    signs.observe("A", driver.last)
    driver.policy = Policy(healthy=Health(probe_every=1.0))
    signs.observe("A", driver.take(Stable(generation=0)))
    await anyio.sleep(3600)
    assert signs.count() == (1, 0)
