"""Looking for a datacenter without an account: only one that works answers."""

import time

import pytest

from adapters.sandbox import Fault, FaultKind
from adapters.telegram.engine_session import stored_address
from adapters.telegram.proxy import Proxy
from tests.adapters.telegram.harness import DatacenterHarness
from tests.timeouts import TIMEOUT


async def test_a_datacenter_answers_and_learns_nothing(harness: DatacenterHarness) -> None:
    """A working one answers a nonce; no key is made and no request of an account is sent."""
    async with harness as dc:
        assert await harness.connector().probe_datacenter(timeout=TIMEOUT) == "answers"
        assert dc.stats()["keys_made"] == 0
        assert not dc.stats()["requests"]
        assert not dc.stats()["protocol_errors"]


@pytest.mark.parametrize(
    ("kind", "found"),
    [(FaultKind.REFUSE, "dark"), (FaultKind.ACCEPT_THEN_CLOSE, "accepts"), (FaultKind.BLACKHOLE, "accepts")],
)
async def test_one_that_does_not_work_is_told_from_none(
    harness: DatacenterHarness, kind: FaultKind, found: str
) -> None:
    """A closed port is dark; a backend that accepts and dies, or is silent, accepts; each within the patience."""
    async with harness as dc:
        await dc.inject(Fault(kind))
        began = time.monotonic()
        assert await harness.connector().probe_datacenter(timeout=0.3) == found
        assert time.monotonic() - began < TIMEOUT


@pytest.mark.parametrize("code", [-404, -429, -444])
async def test_a_transport_error_is_a_refusal(harness: DatacenterHarness, code: int) -> None:
    """A datacenter that answers with four bytes is there, and does not want to be asked again at once."""
    async with harness as dc:
        await dc.inject(Fault(FaultKind.TRANSPORT_ERROR, code=code))
        assert await harness.connector().probe_datacenter(timeout=TIMEOUT) == "refuses"


async def test_the_route_is_the_address_and_the_proxy(harness: DatacenterHarness) -> None:
    """Equal addresses and proxies make one route; another login at the same proxy makes another; no secret is shown."""
    async with harness:
        account = harness.connector()
        direct = account.route
        routes = set()
        for user in ("a", "b", "b"):
            account.failover.proxies = (Proxy("socks5", "127.0.0.1", 1080, user=user, password="hidden"),)
            routes.add(account.route)
        assert len(routes | {direct}) == 3
        assert direct == harness.connector().route
        assert "hidden" not in str(routes)


async def test_the_file_s_own_address_is_used_where_none_is_configured(harness: DatacenterHarness) -> None:
    """The address comes from the session file, which is only read."""
    async with harness:
        account = harness.connector()
        before = account.session.read_bytes()
        assert stored_address(account.session) == (2, "127.0.0.9", 443)
        assert account.session.read_bytes() == before
        account.session.unlink()
        assert stored_address(account.session) is None
