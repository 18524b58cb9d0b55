"""Updates that do not flow, as one link of the real client notices it: by numbers, and never by silence."""

import time
from collections.abc import Sequence

import anyio
import pytest
from telethon.tl.functions.channels import LeaveChannelRequest

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sandbox.faults.kinds import WRONG_PTS_BY
from adapters.telegram import TelegramConnector, TelegramLink, differences, update_proof
from adapters.telegram.message_box import NotedMessageBox
from states import Event
from states.events import CaughtUp, FloodWait, ProbeAnswered, UpdatesConfirmed, UpdatesStalled
from states.ledger import HoleCause
from states.schedules import Backoff
from tests.adapters.sandbox.harness import BOB
from tests.adapters.telegram.harness import PHONE, DatacenterHarness, caught_up
from tests.adapters.telegram.test_inbox import Handling, delivering, listening, until
from tests.timeouts import TIMEOUT

NEWS, TALK = "news", "talk"
DIALOGS = "messages.getPeerDialogs"
QUICK = 0.05


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every wait be short."""
    for name in ("GRACE", "POLL"):
        monkeypatch.setattr(update_proof, name, QUICK)
    for name in ("CHANNELS_EVERY", "STRANGERS_EVERY"):
        monkeypatch.setattr(update_proof, name, 0.0)


class ProvenLink:
    """A link that the test has proven whenever it wants, and what it reports about updates."""

    def __init__(self, account: TelegramConnector) -> None:
        self.account, self.told = account, list[Event]()
        self.link: TelegramLink = account.link(1)

    async def __aenter__(self) -> "ProvenLink":
        assert type((await self.link.open(timeout=TIMEOUT))[-1]).__name__ == "Connected"
        self.link.watch(self.told.append)
        await caught_up(self.link)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.link.close(timeout=TIMEOUT)

    async def prove(self) -> None:
        """Have the link proven, the numbers of channels answered, and all that has arrived counted."""
        events: Sequence[Event] = await self.link.probe(proof=True, timeout=TIMEOUT)
        assert isinstance(events[-1], ProbeAnswered)
        with anyio.fail_after(TIMEOUT):
            while (proof := self.link._proof) is not None and (
                proof._give_up is not None
                or proof._listing._give_up is not None
                or (self.link.client._updates_queue.waiting and not self.account.inbox.is_full)
            ):
                await anyio.sleep(0.005)

    async def number_of(self, channel: int) -> int:
        """Return the number of a channel as soon as it has one."""
        numbers = self.link.client._message_box.map
        with anyio.fail_after(TIMEOUT):
            while channel not in numbers:
                await anyio.sleep(0.005)
        return int(numbers[channel].pts)

    async def hear(self, kind: type[Event]) -> Event:
        """Return the next event of this kind, and forget what was told before it."""
        with anyio.fail_after(TIMEOUT):
            while not (found := [event for event in self.told if isinstance(event, kind)]):
                await anyio.sleep(0.005)
        del self.told[: self.told.index(found[0]) + 1]
        return found[0]

    @property
    def stalls(self) -> list[Event]:
        """What was told of missing updates."""
        return [event for event in self.told if isinstance(event, UpdatesStalled)]

    async def settle(self) -> None:
        """Wait until nothing is to be looked at any more."""
        with anyio.fail_after(TIMEOUT):
            while self.link._proof is not None and self.link._proof._timer is not None:
                await anyio.sleep(0.005)


async def in_channels(dc: Sandbox, account: TelegramConnector) -> int:
    """Let the account be in two channels, and know their numbers; return the number of one."""
    channel = await dc.create_channel(NEWS, NEWS, members=[PHONE])
    await dc.create_channel(TALK, TALK, members=[PHONE])
    async with ProvenLink(account) as proven:
        await proven.link.client.get_dialogs()
    return channel


async def lose(dc: Sandbox, *, channel: bool) -> None:
    """Post something that is not pushed."""
    await dc.inject(Fault(FaultKind.LOST_UPDATE, channel=NEWS if channel else None))
    await (dc.post(NEWS, "lost") if channel else dc.push(PHONE, "lost"))


@pytest.mark.parametrize("channel", [False, True])
async def test_updates_that_are_not_pushed_are_noticed_and_fetched(harness: DatacenterHarness, channel: bool) -> None:
    """The account's own, and those of one channel alone: by the numbers of the next proof, and by the difference."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        number = await in_channels(dc, account)
        async with delivering(account), ProvenLink(account) as proven:
            await lose(dc, channel=channel)
            await proven.prove()
            stalled = await proven.hear(UpdatesStalled)
            assert isinstance(stalled, UpdatesStalled)
            where = f"channel {number}" if channel else "private chats and groups"
            assert (stalled.detail, stalled.behind, stalled.asked) == (f"{where} (1 missing)", (f"{where}: 1",), False)
            assert heard == []
            proven.link.fetch_updates(TIMEOUT)
            assert isinstance(await proven.hear(UpdatesConfirmed), UpdatesConfirmed)
            await until(heard, 1)
            assert heard == ["lost"]


async def test_other_channels_are_not_accused(harness: DatacenterHarness) -> None:
    """What is pushed in one channel is there, however much is missing in another."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        number = await in_channels(dc, account)
        async with delivering(account), ProvenLink(account) as proven:
            await lose(dc, channel=True)
            await dc.post(TALK, "there")
            await until(heard, 1)
            await proven.prove()
            stalled = await proven.hear(UpdatesStalled)
            assert isinstance(stalled, UpdatesStalled)
            assert stalled.behind == (f"channel {number}: 1",)


@pytest.mark.parametrize("channel", [False, True])
async def test_a_difference_that_is_lost_is_reported_as_asked_for(harness: DatacenterHarness, channel: bool) -> None:
    """The difference is answered as empty: within the patience nothing comes, and the report says that it was asked."""
    async with harness as dc:
        account = harness.connector()
        await in_channels(dc, account)
        async with delivering(account), ProvenLink(account) as proven:
            await lose(dc, channel=channel)
            await dc.inject(Fault(FaultKind.LOST_DIFFERENCE))
            await proven.prove()
            await proven.hear(UpdatesStalled)
            proven.link.fetch_updates(0.3)
            stalled = await proven.hear(UpdatesStalled)
            assert isinstance(stalled, UpdatesStalled)
            assert stalled.asked
            assert not [event for event in proven.told if isinstance(event, UpdatesConfirmed)]


async def test_a_number_that_is_too_high_is_noticed_and_set_back(harness: DatacenterHarness) -> None:
    """A channel of which the client had no number takes the wrong one for its own, and ignores what follows.

    Afterwards updates flow again, and what may be missing is named.
    """
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account), ProvenLink(account) as proven:
            number = await dc.create_channel(NEWS, NEWS, members=[PHONE])
            await dc.inject(Fault(FaultKind.WRONG_PTS, times=1))
            await dc.post(NEWS, "with a wrong number")
            await until(heard, 1)
            await dc.post(NEWS, "ignored")
            await proven.prove()
            stalled = await proven.hear(UpdatesStalled)
            assert isinstance(stalled, UpdatesStalled)
            assert stalled.behind == (f"channel {number}: {WRONG_PTS_BY - 1} ahead",)
            proven.link.fetch_updates(TIMEOUT)
            gap = await proven.hear(CaughtUp)
            assert isinstance(gap, CaughtUp)
            assert gap.missing[0].startswith(f"channel {number} (its number was {WRONG_PTS_BY - 1} too high")
            await proven.hear(UpdatesConfirmed)
            await dc.post(NEWS, "heard")
            await until(heard, 2)
            assert heard == ["with a wrong number", "heard"]


@pytest.mark.parametrize("channel", [False, True])
async def test_an_answer_that_was_late_repeats_no_update(harness: DatacenterHarness, channel: bool) -> None:
    """A replica says a number that is too low: asked again, the datacenter agrees with the client, and all is well."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        number = await in_channels(dc, account)
        async with delivering(account), ProvenLink(account) as proven:
            await (dc.post(NEWS, "once") if channel else dc.push(PHONE, "once"))
            await until(heard, 1)
            proven.link._prove_updates()
            proof, box = proven.link._proof, number if channel else 0
            assert proof is not None
            numbers = proof.numbers()
            proof.watch.compare({box: numbers[box] - 1}, numbers, numbers, time.time())
            proof._conclude()
            await proven.hear(UpdatesStalled)
            proven.link.fetch_updates(TIMEOUT)
            await proven.hear(UpdatesConfirmed)
            assert proof.numbers() == numbers
            await dc.push(PHONE, "afterwards")
            await until(heard, 2)
            assert heard == ["once", "afterwards"]


@pytest.mark.parametrize("kind", [FaultKind.UNKNOWN_UPDATE, FaultKind.WRONG_PTS])
async def test_what_the_client_finds_out_by_itself_is_no_stall(harness: DatacenterHarness, kind: FaultKind) -> None:
    """An update that cannot be read, or that does not follow the last one: the difference is fetched at once."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        await in_channels(dc, account)
        async with delivering(account), ProvenLink(account) as proven:
            await dc.inject(Fault(kind, times=1))
            await dc.post(NEWS, "hurt")
            await until(heard, 1)
            await proven.prove()
            await proven.hear(UpdatesConfirmed)
            assert not proven.stalls


async def test_a_channel_that_is_too_far_behind_goes_on_from_its_present(harness: DatacenterHarness) -> None:
    """The datacenter lists nothing: the number is reached all the same, and nothing is cut for it."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        await in_channels(dc, account)
        async with delivering(account), ProvenLink(account) as proven:
            await dc.inject(Fault(FaultKind.TOO_LONG, request="updates.getChannelDifference"))
            await lose(dc, channel=True)
            await proven.prove()
            await proven.hear(UpdatesStalled)
            proven.link.fetch_updates(TIMEOUT)
            await proven.hear(UpdatesConfirmed)
            await dc.clear()
            await dc.post(NEWS, "heard")
            await until(heard, 1)
            assert heard == ["heard"]


async def test_an_outdated_number_is_asked_for_again(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PERSISTENT_TIMESTAMP_OUTDATED: the channel is asked again by its own schedule, and confirmed when it is there."""
    monkeypatch.setattr(differences, "RETRY", Backoff(first=0.1, factor=1, cap=0.1, jitter=0))
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        await in_channels(dc, account)
        async with delivering(account), ProvenLink(account) as proven:
            outdated = Fault(
                FaultKind.RPC_ERROR,
                request="updates.getChannelDifference",
                code=500,
                text="PERSISTENT_TIMESTAMP_OUTDATED",
                times=2,
            )
            await dc.inject(outdated)
            await lose(dc, channel=True)
            await proven.prove()
            await proven.hear(UpdatesStalled)
            proven.link.fetch_updates(TIMEOUT)
            await proven.hear(UpdatesConfirmed)
            await until(heard, 1)


async def test_silence_and_traffic_accuse_nobody(harness: DatacenterHarness) -> None:
    """Many proofs, with nothing and with messages in between: confirmed once, and never missed."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        await in_channels(dc, account)
        async with delivering(account), ProvenLink(account) as proven:
            for number in range(10):
                await proven.prove()
                if number > 4:
                    await dc.push(PHONE, f"{number}")
                    await dc.post(NEWS, f"{number}")
            await until(heard, 10)
            await proven.settle()
            assert [event.channels for event in proven.told if isinstance(event, UpdatesConfirmed)] == [2]
            assert not proven.stalls


async def test_slow_handlers_are_no_fault_of_the_datacenter(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Updates that are here and not handled are told of in the log, once, and nothing is reported or fetched.

    Not even where so many wait that no more are taken.
    """
    monkeypatch.setattr("adapters.telegram.inbox.MAX_BACKLOG", 2)
    monkeypatch.setattr("adapters.telegram.inbox.MAX_RUNNING", 1)
    async with harness as dc:
        account = harness.connector()
        handler = Handling(account)
        async with delivering(account), ProvenLink(account) as proven:
            for number in range(8):
                await dc.push(PHONE, f"{number}")
            await handler.begun_in_time()
            with anyio.fail_after(TIMEOUT):
                while not account.inbox.is_full:
                    await anyio.sleep(0.005)
            for _ in range(4):
                await proven.prove()
                await anyio.sleep(4 * QUICK)
            assert not proven.stalls
            (line,) = [record for record in caplog.records if record.__dict__.get("event") == "handlers_behind"]
            assert line.__dict__["count"] == 4
            handler.let_go.set()
            await until(handler.calls, 16)
            await proven.prove()
            await proven.hear(UpdatesConfirmed)


async def test_channels_are_asked_about_once_a_minute_at_most(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the link is proven, and however many links the account has had."""
    monkeypatch.setattr(update_proof, "CHANNELS_EVERY", 55.0)
    async with harness as dc:
        account = harness.connector()
        await in_channels(dc, account)
        for _ in range(2):
            async with ProvenLink(account) as proven:
                for _ in range(3):
                    await proven.prove()
        assert dc.stats()["requests"][DIALOGS] == 1


async def test_a_flood_wait_for_it_is_reported_and_kept(harness: DatacenterHarness) -> None:
    """The numbers of channels can wait; the account's are compared all the same."""
    async with harness as dc:
        account = harness.connector()
        await in_channels(dc, account)
        async with delivering(account), ProvenLink(account) as proven:
            await dc.inject(Fault(FaultKind.RPC_ERROR, request=DIALOGS, code=420, text="FLOOD_WAIT_30", times=1))
            await proven.prove()
            flood = await proven.hear(FloodWait)
            assert isinstance(flood, FloodWait)
            assert (flood.request, flood.seconds) == ("GetPeerDialogs", 30)
            proven.link.hold(flood.request, time.time() + flood.seconds)
            asked = dc.stats()["requests"][DIALOGS]
            await lose(dc, channel=False)
            await proven.prove()
            assert dc.stats()["requests"][DIALOGS] == asked
            await proven.hear(UpdatesStalled)


async def test_a_channel_without_a_number_begins_at_the_present_and_is_named(
    harness: DatacenterHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """What was posted before is not fetched, what comes afterwards is missed no more, even if nothing is pushed."""
    caplog.set_level("INFO", "holdfast.handlers")
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        number = await dc.create_channel(NEWS, NEWS, members=[PHONE])
        await dc.post(NEWS, "before")
        async with delivering(account), ProvenLink(account) as proven:
            proven.link.hold("GetDialogs", 2**40)  # which would say the number, too
            await dc.inject(Fault(FaultKind.LOST_UPDATE))
            await proven.link.client.get_entity(NEWS)
            assert number not in proven.link.client._message_box.map
            await proven.prove()
            assert await proven.number_of(number) == 2
            (line,) = [record for record in caplog.records if record.__dict__.get("event") == "channel_begun"]
            assert (line.__dict__["channel"], line.__dict__["number"]) == (number, 2)
            await dc.post(NEWS, "afterwards")
            await proven.prove()
            await proven.hear(UpdatesStalled)
            proven.link.fetch_updates(TIMEOUT)
            await until(heard, 1)
            assert heard == ["afterwards"]


async def test_a_channel_that_the_account_has_left_is_not_begun(harness: DatacenterHarness) -> None:
    """And is asked about once; it does not keep the others from being compared."""
    async with harness as dc:
        account = harness.connector()
        await in_channels(dc, account)
        other = await dc.create_channel("other", "other", members=[BOB])
        async with delivering(account), ProvenLink(account) as proven:
            found = await proven.link.client.get_entity("other")
            proven.link.client._mb_entity_cache.extend([], [found])  # as by a message that was forwarded from it
            for _ in range(3):
                await proven.prove()
            assert other not in proven.link.client._message_box.map
            assert other in account.proofs.met
            await lose(dc, channel=True)
            await proven.prove()
            await proven.hear(UpdatesStalled)


async def test_a_channel_that_has_become_private_is_found_among_others(harness: DatacenterHarness) -> None:
    """Its difference says so, Telethon forgets it, and the others are compared again."""
    async with harness as dc:
        account = harness.connector()
        number = await in_channels(dc, account)
        async with delivering(account), ProvenLink(account) as proven:
            await proven.link.client(LeaveChannelRequest(await proven.link.client.get_input_entity(NEWS)))
            for _ in range(6):
                await proven.prove()
            gap = await proven.hear(CaughtUp)
            while not (isinstance(gap, CaughtUp) and gap.missing):
                gap = await proven.hear(CaughtUp)
            assert "no longer readable" in gap.missing[0]
            assert number not in proven.link.client._message_box.map
            await dc.inject(Fault(FaultKind.LOST_UPDATE))
            await dc.post(TALK, "lost")
            await proven.prove()
            await proven.hear(UpdatesStalled)


async def test_a_closed_link_reports_nothing(harness: DatacenterHarness) -> None:
    """Whatever was under way when it was closed."""
    async with harness as dc:
        account = harness.connector()
        await in_channels(dc, account)
        async with ProvenLink(account) as proven:
            await lose(dc, channel=False)
            await proven.prove()
            proof = proven.link._proof
            assert proof is not None
            assert proof._timer is not None
        assert proof._timer is None
        await anyio.sleep(2 * QUICK)
        assert not proven.stalls


@pytest.mark.parametrize("why", ["not due", "held", "refused"])
async def test_a_fresh_client_says_that_nothing_is_missing_only_of_what_it_has_compared(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """A channel was behind: the next link does not confirm the updates before it has the number of that channel."""
    async with harness as dc:
        account = harness.connector()
        await in_channels(dc, account)
        async with delivering(account):
            await lose(dc, channel=True)
            await dc.inject(Fault(FaultKind.LOST_DIFFERENCE))
            async with ProvenLink(account) as proven:
                await proven.prove()
                await proven.hear(UpdatesStalled)
            async with ProvenLink(account) as proven:
                if why == "not due":
                    monkeypatch.setattr(update_proof, "CHANNELS_EVERY", 55.0)
                elif why == "held":
                    proven.link.hold("GetPeerDialogs", time.time() + 60)
                else:
                    await dc.inject(Fault(FaultKind.RPC_ERROR, request=DIALOGS, code=500, text="INTERNAL", times=1))
                await proven.prove()
                await proven.settle()
                assert not [event for event in proven.told if isinstance(event, UpdatesConfirmed)]
                monkeypatch.setattr(update_proof, "CHANNELS_EVERY", 0.0)
                proven.link.hold("GetPeerDialogs", 0.0)
                await proven.prove()
                await proven.hear(UpdatesStalled)


async def test_a_flood_wait_of_the_second_look_is_reported_and_kept(harness: DatacenterHarness) -> None:
    """A number that is too high is asked for again only when the wait is over, and no client is blamed until then."""
    full = "channels.getFullChannel"
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account), ProvenLink(account) as proven:
            await dc.create_channel(NEWS, NEWS, members=[PHONE])
            await dc.inject(Fault(FaultKind.WRONG_PTS, times=1))
            await dc.inject(Fault(FaultKind.RPC_ERROR, request=full, code=420, text="FLOOD_WAIT_30", times=1))
            await dc.post(NEWS, "with a wrong number")
            await until(heard, 1)
            await proven.prove()
            await proven.hear(UpdatesStalled)
            proven.link.fetch_updates(0.2)
            flood = await proven.hear(FloodWait)
            assert isinstance(flood, FloodWait)
            assert (flood.request, flood.seconds) == ("GetFullChannel", 30)
            proven.link.hold(flood.request, time.time() + flood.seconds)
            await anyio.sleep(0.5)
            assert (proven.stalls, dc.stats()["requests"][full]) == ([], 1)
            proven.link.hold(flood.request, 0.0)
            await proven.hear(UpdatesConfirmed)
            assert dc.stats()["requests"][full] == 2


async def test_what_was_numbered_too_high_is_claimed_no_more(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger hears that the box was set back."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account), ProvenLink(account) as proven:
            number = await dc.create_channel(NEWS, NEWS, members=[PHONE])
            await dc.inject(Fault(FaultKind.WRONG_PTS, times=1))
            await dc.post(NEWS, "with a wrong number")
            await until(heard, 1)
            box = proven.link.client._message_box
            wrong, lost = box.map[number].pts, list[tuple[object, ...]]()
            monkeypatch.setattr(NotedMessageBox, "lose", lambda _, *told: lost.append(told))
            await proven.prove()
            await proven.hear(UpdatesStalled)
            proven.link.fetch_updates(TIMEOUT)
            await proven.hear(UpdatesConfirmed)
            assert lost == [(number, wrong, wrong - WRONG_PTS_BY, HoleCause.RENUMBERED)]


async def test_a_hold_lasts_as_long_as_it_should_when_the_clock_is_set(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof and the numbers of channels are neither asked for too early nor kept back for hours."""
    async with harness as dc, ProvenLink(harness.connector()) as proven:
        asked = dc.stats()["requests"]["updates.getState"]
        proven.link.hold("GetState", time.time() + 30)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 3600)
        assert isinstance((await proven.link.probe(proof=True, timeout=TIMEOUT))[-1], ProbeAnswered)
        assert dc.stats()["requests"]["updates.getState"] == asked


@pytest.mark.parametrize("fetching", [False, True])
async def test_what_was_seen_only_now_is_not_accused_with_the_rest(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch, fetching: bool
) -> None:
    """Another proof comes while boxes are waited for: a box that is behind since then has its own time."""
    async with harness as dc:
        account = harness.connector()
        number = await in_channels(dc, account)
        async with delivering(account), ProvenLink(account) as proven:
            await proven.prove()
            await proven.hear(UpdatesConfirmed)
            monkeypatch.setattr(update_proof, "GRACE", 0.5)
            await lose(dc, channel=False)
            await dc.inject(Fault(FaultKind.LOST_DIFFERENCE))
            await proven.prove()
            proof = proven.link._proof
            assert proof is not None
            if fetching:
                await proven.hear(UpdatesStalled)
                proven.link.fetch_updates(0.5)
            numbers = proof.numbers()
            proof.watch.compare({number: numbers[number] + 1}, numbers, numbers, time.time())
            stalled = await proven.hear(UpdatesStalled)
            assert isinstance(stalled, UpdatesStalled)
            assert (stalled.behind, stalled.asked) == (("private chats and groups: 1",), fetching)
