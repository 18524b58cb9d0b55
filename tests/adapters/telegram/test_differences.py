"""Missed updates that are refused at first: fetched by a schedule, and the report says what is missing until then."""

from typing import Any

import anyio
import pytest
from telethon._updates import EntityCache

from adapters.sandbox import Fault, FaultKind
from adapters.telegram import TelegramConnector, TelegramLink, differences, holds
from states import Event
from states.events import CaughtUp
from states.schedules import Backoff
from tests.adapters.telegram.harness import PHONE, DatacenterHarness
from tests.adapters.telegram.test_inbox import delivering, linked, listening, until
from tests.adapters.telegram.test_requests import DIALOGS
from tests.timeouts import TIMEOUT

GROUP = "holdfast_test"
ACCOUNT = "updates.getDifference"
CHANNEL = "updates.getChannelDifference"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let waits be short."""
    monkeypatch.setattr(differences, "RETRY", Backoff(first=0.2, factor=2, cap=0.8, jitter=0))
    monkeypatch.setattr(differences, "SLACK_SECONDS", 0.1)
    monkeypatch.setattr(holds, "SLACK_SECONDS", 0.0)


def refusal(request: str, code: int, text: str, times: int | None = 1) -> Fault:
    """Return a fault that refuses so many of these requests."""
    return Fault(FaultKind.RPC_ERROR, request=request, code=code, text=text, times=times)


async def reports(link: TelegramLink, count: int) -> list[CaughtUp]:
    """Return the first reports of what was missed."""
    found: list[CaughtUp] = []
    with anyio.fail_after(TIMEOUT):
        while len(found) < count:
            found = [event for event in link._events if isinstance(event, CaughtUp)]
            await anyio.sleep(0.01)
    return found


async def away(account: TelegramConnector) -> None:
    """Have an account connected once, so that it has something to miss; it learns of its channels."""
    async with linked(account) as link:
        await link.client.get_dialogs()


async def opened(account: TelegramConnector, number: int = 2) -> TelegramLink:
    """Return a proven link whose events nobody reads."""
    link = account.link(number)
    assert type((await link.open(timeout=TIMEOUT))[-1]).__name__ == "Connected"
    return link


REFUSALS = [(500, "INTERNAL"), (-503, "Timeout"), (420, "FLOOD_WAIT_1"), (400, "PERSISTENT_TIMESTAMP_INVALID")]


@pytest.mark.parametrize(("code", "text"), REFUSALS)
async def test_a_difference_that_is_refused_once_is_fetched_after_a_wait(
    harness: DatacenterHarness, code: int, text: str
) -> None:
    """Without any live message: what was missed is heard, and both reports say how things stand."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account):
            await away(account)
            await dc.push(PHONE, "missed")
            await dc.inject(refusal(ACCOUNT, code, text))
            link = await opened(account)
            await until(heard, 1)
            first, second = await reports(link, 2)
            assert dc.stats()["requests"][ACCOUNT] <= 4  # two for the first link, two for this one
            await link.close(timeout=TIMEOUT)
    assert heard == ["missed"]
    assert (first.recovered, first.late) == (0, False)
    [missing] = first.missing
    assert missing.startswith("private chats and groups (")
    assert "asked again in" in missing
    assert (second.recovered, second.missing, second.late) == (1, (), True)


@pytest.mark.slow
async def test_a_difference_that_is_refused_again_and_again_is_fetched_in_the_end(harness: DatacenterHarness) -> None:
    """Each wait is longer, live messages do not shorten it and are not lost, and the lack is told once."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account):
            await away(account)
            await dc.push(PHONE, "missed")
            await dc.inject(refusal(ACCOUNT, 500, "INTERNAL", times=3))
            before = dc.stats()["requests"][ACCOUNT]
            began = anyio.current_time()
            link = await opened(account)
            for number in range(5):
                await dc.push(PHONE, f"live {number}")
                assert await link.client(DIALOGS)
            await until(heard, 6)
            assert anyio.current_time() - began >= 0.2 + 0.4 + 0.8
            assert dc.stats()["requests"][ACCOUNT] - before <= 5
            told = await reports(link, 2)
            await link.close(timeout=TIMEOUT)
    assert heard == ["missed", *(f"live {number}" for number in range(5))]
    assert [bool(report.missing) for report in told] == [True, False]


async def test_a_channel_that_is_refused_keeps_no_other_waiting(harness: DatacenterHarness) -> None:
    """Private messages come at once, the report names the channel, and its messages come after the wait."""
    async with harness as dc:
        channel = await dc.create_channel(GROUP, "Test", members=[PHONE])
        account = harness.connector()
        heard = listening(account)
        async with delivering(account):
            await away(account)
            await dc.post(GROUP, "in the channel")
            await dc.push(PHONE, "private")
            await dc.inject(refusal(CHANNEL, 500, "INTERNAL"))
            link = await opened(account)
            await until(heard, 2)
            first, second = await reports(link, 2)
            await link.close(timeout=TIMEOUT)
    assert heard == ["private", "in the channel"]
    assert first.recovered == 1
    assert [why.partition(" (")[0] for why in first.missing] == [f"channel {channel}"]
    assert (second.recovered, second.missing, second.late) == (2, (), True)


@pytest.mark.parametrize("text", ["CHANNEL_PRIVATE", "CHANNEL_INVALID"])
async def test_a_channel_that_is_private_now_is_named_and_not_asked_again(
    harness: DatacenterHarness, text: str
) -> None:
    """There is nothing to fetch any more: the report is the last, and the account goes on."""
    async with harness as dc:
        channel = await dc.create_channel(GROUP, "Test", members=[PHONE])
        account = harness.connector()
        heard = listening(account)
        async with delivering(account):
            await away(account)
            await dc.post(GROUP, "in the channel")
            await dc.inject(refusal(CHANNEL, 400, text, times=None))
            link = await opened(account)
            [told] = await reports(link, 1)
            await anyio.sleep(0.5)
            assert dc.stats()["requests"][CHANNEL] == 1
            await dc.push(PHONE, "later")
            await until(heard, 1)
            assert len(await reports(link, 1)) == 1
            await link.close(timeout=TIMEOUT)
    assert heard == ["later"]
    assert told.missing[0].startswith(f"channel {channel}, which is no longer readable (")


async def test_a_channel_that_telethon_cannot_address_is_named(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Telethon leaves it out without a word; the report does not."""
    async with harness as dc:
        channel = await dc.create_channel(GROUP, "Test", members=[PHONE])
        account = harness.connector()
        await away(account)
        await dc.post(GROUP, "in the channel")
        get = EntityCache.get
        monkeypatch.setattr(EntityCache, "get", lambda self, id: None if id == channel else get(self, id))
        link = await opened(account)
        [told] = await reports(link, 1)
        await link.close(timeout=TIMEOUT)
    assert [why.partition(";")[0] for why in told.missing] == [f"channel {channel} (its access hash is not known"]


async def test_a_link_that_ends_before_the_wait_is_over_loses_nothing(harness: DatacenterHarness) -> None:
    """The next link asks from where the gap began, so that channels with news are named, too."""
    async with harness as dc:
        await dc.create_channel(GROUP, "Test", members=[PHONE])
        account = harness.connector()
        heard = listening(account)
        async with delivering(account):
            await away(account)
            await dc.post(GROUP, "in the channel")
            await dc.push(PHONE, "private")
            await dc.inject(refusal(ACCOUNT, 420, "FLOOD_WAIT_3600"))
            link = await opened(account)
            [told] = await reports(link, 1)
            before = account.memory.states[0].date
            link.client._message_box.date = before.replace(year=before.year + 1)  # as live updates move it
            await link.client.save()
            assert account.memory.states[0].date == before
            await link.close(timeout=TIMEOUT)
            async with linked(account, 3):
                await until(heard, 2)
    assert "FLOOD_WAIT" in told.missing[0] or "wait of 3600" in told.missing[0]
    assert sorted(heard) == ["in the channel", "private"]


async def test_a_refusal_in_the_middle_of_a_life_is_told_and_made_good(harness: DatacenterHarness) -> None:
    """Not only after an outage: a lost live update is found by the difference, also when that is refused at first."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account):
            link = await opened(account, 1)
            await reports(link, 1)
            await dc.inject(refusal(ACCOUNT, 500, "INTERNAL"))
            await dc.inject(Fault(FaultKind.LOST_UPDATE, times=1))
            await dc.push(PHONE, "lost")
            await dc.push(PHONE, "seen")
            await until(heard, 2)
            told: list[Any] = await reports(link, 3)
            await link.close(timeout=TIMEOUT)
    assert heard == ["lost", "seen"]
    assert [(bool(report.missing), report.late) for report in told[1:]] == [(True, False), (False, True)]


async def test_nothing_is_asked_after_the_end(harness: DatacenterHarness) -> None:
    """A closed link leaves no timer."""
    async with harness as dc:
        account = harness.connector()
        await away(account)
        await dc.inject(refusal(ACCOUNT, 500, "INTERNAL", times=None))
        link = await opened(account)
        await reports(link, 1)
        [gap] = link.client.differences._gaps.values()
        await link.close(timeout=TIMEOUT)
        assert gap.timer.cancelled()
        events: list[Event] = list(link._events)
    assert all(isinstance(event, CaughtUp) for event in events)
