"""A channel has a number in the session file before anything of it can be lost, or else the log says what is lost."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.telegram import TelegramConnector, channel_listing, message_box
from states.events import CaughtUp, FloodWait
from tests.adapters.telegram.harness import PHONE, DatacenterHarness
from tests.adapters.telegram.test_inbox import Handling, delivering, listening, until
from tests.adapters.telegram.test_ledger_live import holes_of, recorded, rows_up_to
from tests.adapters.telegram.test_update_proof import ProvenLink
from tests.timeouts import TIMEOUT

NEWS = "news"
LIST = "messages.getDialogs"


def numbers_in_file(session: Path) -> dict[int, int]:
    """Return the numbers of channels in a session file."""
    with closing(sqlite3.connect(session)) as db:
        return dict(db.execute("SELECT id, pts FROM update_state WHERE id != 0"))


async def numbered(session: Path, count: int = 1) -> dict[int, int]:
    """Return the numbers in a session file as soon as there are so many."""
    with anyio.fail_after(TIMEOUT):
        while len(found := numbers_in_file(session)) < count:
            await anyio.sleep(0.01)
    return found


async def begun(account: TelegramConnector) -> None:
    """Let the account have been connected once, so that its session says how far it is."""
    async with ProvenLink(account):
        pass


async def gap_of(proven: ProvenLink) -> CaughtUp:
    """Return the report of a link."""
    event = await proven.hear(CaughtUp)
    assert isinstance(event, CaughtUp)
    return event


async def test_a_crash_after_the_first_update_loses_nothing(harness: DatacenterHarness) -> None:
    """While the first update is with its handler, the file says the number before it; from there all comes again."""
    async with harness as dc:
        channel = await dc.create_channel(NEWS, NEWS, members=[PHONE])
        account = harness.connector()
        handler = Handling(account)
        await begun(account)
        crashed = account.session.with_name("crashed.session")
        async with delivering(account), ProvenLink(account):
            await dc.post(NEWS, "first")
            await handler.begun_in_time()
            assert await numbered(account.session) == {channel: 1}
            with closing(sqlite3.connect(account.session)) as db, closing(sqlite3.connect(crashed)) as copy:
                db.backup(copy)
        await account.settle()
        await dc.post(NEWS, "during the outage")
        shutil.copy(crashed, account.session)
        again = harness.reopened(account)
        heard = listening(again)
        async with delivering(again), ProvenLink(again):
            await until(heard, 2)
    assert heard == ["first", "during the outage"]


async def test_the_first_news_of_a_known_chat_are_fetched(harness: DatacenterHarness, tmp_path: Path) -> None:
    """A channel in which nothing came while the engine ran has its number from the list of chats, and the ledger."""
    file = tmp_path / "engine.db"
    async with harness as dc:
        account = harness.connector()
        async with ProvenLink(account) as proven:
            channel = await dc.create_channel(NEWS, NEWS, members=[PHONE])
            await proven.prove()
            assert await numbered(account.session) == {channel: 1}
        await account.settle()
        await dc.post(NEWS, "during the outage")
        again = harness.reopened(account)
        heard = listening(again)
        async with recorded(again, file), delivering(again), ProvenLink(again) as proven:
            await until(heard, 1)
            assert (await gap_of(proven)).missing == ()
            assert await rows_up_to(file, 2, channel) == [(1, 2)]
    assert heard == ["during the outage"]


async def test_an_account_that_has_just_logged_in_has_missed_nothing(harness: DatacenterHarness) -> None:
    """News of its channels in the seconds between its login and its first link are no gap."""
    async with harness as dc:
        account = harness.connector()
        await begun(account)
        await dc.create_channel(NEWS, NEWS, members=[PHONE])
        await dc.post(NEWS, "hello")
        async with ProvenLink(account) as proven:
            assert (await gap_of(proven)).missing == ()


async def test_news_of_a_channel_without_a_number_are_told_as_missing(
    harness: DatacenterHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are named with what to do, the ledger has a hole with its cause, and what follows is not missed."""
    monkeypatch.setattr(message_box, "JUST_NOW", -60.0)  # its login was long ago
    file = tmp_path / "engine.db"
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        await begun(account)
        channel = await dc.create_channel(NEWS, NEWS, members=[PHONE])
        await dc.post(NEWS, "lost")
        async with recorded(account, file), delivering(account):
            async with ProvenLink(account) as proven:
                (missing,) = (await gap_of(proven)).missing
                assert missing.startswith(f"channel {channel} (has news, and no number is known")
                await rows_up_to(file, 2, channel)
                assert holes_of(file) == [(channel, "no_number", 1, 2)]
                assert await numbered(account.session) == {channel: 2}
            await dc.post(NEWS, "fetched")
            async with ProvenLink(account) as proven:
                await until(heard, 1)
                assert (await gap_of(proven)).missing == ()
    assert heard == ["fetched"]


async def in_many(dc: Sandbox, count: int) -> set[int]:
    """Let the account be in channels of which it has heard nothing; return their numbers."""
    return {await dc.create_channel(f"many{each}", f"{each}", members=[PHONE]) for each in range(count)}


async def test_chats_are_listed_a_page_at_a_proof(harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many pages as it takes, none twice, and none after the last; another link goes on where the last one was."""
    monkeypatch.setattr(channel_listing, "PAGE", 2)
    monkeypatch.setattr(channel_listing, "EVERY", 0.0)
    async with harness as dc:
        channels = await in_many(dc, 5)
        for each in range(5):
            await dc.post(f"many{each}", "so that it has a date")
        account = harness.connector()
        for turn in range(3):
            async with ProvenLink(account) as proven:
                for _ in range(2):
                    await proven.prove()
                for channel in channels if turn == 2 else ():
                    assert await proven.number_of(channel) == 2
        assert dc.stats()["requests"][LIST] == 4  # the last one is empty


async def test_chats_are_listed_once_a_minute_at_most(harness: DatacenterHarness) -> None:
    """However often the link is proven."""
    async with harness as dc:
        await in_many(dc, 1)
        account = harness.connector()
        async with ProvenLink(account) as proven:
            account.proofs.listing.is_over = False
            for _ in range(3):
                await proven.prove()
                account.proofs.listing.is_over = False
        assert dc.stats()["requests"][LIST] == 1


async def test_a_flood_wait_for_the_list_is_kept(harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported, nothing is asked while it holds, and the page is asked for again afterwards."""
    monkeypatch.setattr(channel_listing, "EVERY", 0.0)
    async with harness as dc:
        (channel,) = await in_many(dc, 1)
        account = harness.connector()
        async with ProvenLink(account) as proven:
            await dc.inject(Fault(FaultKind.RPC_ERROR, request=LIST, code=420, text="FLOOD_WAIT_30", times=1))
            await proven.prove()
            flood = await proven.hear(FloodWait)
            assert isinstance(flood, FloodWait)
            assert (flood.request, flood.seconds) == ("GetDialogs", 30)
            proven.link.hold(flood.request, 2**40)
            await proven.prove()
            assert dc.stats()["requests"][LIST] == 1
            proven.link.hold(flood.request, 0.0)
            await proven.prove()
            assert await proven.number_of(channel) == 1


async def test_a_refusal_of_the_list_ends_it(harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may not be asked is not asked again and again, and the proof stands."""
    monkeypatch.setattr(channel_listing, "EVERY", 0.0)
    async with harness as dc:
        account = harness.connector()
        async with ProvenLink(account) as proven:
            await dc.inject(Fault(FaultKind.RPC_ERROR, request=LIST, code=400, text="BOT_METHOD_INVALID", times=1))
            for _ in range(3):
                await proven.prove()
        assert dc.stats()["requests"][LIST] == 1


async def test_a_channel_that_agrees_is_not_asked_for_its_difference(harness: DatacenterHarness) -> None:
    """Telethon would ask for one in each channel after a quarter of an hour; an equal number says the same."""
    async with harness as dc:
        (channel,) = await in_many(dc, 1)
        account = harness.connector()
        await begun(account)
        async with ProvenLink(account) as proven:
            await proven.prove()
            assert await proven.number_of(channel) == 1
            box = proven.link.client._message_box
            box.map[channel].deadline = 0.0
            account.proofs.asked_at = float("-inf")
            await proven.prove()
            assert box.map[channel].deadline > 0.0
