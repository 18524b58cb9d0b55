"""The kind ``send`` when an earlier attempt has succeeded: which number the message has."""

import time

import pytest

from adapters.sandbox import Fault, FaultKind
from adapters.telegram.builtin_jobs import Send, send
from adapters.telegram.classify import RequestDropped
from tests.adapters.telegram.harness import DatacenterHarness
from tests.adapters.telegram.test_requests import opened
from tests.adapters.telegram.transfers import CHANNEL, ME, TransferJob

DAY = 86_400


@pytest.mark.parametrize(
    ("earlier", "wrong", "known"),
    [(0, 0, True), (0, DAY, True), (1, DAY, False)],
    ids=["clocks agree", "clock ahead, one message", "clock ahead, two messages"],
)
async def test_a_message_that_is_there_is_found_whatever_the_clock_said(
    harness: DatacenterHarness, *, earlier: int, wrong: float, known: bool
) -> None:
    """The oldest since the job began, else the only one of this text; of several nobody can say which it is."""
    async with harness as dc:
        await dc.create_channel(CHANNEL, "Messages", admins=[ME])
        job = TransferJob(Send(to=f"@{CHANNEL}", text="once"), began=time.time() + wrong)
        async with opened(harness) as link:
            for _ in range(earlier):
                before = TransferJob(Send(to=f"@{CHANNEL}", text="once"))
                await send(before, link.client)
            await dc.inject(Fault(FaultKind.RESET_AFTER, request="messages.sendMessage", times=1))
            with pytest.raises((RequestDropped, ConnectionError)):
                await send(job, link.client)
        (harness.directory / "again").mkdir()
        async with opened(DatacenterHarness(harness.directory / "again", dc)) as link:
            result = await send(job, link.client)
        *_, message = dc.channel_messages(CHANNEL)
        assert len(dc.channel_messages(CHANNEL)) == earlier + 1
        assert result["message"] == (message.id if known else None)
