"""An account with several proxies: which one the next attempt takes."""

import pytest
from attrs import define

from adapters.telegram import ProxyFailover
from adapters.telegram.failover import RETURN_AFTER
from adapters.telegram.proxy import Proxy
from states.events import (
    AuthRejected,
    Connected,
    DatabaseLocked,
    Failure,
    FloodWait,
    NetworkLost,
    ProtocolBroken,
    TimedOut,
    TransportFlood,
)
from tests.adapters.telegram.attempts import attempt, opened, proxied, refused_port
from tests.adapters.telegram.harness import DatacenterHarness
from tests.adapters.telegram.proxies import Behaviour, LocalProxy
from tests.timeouts import TIMEOUT

FIRST, SECOND = Proxy("socks5", "127.0.0.1", 1081), Proxy("http", "127.0.0.1", 1082)


@define
class Clock:
    """A clock that a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


async def test_an_attempt_that_fails_is_followed_by_one_through_the_next(harness: DatacenterHarness) -> None:
    """The first proxy is dead: the second attempt is proven through the second proxy, and says so."""
    async with harness, LocalProxy("http").listening() as alive:
        dead = Proxy("socks5", "127.0.0.1", await refused_port())
        connector = proxied(harness, dead, alive.address())
        events = [await attempt(connector), await attempt(connector)]
        assert isinstance(events[0], NetworkLost)
        assert str(dead) in events[0].detail
        assert events[1] == Connected(link=1, via=str(alive.address()))


async def test_a_proxy_that_hangs_is_followed_by_the_next_and_returned_to(harness: DatacenterHarness) -> None:
    """A silence counts as a failure of the way; after ten minutes the first one has its chance, and is well again."""
    clock = Clock()
    async with harness, LocalProxy("socks5").listening() as first, LocalProxy("socks5").listening() as second:
        connector = proxied(harness, failover=ProxyFailover((first.address(), second.address()), clock))
        first.behaviour = Behaviour.SILENT
        assert isinstance(await attempt(connector, timeout=0.3), TimedOut)
        first.behaviour = Behaviour.WORKS
        seen = []
        for wait in (0, RETURN_AFTER - 1, 1):
            clock.now += wait
            event = await attempt(connector)
            assert isinstance(event, Connected)
            seen.append(event.via)
        assert seen == [str(second.address())] * 2 + [str(first.address())]


async def test_a_return_leaves_a_link_that_works_alone(harness: DatacenterHarness) -> None:
    """After the time, a link through the second proxy goes on; only the next one takes the first."""
    clock = Clock()
    async with harness, LocalProxy("socks5").listening() as first, LocalProxy("socks5").listening() as second:
        failover = ProxyFailover((first.address(), second.address()), clock)
        connector = proxied(harness, failover=failover)
        failover.report_failure(first.address(), NetworkLost())
        link = await opened(connector)
        clock.now += RETURN_AFTER * 2
        answer = (await link.probe(proof=True, timeout=TIMEOUT))[-1]
        await link.close(timeout=TIMEOUT)
        assert not isinstance(answer, Failure)
        assert (first.accepted, second.accepted) == (0, 1)


async def test_direct_can_be_one_of_the_list(harness: DatacenterHarness) -> None:
    """With the proxy dead and ``direct`` after it, the account connects without a proxy."""
    async with harness:
        connector = proxied(harness, Proxy("socks5", "127.0.0.1", await refused_port()), None)
        await attempt(connector)
        assert await attempt(connector) == Connected(link=1, via="")


@pytest.mark.parametrize("failure", [NetworkLost(), TimedOut(what="connect"), ProtocolBroken()])
def test_what_another_way_may_not_have_moves_on(failure: Failure) -> None:
    """Losses, silences and garbage: the next is taken, and after the last the first again."""
    failover = ProxyFailover((FIRST, SECOND))
    chosen = []
    for _ in range(3):
        chosen.append(failover.choose())
        failover.report_failure(failover.choose(), failure)
    assert chosen == [FIRST, SECOND, FIRST]


@pytest.mark.parametrize("failure", [FloodWait(seconds=5), TransportFlood(), AuthRejected(), DatabaseLocked()])
def test_what_is_not_the_fault_of_the_proxy_moves_nothing(failure: Failure) -> None:
    """Another proxy helps neither against a flood wait nor against a dead login or a locked file."""
    failover = ProxyFailover((FIRST, SECOND))
    failover.report_failure(FIRST, failure)
    assert failover.choose() is FIRST


def test_a_late_failure_of_another_proxy_moves_nothing() -> None:
    """Only the proxy in use can be given up."""
    failover = ProxyFailover((FIRST, SECOND))
    failover.report_failure(SECOND, NetworkLost())
    assert failover.choose() is FIRST


def test_one_proxy_is_tried_for_ever() -> None:
    """With nothing to fail over to, the account never goes around its proxy."""
    failover = ProxyFailover((FIRST,))
    for _ in range(3):
        failover.report_failure(FIRST, NetworkLost())
        assert failover.choose() is FIRST


def test_none_given_is_a_direct_way() -> None:
    """An account without proxies connects without one."""
    assert ProxyFailover().choose() is None
    assert ProxyFailover(()).proxies == (None,)
