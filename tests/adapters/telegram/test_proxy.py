"""Through proxies: a real Telethon client, real proxies on loopback, and the sandbox behind them."""

import logging
import time
from pathlib import Path

import anyio
import attrs
import pytest

from adapters.sandbox import Fault, FaultKind
from adapters.telegram import log_in_test_account
from states.events import Connected, Failure, NetworkLost, ProbeAnswered, TimedOut
from tests.adapters.telegram.attempts import attempt, failure, opened, proxied, refused_port
from tests.adapters.telegram.harness import PHONE, DatacenterHarness, caught_up, events_of
from tests.adapters.telegram.proxies import PADDED, PASSWORD, PLAIN, SECRETS, USER, Behaviour, LocalProxy
from tests.timeouts import TIMEOUT

KINDS = {
    "socks5": LocalProxy("socks5"),
    "socks5 with a login": LocalProxy("socks5", user=USER, password=PASSWORD),
    "socks4": LocalProxy("socks4"),
    "socks4 with a user": LocalProxy("socks4", user=USER),
    "http": LocalProxy("http"),
    "http with a login": LocalProxy("http", user=USER, password=PASSWORD),
    "mtproxy": LocalProxy("mtproxy", secret=PLAIN),
    "mtproxy with a dd-secret": LocalProxy("mtproxy", secret=PADDED),
}


def made(kind: str, harness: DatacenterHarness, behaviour: Behaviour = Behaviour.WORKS) -> LocalProxy:
    """Return a proxy of a kind, not yet listening, that leads to the sandbox."""
    return attrs.evolve(KINDS[kind], behaviour=behaviour, target=("127.0.0.1", harness.dc.port))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_link_goes_through_the_proxy(harness: DatacenterHarness, kind: str) -> None:
    """It is proven, probes are answered, it says which proxy, and the datacenter sees only the proxy."""
    async with harness as dc, made(kind, harness).listening() as proxy:
        link = proxied(harness, proxy.address()).link(1)
        events = await link.open(timeout=TIMEOUT)
        peers = [connection._writer.get_extra_info("peername") for connection in dc._connections]
        answer = (await link.probe(proof=True, timeout=TIMEOUT))[-1]
        await link.close(timeout=TIMEOUT)
        assert events == [Connected(link=1, via=f"{proxy.scheme}://127.0.0.1:{proxy.port}")]
        assert isinstance(answer, ProbeAnswered)
        assert peers == proxy.tunnels
        assert dc.stats()["protocol_errors"] == {}


async def test_a_link_without_a_proxy_says_nothing_of_one(harness: DatacenterHarness) -> None:
    """``via`` is empty, and so are the words about it."""
    async with harness as dc:
        assert await attempt(proxied(harness)) == Connected(link=1, via="")
        await dc.inject(Fault(FaultKind.REFUSE, duration=60))
        assert (await failure(proxied(harness, None))).detail == "connection refused"


async def test_an_mtproxy_costs_no_two_seconds(harness: DatacenterHarness) -> None:
    """Telethon waits them out after each connect, whatever comes; we do not."""
    async with harness, made("mtproxy", harness).listening() as proxy:
        took = []
        for _ in range(3):  # the quickest counts, so that a busy machine proves nothing
            began = time.monotonic()
            assert isinstance(await attempt(proxied(harness, proxy.address())), Connected)
            took.append(time.monotonic() - began)
        assert min(took) < 1.9


async def test_a_login_of_a_test_number_goes_through_the_proxy(harness: DatacenterHarness, tmp_path: Path) -> None:
    """Not even the first key is made around the proxy."""
    async with harness as dc, made("socks5", harness).listening() as proxy:
        connector = attrs.evolve(proxied(harness, proxy.address()), session=tmp_path / "new.session")
        await log_in_test_account(connector, PHONE, timeout=TIMEOUT)
        assert dc.stats()["accepted"] == len(proxy.tunnels) >= 1


@pytest.mark.parametrize("kind", ["socks5 with a login", "socks4 with a user", "http with a login"])
async def test_a_wrong_login_is_a_lost_network_that_names_the_proxy(harness: DatacenterHarness, kind: str) -> None:
    """The proxy's own refusal is told from a network that fails."""
    async with harness as dc, made(kind, harness).listening() as proxy:
        password = None if proxy.password is None else "wrong"
        event = await failure(proxied(harness, proxy.address(user="somebody", password=password)))
        assert isinstance(event, NetworkLost)
        assert event.detail == f"the proxy {proxy.address()} refused the login; check its user and password"
        assert event.chain[-1] == f"ProxyFailed: {event.detail}"
        assert dc.stats()["accepted"] == 0


async def test_a_refusal_is_told_from_silence_when_the_datacenter_is_probed(harness: DatacenterHarness) -> None:
    """A proxy that does not let us in refuses the probe; one that nobody can reach leaves the datacenter dark."""
    async with harness, made("socks5 with a login", harness).listening() as proxy:
        wrong = proxied(harness, proxy.address(user="somebody", password="wrong"))
        assert await wrong.probe_datacenter(timeout=TIMEOUT) == "refuses"
        gone = proxied(harness, attrs.evolve(proxy.address(), port=await refused_port()))
        assert await gone.probe_datacenter(timeout=TIMEOUT) == "dark"


async def test_a_login_that_was_not_given_is_asked_for(harness: DatacenterHarness) -> None:
    """A SOCKS5 proxy that wants a login is told from one that refuses this login."""
    async with harness, made("socks5 with a login", harness).listening() as proxy:
        event = await failure(proxied(harness, proxy.address(user=None, password=None)))
        assert event.detail == f"the proxy {proxy.address()} wants a user and a password"


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [("mtproxy", PLAIN[::-1]), ("mtproxy", PADDED), ("mtproxy with a dd-secret", PLAIN)],
    ids=["another", "padded instead of plain", "plain instead of padded"],
)
async def test_a_wrong_secret_is_suspected(harness: DatacenterHarness, kind: str, wrong: bytes) -> None:
    """An MTProxy says nothing about a wrong secret, so a close before the first answer is taken as a hint."""
    async with harness as dc, made(kind, harness).listening() as proxy:
        event = await failure(proxied(harness, proxy.address(secret=wrong)))
        assert isinstance(event, NetworkLost)
        assert event.detail == (
            f"the proxy {proxy.address()} closed the connection before the datacenter answered; its secret may be wrong"
        )
        assert dc.stats()["accepted"] == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_dead_proxy_is_named(harness: DatacenterHarness, kind: str) -> None:
    """A refused connection to the proxy is not taken for one to the datacenter."""
    async with harness as dc:
        proxy = attrs.evolve(made(kind, harness).address(), port=await refused_port())
        event = await failure(proxied(harness, proxy))
        assert isinstance(event, NetworkLost)
        assert event.detail == f"the proxy {proxy} cannot be reached (connection refused)"
        assert event.chain[-1].startswith("ConnectionRefusedError")
        assert dc.stats()["accepted"] == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_silent_proxy_ends_the_attempt_at_its_patience(harness: DatacenterHarness, kind: str) -> None:
    """A proxy that accepts and says nothing is ``TimedOut`` and named, and leaves no connection behind."""
    async with harness, made(kind, harness, Behaviour.SILENT).listening() as proxy:
        began = time.monotonic()
        event = await failure(proxied(harness, proxy.address()), timeout=0.3)
        assert isinstance(event, TimedOut)
        assert (event.what, event.detail) == ("connect", f"no proof within 0.3 s via {proxy.address()}")
        assert time.monotonic() - began < TIMEOUT
        with anyio.fail_after(TIMEOUT):
            while proxy.open_connections:
                await anyio.sleep(0.01)


@pytest.mark.parametrize(
    ("kind", "behaviour", "said"),
    [
        ("socks5", Behaviour.CANNOT_REACH, "cannot reach the datacenter (host unreachable)"),
        ("socks4", Behaviour.CANNOT_REACH, "cannot reach the datacenter (code 91)"),
        ("http", Behaviour.CANNOT_REACH, "cannot reach the datacenter (HTTP 502)"),
        ("socks5", Behaviour.FORBIDS, "refuses to connect to the datacenter (its rules forbid it)"),
        ("http", Behaviour.FORBIDS, "refuses to connect to the datacenter (HTTP 403)"),
        ("socks5", Behaviour.CLOSES, "closed the connection, or is no socks5 proxy"),
        ("socks4", Behaviour.CLOSES, "closed the connection, or is no socks4 proxy"),
        ("http", Behaviour.CLOSES, "closed the connection, or is no http proxy"),
        ("mtproxy", Behaviour.CLOSES, "closed the connection before the datacenter answered; its secret may be wrong"),
        ("mtproxy", Behaviour.BABBLES, "does not answer as one; its secret may be wrong"),
        ("http with a login", Behaviour.BABBLES, "refuses to connect to the datacenter (HTTP 400)"),
    ],
)
async def test_a_proxy_that_does_not_let_through_says_why(
    harness: DatacenterHarness, kind: str, behaviour: Behaviour, said: str
) -> None:
    """Each way to fail is ``NetworkLost`` with a sentence that names the proxy."""
    async with harness as dc, made(kind, harness, behaviour).listening() as proxy:
        event = await failure(proxied(harness, proxy.address()))
        assert isinstance(event, NetworkLost)
        assert event.detail == f"the proxy {proxy.address()} {said}"
        assert dc.stats()["accepted"] == 0


async def test_a_proxy_of_another_protocol_is_named(harness: DatacenterHarness) -> None:
    """Speaking SOCKS5 to an HTTP proxy is a failure with a hint, not a hang."""
    async with harness, made("http", harness, Behaviour.BABBLES).listening() as proxy:
        wrong = attrs.evolve(proxy.address(), scheme="socks4")
        event = await failure(proxied(harness, wrong))
        assert event.detail == f"the proxy {wrong} closed the connection, or is no socks4 proxy"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_link_that_the_proxy_drops_names_it(harness: DatacenterHarness, kind: str) -> None:
    """A loss of a link that was proven is the socket's own words and the proxy's name."""
    async with harness, made(kind, harness).listening() as proxy:
        link = await opened(proxied(harness, proxy.address()))
        await caught_up(link)  # a request on its way would make it a reset
        proxy.cut()
        with anyio.fail_after(TIMEOUT):
            (event,) = [found async for found in events_of(link) if isinstance(found, Failure)]
        await link.close(timeout=TIMEOUT)
        assert isinstance(event, NetworkLost)
        assert event.detail == f"the other side closed the connection via {proxy.address()}"


async def test_a_silence_names_the_proxy(harness: DatacenterHarness) -> None:
    """A probe that is not answered may be the proxy's fault."""
    async with harness as dc, made("socks5", harness).listening() as proxy:
        link = await opened(proxied(harness, proxy.address()))
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        event = (await link.probe(proof=False, timeout=0.2))[-1]
        await link.close(timeout=TIMEOUT)
        assert isinstance(event, TimedOut)
        assert event.detail == f"no answer within 0.2 s via {proxy.address()}"


@pytest.mark.parametrize("behaviour", Behaviour)
@pytest.mark.parametrize("kind", ["socks5 with a login", "http with a login", "mtproxy", "mtproxy with a dd-secret"])
async def test_no_secret_is_ever_logged(
    harness: DatacenterHarness, caplog: pytest.LogCaptureFixture, kind: str, behaviour: Behaviour
) -> None:
    """Whatever the proxy does, no event, no repr and no log line, Telethon's own for debugging included, has one."""
    caplog.set_level(logging.DEBUG)
    async with harness, made(kind, harness, behaviour).listening() as proxy:
        connector = proxied(harness, proxy.address())
        link = connector.link(1)
        events = list(await link.open(timeout=0.3 if behaviour is Behaviour.SILENT else TIMEOUT))
        proxy.cut()
        if isinstance(events[-1], Connected):
            events += [found async for found in events_of(link)]
        shown = [repr(events), repr(link), repr(connector), repr(link.client), str(proxy.address())]
        await link.close(timeout=TIMEOUT)
    assert caplog.text
    assert not [secret for secret in SECRETS for text in (*shown, caplog.text) if secret in text]
