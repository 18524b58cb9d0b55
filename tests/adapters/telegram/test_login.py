"""Test numbers log in by themselves at the sandbox."""

import pytest

from adapters.sandbox import Fault, FaultKind
from adapters.telegram import log_in_test_account
from states.events import Connected
from tests.adapters.telegram.harness import DatacenterHarness
from tests.timeouts import TIMEOUT


async def test_a_test_number_logs_in_and_connects(harness: DatacenterHarness) -> None:
    """A login makes a session that connects, readable by its owner alone."""
    async with harness:
        account = harness.connector()
        account.session.unlink()
        await log_in_test_account(account, "+9996620007")
        link = account.link(1)
        events = await link.open(timeout=TIMEOUT)
        await link.close(timeout=TIMEOUT)
        assert events == [Connected(link=1)]
        assert account.session.stat().st_mode & 0o077 == 0


async def test_a_login_that_fails_leaves_no_file(harness: DatacenterHarness) -> None:
    """A login cut in the middle leaves neither a session nor an unfinished one."""
    async with harness as dc:
        account = harness.connector()
        account.session.unlink()
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        with pytest.raises(TimeoutError):
            await log_in_test_account(account, "+9996620007", timeout=0.3)
        assert list(account.session.parent.iterdir()) == []


async def test_a_real_number_is_refused(harness: DatacenterHarness) -> None:
    """A number that is not a test number is never sent anywhere, and not repeated in the error."""
    async with harness as dc:
        with pytest.raises(ValueError, match="test numbers only") as caught:
            await log_in_test_account(harness.connector(), "+49301234567")
        assert "4930" not in str(caught.value)
        assert dc.stats()["accepted"] == 0
